"""Several processes on one file, killed at random moments and replaced at once."""

from __future__ import annotations

import anyio

from anytrack_async.sandbox import running
from tests.chaos.audit import SANDBOX, audit
from tests.chaos.trial import Trial
from tests.chaos.workers import WORKING_SHARE, accepted_ids, kill, start_worker

_PROCESSES = 3


async def attack(trial: Trial) -> None:
    """Keep three workers busy, and kill one of them again and again."""
    trial.seconds *= WORKING_SHARE
    with running(SANDBOX) as sandbox:
        sandbox.latency(0.02)
        workers = [start_worker(trial, sandbox, number) for number in range(_PROCESSES)]
        for round_ in trial.rounds():
            await anyio.sleep(round_.random.uniform(0.0, 0.6))
            index = round_.random.randrange(_PROCESSES)
            kill(workers[index])
            workers[index] = start_worker(trial, sandbox, _PROCESSES + round_.number)
            trial.count(kills=1)
        for worker in workers:
            kill(worker)
            trial.count(kills=1)
        await audit(trial, sandbox, accepted_ids(trial.folder))
