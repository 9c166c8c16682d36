"""Row 14: all three lanes at once against each by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    DeliverySettings,
    MemoryOutbox,
    UndeliveredError,
)
from benchmarks.measure import Row
from benchmarks.server import running
from benchmarks.shop import client, conversions, hubspot_sink, meta_sink

NUMBER = 14
NEEDS = ()
LANES = ("anytrack", "meta", "hubspot")


def run(quick: bool) -> Row:
    """Compare rates while every lane has a backlog; the share of each is a third of the core."""
    seconds = 1.0 if quick else 3.0
    sales = list(conversions(int(60_000 * seconds)))
    with running() as server:
        alone = {
            name: asyncio.run(_rates(server.url, sales, [name], seconds))[name] for name in LANES
        }
        together = asyncio.run(_rates(server.url, sales, LANES, seconds))
    shares = {name: together[name] / (alone[name] / len(LANES)) for name in LANES}
    return Row(
        number=NUMBER,
        measure="all three lanes together",
        against="each alone",
        target="each ≥ 0.8 × of its share of the core",
        result=", ".join(f"{name} {share:.2f} ×" for name, share in shares.items()),
        reached=min(shares.values()) >= 0.8,
        details=tuple(
            f"{name}: {alone[name]:,.0f} conversions/s alone, {together[name]:,.0f} together"
            for name in LANES
        ),
    )


async def _rates(
    url: str, sales: Sequence[Conversion], lanes: Sequence[str], seconds: float
) -> Mapping[str, float]:
    """Return lane → conversions a second, until *seconds* are over or a lane has no more."""
    tracker = client(
        url,
        sinks=[meta_sink(url), hubspot_sink(url)],
        outbox=MemoryOutbox(capacity=len(sales)),
        delivery=DeliverySettings(drain=0.0),
    )
    with suppress(UndeliveredError):  # the rest of the backlog is dropped on purpose
        async with tracker:
            await tracker.submit_many(sales, to=lanes)
            before, began = await _delivered(tracker), time.perf_counter()
            while time.perf_counter() - began < seconds:
                await asyncio.sleep(0.01)
                now = await _delivered(tracker)
                if any(now[name] == len(sales) for name in lanes):
                    break
            elapsed = time.perf_counter() - began
    return {name: (now[name] - before[name]) / elapsed for name in lanes}


async def _delivered(tracker: AnyTrackClient) -> Mapping[str, int]:
    stats = await tracker.stats()
    return {name: counts.delivered for name, counts in stats.destinations.items()}
