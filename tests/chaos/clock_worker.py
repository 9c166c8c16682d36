"""Tracks sales while the wall clock is set: ``python -m tests.chaos.clock_worker``.

The job comes as JSON on standard input, and the result goes to standard output. A process of its
own, because `time.time` has to be replaced before the library is imported.
"""

from __future__ import annotations

import json
import sys
import time
from random import Random
from typing import Any

_real_time = time.time
_offset = 0.0
time.time = lambda: _real_time() + _offset

# ruff: noqa: E402
import anyio

from anytrack_async import AnyTrackClient, Status
from tests.end_to_end.shop import QUICK, sale

SALES_PER_JUMP = 40
_LIMIT = 45.0
"""Seconds within which everything must be delivered after a jump, HubSpot's ten included."""


async def track(job: dict[str, Any]) -> dict[str, Any]:
    """Submit sales before and after each jump; return what became of them."""
    global _offset
    random, jumps = Random(job["seed"]), job["jumps"]
    _offset = job["offset"]
    outcomes: list[Status] = []
    async with AnyTrackClient.from_env(
        job["environ"], outbox=job["outbox"], delivery=QUICK, log=False
    ) as client:
        for index, jump in enumerate(jumps):
            first = index * SALES_PER_JUMP
            batch = [sale(number) for number in range(first, first + SALES_PER_JUMP)]
            deliveries = [*await client.submit_many(batch[:-10])]
            await anyio.sleep(random.uniform(0.0, 0.1))
            _offset += jump
            deliveries += await client.submit_many(batch[-10:])
            with anyio.move_on_after(_LIMIT):
                for delivery in deliveries:
                    report = await delivery
                    outcomes += [outcome.status for outcome in report.outcomes.values()]
        accepted = SALES_PER_JUMP * len(jumps)
        with anyio.move_on_after(_LIMIT):  # the same again, which must send nothing
            for delivery in await client.submit_many(map(sale, range(accepted))):
                await delivery
    return {
        "accepted": accepted,
        "delivered": outcomes.count(Status.DELIVERED),
        "dead": outcomes.count(Status.DEAD),
    }


if __name__ == "__main__":
    print(json.dumps(anyio.run(track, json.loads(sys.stdin.read()))))
