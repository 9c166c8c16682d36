"""A wall clock that is set by hours, days and months while conversions wait, and in between."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio

from anytrack_async.sandbox import Faults, Sandbox, running
from tests.chaos.audit import SANDBOX
from tests.chaos.trial import Round, Trial
from tests.end_to_end.shop import SERVICES, everything, ids

_ROOT = Path(__file__).parents[2]
_DAY = 86_400.0
_JUMPS = (-3600.0, 3600.0, -_DAY, -400 * _DAY, 8 * _DAY, 31 * _DAY)
_JUMPS_PER_ROUND = 4

# Faults that prevent the work, so that nothing may arrive twice, and throttling, so that there are
# due times that a jump could make wrong.
_FAULTS = ("throttle", "error", "reset")
_FAULTY = ("anytrack", "meta")  # HubSpot's three steps may be repeated after a failure between them


async def attack(trial: Trial) -> None:
    """Track sales while the clock jumps; with a file, submit them again with another date."""
    with running(SANDBOX) as sandbox:
        for round_ in trial.rounds():
            sandbox.reset()
            seed = round_.random.randrange(1_000_000)
            sandbox.faults(Faults(rate=0.3, kinds=_FAULTS, services=_FAULTY, seed=seed))
            durable = bool(round_.number % 2)
            results = [await _work(sandbox, round_, durable, offset=0.0)]
            if durable:
                offset = round_.random.choice(_JUMPS)
                results.append(await _work(sandbox, round_, durable, offset=offset))
            accepted = results[0]["accepted"]
            trial.count(jumps=_JUMPS_PER_ROUND * len(results), accepted=accepted)
            trial.count(dead_letters=sum(result["dead"] for result in results))
            _compare(trial, round_, sandbox, accepted)


async def _work(sandbox: Sandbox, round_: Round, durable: bool, offset: float) -> dict[str, Any]:
    """Run a worker whose date differs by *offset* seconds at the beginning."""
    job = {
        "environ": sandbox.environment(),
        "outbox": str(round_.folder / "outbox.db") if durable else None,
        "seed": round_.random.random(),
        "jumps": [round_.random.choice(_JUMPS) for _ in range(_JUMPS_PER_ROUND)],
        "offset": offset,
    }
    process = await anyio.run_process(
        [sys.executable, "-m", "tests.chaos.clock_worker"],
        input=json.dumps(job).encode(),
        cwd=_ROOT,
        check=False,
    )
    if process.returncode:
        raise ValueError(process.stderr.decode()[-2000:])
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def _compare(trial: Trial, round_: Round, sandbox: Sandbox, accepted: int) -> None:
    for service in SERVICES:
        found = ids(sandbox, service)
        trial.expect_none("undelivered", everything(accepted) - found.keys())
        trial.expect_none("sent twice", {name for name, times in found.items() if times > 1})
    if trial.figures["dead letters"]:
        trial.lose(f"round {round_.number}: dead letters")
