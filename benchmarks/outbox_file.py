"""Row 18: an outbox file: bytes per remembered id, size in the end, submits while it forgets."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from anytrack_async import Conversion, SQLiteOutbox, new_event_id
from benchmarks.measure import Row, percentile
from benchmarks.shop import conversions

NUMBER = 18
NEEDS = ()
BATCH = 1_000
ALONE_FOR = 10.0
"""Seconds in which submits are measured while nothing else happens, half before and half after."""

PAUSE = 1.0
"""Seconds between two prunes: fewer than usual, so that they matter more."""


class _Submits(NamedTuple):
    alone: float
    forgetting: float
    forgot: int
    seconds: float


def run(quick: bool) -> Row:
    """Measure all three; a submit is one conversion, with a commit of its own."""
    delivered, remembered, forgotten = (
        (20_000, 20_000, 50_000) if quick else (1_000_000, 200_000, 5_000_000)
    )
    size = asyncio.run(_size_in_the_end(delivered))
    per_id = asyncio.run(_bytes_per_id(remembered))
    submits = asyncio.run(_submits(forgotten, 1.0 if quick else ALONE_FOR))
    slower = submits.forgetting / submits.alone
    return Row(
        number=NUMBER,
        measure=f"an outbox file: bytes per remembered id (UUIDs); its size after {delivered:,} "
        f"conversions with retention 0; p99 of `submit` while {forgotten:,} ids are forgotten",
        against="submits while nothing is forgotten",
        target="≤ 120 bytes; ≤ 8 MB; ≤ 2 × the time",
        result=f"{per_id:.0f} bytes; {size / 1e6:.1f} MB; {slower:.2f} × the time",
        reached=per_id <= 120 and size <= 8e6 and slower <= 2,
        details=(
            f"p99 of a submit alone: {submits.alone * 1e3:.2f} ms",
            f"p99 of a submit while forgetting: {submits.forgetting * 1e3:.2f} ms",
            f"{submits.forgot:,} ids were forgotten within {submits.seconds:.0f} s",
        ),
    )


async def _deliver(outbox: SQLiteOutbox, count: int, prune: Callable[[], Awaitable[Any]]) -> None:
    batch = []
    for sale in conversions(count):
        batch.append(attrs.evolve(sale, event_id=new_event_id()))
        if len(batch) == BATCH:
            await outbox.append(batch)
            batch.clear()
            await outbox.settle(await outbox.claim("meta", BATCH, 60))
            await prune()


async def _size_in_the_end(count: int) -> int:
    """Return the bytes of all files after *count* conversions, none of them remembered."""
    with tempfile.TemporaryDirectory() as folder:
        outbox = SQLiteOutbox(Path(folder) / "outbox.db")
        await outbox.open(["meta"])
        await _deliver(outbox, count, lambda: outbox.prune(remember=0))
        await outbox.aclose()
        return sum(file.stat().st_size for file in Path(folder).iterdir())  # noqa: ASYNC240


async def _bytes_per_id(count: int) -> float:
    """Return the bytes in use in the file for each of *count* remembered ids."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outbox.db"
        outbox = SQLiteOutbox(path)
        await outbox.open(["meta"])
        await _deliver(outbox, count, lambda: outbox.prune(remember=1e9))
        await outbox.aclose()
        with closing(sqlite3.connect(path)) as sql:
            used = sql.execute(
                "SELECT page_size * (page_count - freelist_count) FROM pragma_page_size, "
                "pragma_page_count, pragma_freelist_count"
            )
            return float(used.fetchone()[0]) / count


async def _submits(count: int, seconds: float) -> _Submits:
    """Submit one by one, alone and while *count* ids are forgotten, for three times as long.

    A prune ends after a few seconds while conversions are accepted, so it is repeated.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outbox.db"
        outbox = SQLiteOutbox(path)
        await outbox.open(["meta"])
        await outbox.aclose()
        _fill(path, count)
        await outbox.open(["meta"])
        alone = await _times(outbox, lambda passed: passed > seconds / 2)
        before, began = _ids(path), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            pruning = group.create_task(_prune_for(outbox, 3 * seconds))
            forgetting = await _times(outbox, lambda _: pruning.done())
        took = time.perf_counter() - began
        forgot = before + len(forgetting) - _ids(path)
        alone += await _times(outbox, lambda passed: passed > seconds / 2)
        await outbox.aclose()
    return _Submits(percentile(alone, 0.99), percentile(forgetting, 0.99), forgot, took)


async def _prune_for(outbox: SQLiteOutbox, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        await outbox.prune(remember=0)
        await asyncio.sleep(PAUSE)


async def _times(outbox: SQLiteOutbox, is_over: Callable[[float], bool]) -> list[float]:
    """Return how long each of many submits took, in seconds."""
    times: list[float] = []
    first = began = time.perf_counter()
    while not is_over(began - first):
        await outbox.append([Conversion.sale(revenue=5, event_id=new_event_id())])
        now = time.perf_counter()
        times.append(now - began)
        began = now
    return times


def _fill(path: Path, count: int) -> None:
    """Add remembered ids that may be forgotten: faster than delivering so many conversions."""
    with closing(sqlite3.connect(path)) as sql, sql:
        # Like the ids of `new_event_id`, which take five times as long: a time, then random digits.
        sql.execute(
            "WITH RECURSIVE numbers(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers "
            "WHERE n < ?) INSERT INTO ids (seq, event_id, summary) SELECT n, "
            "printf('01900000-%04x-7%03x-%s-%s', n >> 12, n & 4095, lower(hex(randomblob(2))), "
            "lower(hex(randomblob(6)))), 'sale 49.90 USD' FROM numbers",
            (count,),
        )
        sql.executemany(
            "INSERT INTO dropped VALUES (?, 0)", ((seq,) for seq in range(500, count + 1, 500))
        )
        sql.execute("UPDATE pruned SET upto = ?", (count,))
        sql.execute("UPDATE destination SET start = ?, cursor = ?", (count, count))


def _ids(path: Path) -> int:
    with closing(sqlite3.connect(path)) as sql:
        return int(sql.execute("SELECT count(*) FROM ids").fetchone()[0])
