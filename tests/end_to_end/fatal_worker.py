"""Submits 20 sales, some of which end the process: ``python -m tests.end_to_end.fatal_worker N…``.

It prints ``done`` when nothing is left to deliver.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import anyio
import attrs

from anytrack_async import AnyTrackClient, Conversion, Outcome, Retry, SinkLimits
from tests.end_to_end.shop import QUICK, sale

SALES = 20


class FatalSink:
    """Ends the process for some conversions, as a segmentation fault does."""

    name = "fatal"
    limits = SinkLimits()

    def __init__(self, fatal: Sequence[str]) -> None:
        self._fatal = fatal

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        await anyio.sleep(0.01)
        if any(conversion.event_id in self._fatal for conversion in batch):
            os._exit(9)
        return [Outcome.delivered() for _ in batch]


async def main(fatal: Sequence[str]) -> None:
    delivery = attrs.evolve(QUICK, retry=Retry(attempts=3, base=0.02), lease=120, drain=30)
    client = AnyTrackClient(
        os.environ["ANYTRACK_API_KEY"],
        os.environ["ANYTRACK_ACCOUNT_ID"],
        base_url=os.environ["ANYTRACK_BASE_URL"],
        sinks=[FatalSink(fatal)],
        outbox=os.environ["ANYTRACK_OUTBOX"],
        delivery=delivery,
        log=False,
    )
    async with client:
        await client.submit_many([sale(number) for number in range(SALES)])
        # A submitted conversion is awaited, unless it was accepted by a process that died.
        for number in range(SALES):
            await (await client.submit(sale(number)))
    print("done", flush=True)


if __name__ == "__main__":
    anyio.run(main, [sale(int(number)).event_id for number in sys.argv[1:]])
