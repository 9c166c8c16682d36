"""Row 17: claiming from an outbox file with 10,000 released ranges, due or not, against none."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Literal

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
    none = asyncio.run(_median(many, "delivered"))
    waiting = asyncio.run(_median(many, "not due"))
    due = asyncio.run(_median(many, "due"))
    return Row(
        number=NUMBER,
        measure=f"`claim` of {CLAIMED} conversions from SQLite with {many:,} released ranges",
        against="a file of the same length without",
        target="≤ 1.5 × the time",
        result=f"{waiting / none:.2f} × if they are not due, {due / none:.2f} × if they are",
        reached=max(waiting, due) <= 1.5 * none,
        details=(
            f"none: {none * 1e3:.2f} ms",
            f"{many:,} that are not due: {waiting * 1e3:.2f} ms",
            f"{many:,} that are due: {due * 1e3:.2f} ms",
        ),
    )


async def _median(ranges: int, state: Literal["delivered", "not due", "due"]) -> float:
    """Return the median time of a claim, in seconds, behind *ranges* of a claim's size.

    The file has the same length in each state. A claim that reads the newest of few conversions
    takes 0.3 ms less: it finds them decoded in memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        outbox = SQLiteOutbox(Path(folder) / "outbox.db")
        await outbox.open(["meta"])
        await outbox.append(list(conversions(CLAIMED * (ranges + CLAIMS))))
        for _ in range(ranges):
            claim = await outbox.claim("meta", CLAIMED, 600)
            if state == "delivered":
                await outbox.settle(claim)
            else:
                await outbox.release(claim, due=outbox.now() + LATER, counts_as_attempt=False)
        if state == "due":  # only now: they would have been claimed again
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
