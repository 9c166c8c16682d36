"""Processes that stand still for longer than their leases (`SIGSTOP`), and then go on."""

from __future__ import annotations

import anyio

from anytrack_async.sandbox import running
from tests.chaos.audit import SANDBOX, audit
from tests.chaos.trial import Trial
from tests.chaos.workers import WORKING_SHARE, accepted_ids, kill, start_worker, stop, wake

_LEASE = 1.0  # seconds
_PROCESSES = 2


async def attack(trial: Trial) -> None:
    """Stop one of two workers for 1.1 to 2 leases, wake it, and let both work for a moment."""
    trial.seconds *= WORKING_SHARE
    with running(SANDBOX) as sandbox:
        sandbox.latency(0.02)
        workers = [start_worker(trial, sandbox, n, lease=_LEASE) for n in range(_PROCESSES)]
        for round_ in trial.rounds():
            await anyio.sleep(round_.random.uniform(0.1, 0.7))
            worker = round_.random.choice(workers)
            stop(worker)
            try:
                await anyio.sleep(_LEASE * round_.random.uniform(1.1, 2.0))
            finally:
                wake(worker)
            trial.count(stops=1)
        await anyio.sleep(0.5)
        if not all(worker.is_alive() for worker in workers):
            trial.lose("a worker did not go on after it was stopped")
        for worker in workers:
            kill(worker)
        await audit(trial, sandbox, accepted_ids(trial.folder))
