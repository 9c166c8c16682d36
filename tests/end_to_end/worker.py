"""Tracks sales in a process of its own: ``python -m tests.end_to_end.worker FIRST``.

It prints each event id once `submit` has returned, and ``closed`` after leaving the client.
"""

from __future__ import annotations

import itertools
import sys

import anyio
import attrs

from anytrack_async import AnyTrackClient
from tests.end_to_end.shop import QUICK, sale


async def main(first: int) -> None:
    delivery = attrs.evolve(QUICK, lease=1.0, drain=10.0)
    async with AnyTrackClient.from_env(delivery=delivery) as client:
        for number in itertools.count(first):
            handle = await client.submit(sale(number))
            print(handle.event_id, flush=True)
            await anyio.sleep(0.001)


if __name__ == "__main__":
    try:
        anyio.run(main, int(sys.argv[1]))
    except KeyboardInterrupt:
        print("closed", flush=True)
        sys.exit(130)
