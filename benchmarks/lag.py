"""Row 9: how late the event loop is while 10,000 conversions a second pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from anytrack_async import Conversion
from benchmarks.measure import Row, percentile
from benchmarks.server import Server, running
from benchmarks.shop import client, conversions, meta_sink

NUMBER = 9
NEEDS = ()
A_SECOND = 10_000
PORTION = 50  # conversions that arrive together


def run(quick: bool) -> Row:
    """Compare with an idle loop; the work is spread evenly, as requests to a shop come."""
    seconds = 1 if quick else 5
    sales = list(conversions(A_SECOND * seconds))
    with running() as server:
        idle = asyncio.run(lateness(lambda: asyncio.sleep(seconds)))
        busy = asyncio.run(lateness(lambda: _traffic(server, sales)))
    row = lag_row(NUMBER, "10,000 conversions/s pass (Meta lane)", idle, busy)
    worst = f"busy, worst: {max(busy) * 1e3:.1f} ms"
    return row._replace(details=(*row.details, worst))


def lag_row(number: int, meanwhile: str, idle: Sequence[float], busy: Sequence[float]) -> Row:
    """Return the row of a comparison of two results of `lateness`."""
    before, during = percentile(idle, 0.99) * 1e3, percentile(busy, 0.99) * 1e3
    return Row(
        number=number,
        measure=f"event-loop lag p99 while {meanwhile}",
        against="an idle loop",
        target="+ ≤ 5 ms",
        result=f"+ {during - before:.1f} ms",
        reached=during - before <= 5,
        details=(
            f"idle: p50 {percentile(idle, 0.5) * 1e3:.2f} ms, p99 {before:.2f} ms",
            f"busy: p50 {percentile(busy, 0.5) * 1e3:.2f} ms, p99 {during:.2f} ms",
        ),
    )


async def lateness(work: Callable[[], Awaitable[None]]) -> list[float]:
    """Return by how many seconds the loop was late, every millisecond while *work* runs."""
    late: list[float] = []
    async with _pulse(late):
        await work()
    return late


@asynccontextmanager
async def _pulse(late: list[float]) -> AsyncIterator[None]:
    async def beat() -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            late.append(max(0.0, time.perf_counter() - due))

    task = asyncio.create_task(beat())
    yield
    task.cancel()


async def _traffic(server: Server, sales: Sequence[Conversion]) -> None:
    async with client(server.url, sinks=[meta_sink(server.url)]) as ours:
        began = time.perf_counter()
        for start in range(0, len(sales), PORTION):
            await ours.submit_many(sales[start : start + PORTION], to=["meta"])
            ahead = began + (start + PORTION) / A_SECOND - time.perf_counter()
            await asyncio.sleep(max(0.0, ahead))
