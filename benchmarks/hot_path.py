"""1,000 conversions through the client without a network: submit, claim, map, settle.

`work` and `work_in_bulk` are what `benchmarks.counts` counts and profilers are pointed at::

    python -m cProfile -s tottime -m benchmarks.hot_path 20
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from anytrack_async import AnyTrackClient, Conversion, MemoryOutbox, MetaSettings, MetaSink
from benchmarks.shop import conversion, record

COUNT = 1_000
_NOW = datetime.now(UTC)


class FakeMeta(httpx.AsyncBaseTransport):
    """Replies as Meta does, without a network."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        count = request.content.count(b'"event_name"')
        return httpx.Response(200, content=b'{"events_received":%d,"messages":[]}' % count)


def sales(count: int = COUNT) -> list[Conversion]:
    """Return *count* conversions."""
    return [conversion({**record(number), "timestamp": _NOW}) for number in range(count)]


def _client(**options: Any) -> AnyTrackClient:
    settings = MetaSettings(pixel_id="1", access_token="token")
    sink = MetaSink(settings, transport=FakeMeta())
    return AnyTrackClient("key", "account", sinks=[sink], log=False, **options)


async def work(conversions: Sequence[Conversion]) -> None:
    """Submit *conversions* one by one and deliver them all."""
    async with _client() as client:
        deliveries = [await client.submit(sale, to=["meta"]) for sale in conversions]
        assert (await deliveries[-1].at("meta")).final


async def work_in_bulk(conversions: Sequence[Conversion]) -> None:
    """Submit *conversions* 100 at a time into a full outbox, and deliver them all."""
    async with _client(outbox=MemoryOutbox(capacity=200)) as client:
        for start in range(0, len(conversions), 100):
            await client.submit_many(conversions[start : start + 100], to=["meta"])


def main() -> None:
    """Run `work` once, or as many rounds as the first argument says."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    asyncio.run(work(sales(COUNT * rounds)))


if __name__ == "__main__":
    main()
