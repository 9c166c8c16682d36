"""Row 14: all three lanes at once against each by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import median

import attrs

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
    seconds, rounds = (1.0, 1) if quick else (3.0, 3)
    sales = list(conversions(int(60_000 * seconds)))
    alone: dict[str, list[float]] = {name: [] for name in LANES}
    together: dict[str, list[float]] = {name: [] for name in LANES}
    with running() as server:
        for _ in range(rounds):
            for name in LANES:
                rates = asyncio.run(_rates(server.url, sales, [name], seconds))
                alone[name].append(rates[name])
            rates = asyncio.run(_rates(server.url, sales, LANES, seconds))
            for name in LANES:
                together[name].append(rates[name])
    return _row(
        {name: median(samples) for name, samples in alone.items()},
        {name: median(samples) for name, samples in together.items()},
    )


def _row(alone: Mapping[str, float], together: Mapping[str, float]) -> Row:
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


@attrs.define
class _Progress:
    """The deliveries of a lane, from its first settled batch to its last.

    Conversions count when their batch is settled, and AnyTrack's batches are of hundreds. Counted
    from the beginning, a lane would lose what is in flight in the end: in three seconds a fifth of
    a third of the core's conversions, but a twentieth of those that it delivers alone.
    """

    began: float
    first: tuple[float, int] = (0.0, 0)
    last: tuple[float, int] = (0.0, 0)

    def note(self, moment: float, delivered: int) -> None:
        """Record that *delivered* conversions are settled at *moment*."""
        if delivered > self.last[1]:
            self.last = (moment, delivered)
            self.first = self.first if self.first[1] else self.last

    @property
    def rate(self) -> float:
        """Conversions a second between the first and the last batch, or up to an only one."""
        (first, before), (last, delivered) = self.first, self.last
        if last > first:
            return (delivered - before) / (last - first)
        return delivered / (last - self.began) if delivered else 0.0


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
            began = time.perf_counter()
            progress = {name: _Progress(began) for name in lanes}
            while (moment := time.perf_counter()) - began < seconds:
                delivered = await _delivered(tracker)
                for name in lanes:
                    progress[name].note(moment, delivered[name])
                if any(delivered[name] == len(sales) for name in lanes):
                    break
                await asyncio.sleep(0.01)
    return {name: lane.rate for name, lane in progress.items()}


async def _delivered(tracker: AnyTrackClient) -> Mapping[str, int]:
    stats = await tracker.stats()
    return {name: counts.delivered for name, counts in stats.destinations.items()}
