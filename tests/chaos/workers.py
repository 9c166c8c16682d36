"""Processes that submit sales and deliver them, and that may end at any moment."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

import anyio
import attrs

from anytrack_async import AnyTrackClient, HttpSettings, HubSpotSink, MetaSink, SQLiteOutbox
from anytrack_async.sandbox import Sandbox
from tests.chaos.trial import Trial
from tests.end_to_end.shop import QUICK, sale

_SALES_PER_TASK = 100_000
_TASKS = 3

# Forked from a server that has imported everything already: a new process takes milliseconds, so
# that there are many kills in a minute. The server runs no threads, and no event loop.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["__main__", __name__, "tests.chaos.fatal"])
_NEEDED = (AnyTrackClient, SQLiteOutbox, MetaSink, HubSpotSink)  # imported when first used


def start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Call a function in a new process, which ends with this one at the latest."""
    process = _processes.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


@attrs.frozen
class Job:
    """What a worker does.

    Attributes:
        environ: where the services are.
        outbox: the file.
        accepted: a file to which the worker writes each event id once `submit` has returned.
        number: of the worker; no two submit the same sales.
        seed: of its random numbers.
        lease: seconds.
    """

    environ: Mapping[str, str]
    outbox: Path
    accepted: Path
    number: int
    seed: str
    lease: float


def start_worker(
    trial: Trial, sandbox: Sandbox, number: int, *, lease: float = 120.0
) -> BaseProcess:
    """Start worker *number* on the trial's outbox."""
    return start(
        _work,
        Job(
            sandbox.environment(),
            trial.outbox,
            trial.folder / f"accepted-{number}",
            number,
            f"{trial.seed}:{trial.attack}:{number}",
            lease,
        ),
    )


def kill(process: BaseProcess) -> None:
    """Kill a worker at once and wait until it has ended."""
    process.kill()
    process.join()


def stop(process: BaseProcess) -> None:
    """Stop a worker where it stands; it keeps its locks and connections."""
    os.kill(process.pid or 0, signal.SIGSTOP)


def wake(process: BaseProcess) -> None:
    """Let a stopped worker go on."""
    with suppress(ProcessLookupError):
        os.kill(process.pid or 0, signal.SIGCONT)


def accepted_ids(folder: Path) -> set[str]:
    """Return the event ids that workers wrote down in *folder*."""
    return {
        line
        for file in folder.glob("accepted-*")
        # A killed worker may leave half a line, which is no acknowledgement.
        for line in file.read_text().rpartition("\n")[0].split()
    }


def _work(job: Job) -> None:
    logging.disable()  # of leases that were lost, as they should be here
    anyio.run(_submit_and_deliver, job)


async def _submit_and_deliver(job: Job) -> None:
    delivery = attrs.evolve(QUICK, lease=job.lease, poll=0.1)
    log = os.open(job.accepted, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    async with AnyTrackClient.from_env(
        job.environ,
        outbox=job.outbox,
        delivery=delivery,
        log=False,
        http=HttpSettings(connections=8),
    ) as client:
        async with anyio.create_task_group() as tasks:
            for task in range(_TASKS):
                first = (job.number * _TASKS + task) * _SALES_PER_TASK
                tasks.start_soon(_submit, client, first, log, Random(f"{job.seed}:{task}"))


async def _submit(client: AnyTrackClient, first: int, log: int, random: Random) -> None:
    numbers = iter(range(first, first + _SALES_PER_TASK))
    while True:
        batch = [sale(next(numbers)) for _ in range(random.choice((1, 1, 1, 10)))]
        if len(batch) == 1:
            await client.submit(batch[0])
        else:
            await client.submit_many(batch)
        # What is written to a file survives the end of the process, unlike what is in a buffer.
        os.write(log, "".join(f"{conversion.event_id}\n" for conversion in batch).encode())
        await anyio.sleep(random.uniform(0.005, 0.025))
