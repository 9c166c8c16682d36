"""Row 22: how late the event loop is while a file is read."""

from __future__ import annotations

import asyncio
from pathlib import Path

from anytrack_async import BackfillSettings, backfill
from benchmarks.lag import lateness
from benchmarks.measure import Row, percentile
from benchmarks.orders import orders_file

NUMBER = 22
NEEDS = ()


def run(quick: bool) -> Row:
    """Compare with an idle loop."""
    count = 20_000 if quick else 200_000
    with orders_file(count) as path:
        idle = asyncio.run(lateness(lambda: asyncio.sleep(1 if quick else 5)))
        busy = asyncio.run(lateness(lambda: _dry_run(path)))
    before, during = percentile(idle, 0.99) * 1e3, percentile(busy, 0.99) * 1e3
    return Row(
        number=NUMBER,
        measure="event-loop lag p99 while a file is read and mapped",
        against="an idle loop",
        target="+ ≤ 5 ms",
        result=f"+ {during - before:.1f} ms",
        reached=during - before <= 5,
        details=(
            f"idle: p50 {percentile(idle, 0.5) * 1e3:.2f} ms, p99 {before:.2f} ms",
            f"busy: p50 {percentile(busy, 0.5) * 1e3:.2f} ms, p99 {during:.2f} ms",
        ),
    )


async def _dry_run(path: Path) -> None:
    await backfill(None, path, settings=BackfillSettings(dry_run=True))
