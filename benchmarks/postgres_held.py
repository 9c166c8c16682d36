"""Row 30: deliveries from PostgreSQL while a long transaction holds an old snapshot."""

from __future__ import annotations

import asyncio
import time

from anytrack_async import PostgresOutbox
from benchmarks import postgres
from benchmarks.measure import Row
from benchmarks.postgres import NAMES, connect, fill, server
from tests.servers.postgres import PostgresServer

NUMBER = 30
NEEDS = postgres.NEEDS

BATCH = 100


def run(quick: bool) -> Row:
    """Deliver a backlog in batches of 100; compare the last quarter, where most versions are."""
    rows = 4_000 if quick else 200_000
    with server() as started:
        free = asyncio.run(_last_quarter(started, "free", rows, held=False))
        held = asyncio.run(_last_quarter(started, "held", rows, held=True))
    share = held / free
    return Row(
        number=NUMBER,
        measure=f"deliveries/s in the last quarter of {3 * rows:,}, a snapshot held throughout",
        against="nobody holds a snapshot",
        target="≥ 0.9 ×",
        result=f"{share:.2f} ×",
        reached=share >= 0.9,
        details=(
            f"nobody holds one: {free:,.0f} deliveries/s",
            f"a snapshot is held: {held:,.0f} deliveries/s",
        ),
    )


async def _last_quarter(started: PostgresServer, schema: str, rows: int, *, held: bool) -> float:
    """Return the deliveries per second in the last quarter of a backlog."""
    outbox = await fill(started.dsn, schema, NAMES, rows)
    holder = await connect(started.dsn)
    if held:
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await holder.fetchval("SELECT count(*) FROM pg_class")
    moments = await asyncio.gather(*(_deliver(outbox, name, rows) for name in NAMES))
    await holder.close()
    await outbox.aclose()
    return sum(rows / 4 / (end - begin) for begin, end in moments)


async def _deliver(outbox: PostgresOutbox, name: str, rows: int) -> tuple[float, float]:
    """Deliver everything; return when the last quarter began and ended."""
    count, began = 0, 0.0
    while count < rows:
        claim = await outbox.claim(name, BATCH, 60)
        count += len(claim.entries)
        assert await outbox.settle(claim)
        if not began and count >= rows * 3 // 4:
            began = time.perf_counter()
    return began, time.perf_counter()
