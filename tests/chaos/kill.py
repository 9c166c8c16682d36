"""``kill -9`` at random moments of the only process that submits and delivers."""

from __future__ import annotations

import anyio

from anytrack_async.sandbox import running
from tests.chaos.audit import SANDBOX, audit
from tests.chaos.trial import Trial
from tests.chaos.workers import WORKING_SHARE, accepted_ids, kill, start_worker


async def attack(trial: Trial) -> None:
    """Start a worker, kill it, start the next one on the same file, and so on."""
    trial.seconds *= WORKING_SHARE
    with running(SANDBOX) as sandbox:
        sandbox.latency(0.02)
        for round_ in trial.rounds():
            worker = start_worker(trial, sandbox, round_.number)
            # From before the file is open until well within the work.
            await anyio.sleep(round_.random.uniform(0.0, 1.2))
            kill(worker)
            trial.count(kills=1)
        await audit(trial, sandbox, accepted_ids(trial.folder))
