"""Row 8: durable `submit` from 100 tasks at once, against a bare `executemany`."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from anytrack_async import Conversion, Outcome, SinkLimits, SQLiteOutbox
from anytrack_async.codec import encode
from benchmarks.measure import Row, interleaved, percentile, rates
from benchmarks.shop import client, conversions

NUMBER = 8
NEEDS = ()
TASKS = 100


class Anywhere:
    """A destination that takes everything at once: what is measured is the writing down."""

    name = "anywhere"
    limits = SinkLimits(batch=1000, concurrency=1)

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        return [Outcome.delivered()] * len(batch)


def run(quick: bool) -> Row:
    """Compare, on the disk that temporary files are on."""
    sales = list(conversions(2_000 if quick else 20_000))
    rows = [(sale.event_id, *encode(sale), time.time()) for sale in sales]
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        fresh = partial(_fresh, Path(folder))
        costs = interleaved(
            {
                "anytrack_async, delivered besides": partial(_ours, fresh, sales, waits),
                "executemany": partial(_bare, fresh, rows),
            },
            rounds=3,
        )
    share = costs["executemany"].wall / costs["anytrack_async, delivered besides"].wall
    p99 = percentile(waits, 0.99) * 1e3
    return Row(
        number=NUMBER,
        measure="durable `submit`: 100 tasks each awaiting, SQLite outbox, `synchronous=FULL`",
        against="a bare `executemany` with the same commits",
        reach="≥ 0.5 × the rows/s; p99 under 25 ms",
        got=f"{share:.2f} ×; p99 {p99:.1f} ms",
        reached=share >= 0.5 and p99 < 25,
        details=rates(costs, "conversions"),
    )


_made = iter(range(10**6))


def _fresh(folder: Path) -> Path:
    return folder / f"{next(_made)}.db"


async def _ours(fresh: Callable[[], Path], sales: Sequence[Conversion], waits: list[float]) -> int:
    options = {"sinks": [Anywhere()], "outbox": SQLiteOutbox(fresh())}
    async with client("http://127.0.0.1:9", **options) as ours:
        rest = iter(sales)

        async def work() -> None:
            for sale in rest:
                began = time.perf_counter()
                await ours.submit(sale, to=["anywhere"])
                waits.append(time.perf_counter() - began)

        await asyncio.gather(*(work() for _ in range(TASKS)))
    return len(sales)


def _bare(fresh: Callable[[], Path], rows: Sequence[tuple[object, ...]]) -> int:
    sql = sqlite3.connect(fresh(), isolation_level=None)
    sql.execute("PRAGMA journal_mode = WAL")
    sql.execute("PRAGMA synchronous = FULL")
    sql.execute(
        "CREATE TABLE log (seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE,"
        " payload BLOB, digest BLOB NOT NULL, at REAL NOT NULL)"
    )
    for start in range(0, len(rows), TASKS):
        sql.execute("BEGIN")
        sql.executemany(
            "INSERT INTO log (event_id, payload, digest, at) VALUES (?, ?, ?, ?)",
            rows[start : start + TASKS],
        )
        sql.execute("COMMIT")
    sql.close()
    return len(rows)
