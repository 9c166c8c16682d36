"""``kill -9`` at random moments of the only process that submits and delivers."""

from __future__ import annotations

import anyio

from anytrack_async.sandbox import running
from tests.chaos.audit import SANDBOX, audit
from tests.chaos.trial import Trial
from tests.chaos.workers import Job, accepted_ids, kill

_WORKING_SHARE = 0.7
"""Of the time; the rest is for delivering what is left."""


async def attack(trial: Trial) -> None:
    """Start a worker, kill it, start the next one on the same file, and so on."""
    trial.seconds *= _WORKING_SHARE
    outbox = trial.folder / "outbox.db"
    with running(SANDBOX) as sandbox:
        sandbox.latency(0.02)
        for round_ in trial.rounds():
            accepted = trial.folder / f"accepted-{round_.number}"
            seed = f"{trial.seed}:{round_.number}"
            job = Job(sandbox.environment(), outbox, accepted, round_.number, seed)
            worker = job.start()
            # From before the file is open until well within the work.
            await anyio.sleep(round_.random.uniform(0.0, 1.2))
            kill(worker)
            trial.count(kills=1)
        await audit(trial, sandbox, outbox, accepted_ids(trial.folder))
