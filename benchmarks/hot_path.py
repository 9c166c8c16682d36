"""The way of 1,000 conversions through the client, without a network: submit, claim, map, settle.

`work` is what `benchmarks.counts` counts and what profilers are pointed at::

    python -m cProfile -s tottime -m benchmarks.hot_path 20
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx

from anytrack_async import AnyTrackClient, Conversion, MetaSettings, MetaSink
from benchmarks.shop import conversion, record

COUNT = 1_000
_NOW = datetime.now(UTC)


class Wire(httpx.AsyncBaseTransport):
    """Answers what Meta answers, without a network."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        count = request.content.count(b'"event_name"')
        return httpx.Response(200, content=b'{"events_received":%d,"messages":[]}' % count)


def sales(count: int = COUNT) -> list[Conversion]:
    """The conversions, made beforehand."""
    return [conversion({**record(number), "timestamp": _NOW}) for number in range(count)]


async def work(made: Sequence[Conversion]) -> None:
    """Submit *made* one by one and deliver them all."""
    settings = MetaSettings(pixel_id="1", access_token="token")
    sink = MetaSink(settings, transport=Wire())
    async with AnyTrackClient("key", "account", sinks=[sink], log=False) as client:
        deliveries = [await client.submit(sale, to=["meta"]) for sale in made]
        assert (await deliveries[-1].at("meta")).final


def main() -> None:
    """Run it often enough for a profiler to see something."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    asyncio.run(work(sales(COUNT * rounds)))


if __name__ == "__main__":
    main()
