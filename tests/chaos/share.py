"""Several processes on one file, killed at random moments and replaced at once."""

from __future__ import annotations

import anyio

from anytrack_async.sandbox import running
from tests.chaos.audit import SANDBOX, audit
from tests.chaos.trial import Trial
from tests.chaos.workers import Job, accepted_ids, kill

PROCESSES = 3
_WORKING_SHARE = 0.7


async def attack(trial: Trial) -> None:
    """Keep three workers busy, and kill one of them again and again."""
    trial.seconds *= _WORKING_SHARE
    outbox = trial.folder / "outbox.db"
    with running(SANDBOX) as sandbox:
        sandbox.latency(0.02)

        def job(number: int) -> Job:
            accepted = trial.folder / f"accepted-{number}"
            seed = f"{trial.seed}:{number}"
            return Job(sandbox.environment(), outbox, accepted, number, seed)

        workers = [job(number).start() for number in range(PROCESSES)]
        for round_ in trial.rounds():
            await anyio.sleep(round_.random.uniform(0.0, 0.6))
            index = round_.random.randrange(PROCESSES)
            kill(workers[index])
            workers[index] = job(PROCESSES + round_.number).start()
            trial.count(kills=1)
        for worker in workers:
            kill(worker)
            trial.count(kills=1)
        await audit(trial, sandbox, outbox, accepted_ids(trial.folder))
