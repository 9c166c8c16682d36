"""Processes that submit and deliver, and that are killed or stopped at random moments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from anytrack_async.sandbox import Sandbox, running
from tests.chaos.audit import SANDBOX, audit
from tests.chaos.trial import Trial
from tests.chaos.workers import accepted_ids, kill, start_worker, stop, wake

_PROCESSES = 3
_SHORT_LEASE = 1.0  # seconds
_LONGEST_START = 30.0  # seconds until a worker has accepted something, on a busy machine
_LAST_WORKER = 1_000_000  # its number: no other worker has it
_WORKING_SHARE = 0.7
"""Of an attack's time, in which workers run; the rest is for delivering what is left."""


@asynccontextmanager
async def _audited(trial: Trial) -> AsyncIterator[Sandbox]:
    """Run a sandbox that answers after 20 ms, so that requests are under way; audit in the end."""
    trial.seconds *= _WORKING_SHARE
    with running(SANDBOX) as sandbox:
        sandbox.latency(0.02)
        yield sandbox
        await audit(trial, sandbox, accepted_ids(trial.folder))


async def kill_one(trial: Trial) -> None:
    """Start a worker, kill it, start the next one on the same file, and so on."""
    async with _audited(trial) as sandbox:
        for round_ in trial.rounds():
            worker = start_worker(trial, sandbox, round_.number)
            # From before the file is open until well within the work.
            await anyio.sleep(round_.random.uniform(0.0, 1.2))
            kill(worker)
            trial.count(kills=1)
        if not accepted_ids(trial.folder):  # on a busy machine, every worker was killed too early
            worker = start_worker(trial, sandbox, _LAST_WORKER)
            await _until_accepted(trial)
            kill(worker)


async def _until_accepted(trial: Trial) -> None:
    """Wait until a worker has accepted something, so that there is something to lose."""
    with anyio.move_on_after(_LONGEST_START):
        while not accepted_ids(trial.folder):  # noqa: ASYNC110 - it is in another process
            await anyio.sleep(0.05)


async def kill_of_several(trial: Trial) -> None:
    """Keep three workers busy on one file, and kill one of them again and again."""
    async with _audited(trial) as sandbox:
        workers = [start_worker(trial, sandbox, number) for number in range(_PROCESSES)]
        for round_ in trial.rounds():
            await anyio.sleep(round_.random.uniform(0.0, 0.6))
            index = round_.random.randrange(_PROCESSES)
            kill(workers[index])
            workers[index] = start_worker(trial, sandbox, _PROCESSES + round_.number)
            trial.count(kills=1)
        await _until_accepted(trial)
        for worker in workers:
            kill(worker)
            trial.count(kills=1)


async def stop_and_wake(trial: Trial) -> None:
    """Stop one of two workers for longer than its lease, wake it, let both work for a moment."""
    async with _audited(trial) as sandbox:
        workers = [start_worker(trial, sandbox, n, lease=_SHORT_LEASE) for n in range(2)]
        for round_ in trial.rounds():
            await anyio.sleep(round_.random.uniform(0.1, 0.7))
            worker = round_.random.choice(workers)
            stop(worker)
            try:
                await anyio.sleep(_SHORT_LEASE * round_.random.uniform(1.1, 2.0))
            finally:
                wake(worker)
            trial.count(stops=1)
        await anyio.sleep(0.5)
        await _until_accepted(trial)
        if not all(worker.is_alive() for worker in workers):
            trial.lose("a worker did not go on after it was stopped")
        for worker in workers:
            kill(worker)
