"""Row 22: how late the event loop is while a file is read."""

from __future__ import annotations

import asyncio
from pathlib import Path

from anytrack_async import BackfillSettings, backfill
from benchmarks.lag import lag_row, lateness
from benchmarks.measure import Row
from benchmarks.orders import orders_file

NUMBER = 22
NEEDS = ()


def run(quick: bool) -> Row:
    """Compare with an idle loop."""
    count = 20_000 if quick else 200_000
    with orders_file(count) as path:
        idle = asyncio.run(lateness(lambda: asyncio.sleep(1 if quick else 5)))
        busy = asyncio.run(lateness(lambda: _dry_run(path)))
    return lag_row(NUMBER, "a file is read and mapped", idle, busy)


async def _dry_run(path: Path) -> None:
    await backfill(None, path, settings=BackfillSettings(dry_run=True))
