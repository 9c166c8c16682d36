"""Processes that stand still for longer than their leases (`SIGSTOP`), and then go on."""

from __future__ import annotations

import anyio

from anytrack_async.sandbox import running
from tests.chaos.audit import SANDBOX, audit
from tests.chaos.trial import Trial
from tests.chaos.workers import Job, accepted_ids, kill, stop, wake

_LEASE = 1.0  # seconds
_PROCESSES = 2
_WORKING_SHARE = 0.7


async def attack(trial: Trial) -> None:
    """Stop one of two workers for 1.1 to 2 leases, wake it, and let both work for a moment."""
    trial.seconds *= _WORKING_SHARE
    outbox = trial.folder / "outbox.db"
    with running(SANDBOX) as sandbox:
        sandbox.latency(0.02)
        workers = []
        for number in range(_PROCESSES):
            accepted = trial.folder / f"accepted-{number}"
            seed = f"{trial.seed}:{number}"
            job = Job(sandbox.environment(), outbox, accepted, number, seed, _LEASE)
            workers.append(job.start())
        for round_ in trial.rounds():
            await anyio.sleep(round_.random.uniform(0.1, 0.7))
            worker = round_.random.choice(workers)
            stop(worker)
            await anyio.sleep(_LEASE * round_.random.uniform(1.1, 2.0))
            wake(worker)
            trial.count(stops=1)
        await anyio.sleep(0.5)
        trial.count(ended_by_themselves=sum(not worker.is_alive() for worker in workers))
        for worker in workers:
            kill(worker)
        await audit(trial, sandbox, outbox, accepted_ids(trial.folder))
    if trial.figures["ended by themselves"]:
        trial.lose("a worker did not go on after it was stopped")
