"""Row 17: claiming from an outbox file with 10,000 released ranges, due or not, against none."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from anytrack_async import SQLiteOutbox
from benchmarks.measure import Row
from benchmarks.shop import conversions

NUMBER = 17
NEEDS = ()
CLAIMED = 10
CLAIMS = 200
MANY = 10_000
LATER = 1e6  # seconds


def run(quick: bool) -> Row:
    """Compare files without released ranges, with due ones and with others."""
    many = MANY // 20 if quick else MANY
    none = asyncio.run(_median(0, are_due=False))
    waiting = asyncio.run(_median(many, are_due=False))
    due = asyncio.run(_median(many, are_due=True))
    return Row(
        number=NUMBER,
        measure=f"`claim` of {CLAIMED} conversions from SQLite with {many:,} released ranges",
        against="none",
        target="≤ 1.5 × the time",
        result=f"{waiting / none:.2f} × if they are not due, {due / none:.2f} × if they are",
        reached=max(waiting, due) <= 1.5 * none,
        details=(
            f"none: {none * 1e3:.2f} ms",
            f"{many:,} that are not due: {waiting * 1e3:.2f} ms",
            f"{many:,} that are due: {due * 1e3:.2f} ms",
        ),
    )


async def _median(released: int, *, are_due: bool) -> float:
    """Return the median time of a claim, in seconds, with *released* ranges of a claim's size."""
    with tempfile.TemporaryDirectory() as folder:
        outbox = SQLiteOutbox(Path(folder) / "outbox.db")
        await outbox.open(["meta"])
        await outbox.append(list(conversions(CLAIMED * (released + CLAIMS))))
        for _ in range(released):
            claim = await outbox.claim("meta", CLAIMED, 600)
            await outbox.release(claim, due=outbox.now() + LATER, counts_as_attempt=False)
        if are_due:  # only now: they would have been claimed again
            await outbox._run(lambda db: db.sql.execute("UPDATE span SET due = 1"))
        times = []
        for _ in range(CLAIMS):
            began = time.perf_counter()
            claim = await outbox.claim("meta", CLAIMED, 600)
            times.append(time.perf_counter() - began)
            assert len(claim.entries) == CLAIMED
            await outbox.settle(claim)
        await outbox.aclose()
    return median(times)
