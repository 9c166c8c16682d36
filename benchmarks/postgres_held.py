"""Row 30: deliveries from PostgreSQL while a long transaction holds an old snapshot."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import attrs

from anytrack_async import PostgresOutbox, new_event_id
from benchmarks import postgres
from benchmarks.measure import Row
from benchmarks.postgres import NAMES, connect, fill, sales, server
from tests.servers.postgres import PostgresServer

NUMBER = 30
NEEDS = postgres.NEEDS

BATCH = 100

LONG, OFFERED = 300, 8_000
"""Seconds of `run_long`, and conversions per second that arrive meanwhile."""


def run(quick: bool) -> Row:
    """Deliver a backlog in batches of 100; compare the last quarter, where most versions are."""
    rows = 4_000 if quick else 200_000
    with server() as started:
        free = asyncio.run(_last_quarter(started, "free", rows, held=False))
        held = asyncio.run(_last_quarter(started, "held", rows, held=True))
    return _row(free, held, f"deliveries/s in the last quarter of {3 * rows:,}", "")


def run_long(quick: bool) -> Row:
    """Let 8,000 conversions a second arrive for five minutes; compare the last fifth of the time.

    Unlike in `run`, everything is delivered as it comes, and dropped every second.
    """
    seconds, offered = (5, 500) if quick else (LONG, OFFERED)
    with server() as started:
        free = asyncio.run(_last_fifth(started, "free", seconds, offered, held=False))
        held = asyncio.run(_last_fifth(started, "held", seconds, offered, held=True))
    return _row(
        free,
        held,
        f"deliveries/s after {seconds:,} s in which {offered:,} conversions/s arrive",
        f", of {offered * len(NAMES):,} offered",
    )


def _row(free: float, held: float, measure: str, offered: str) -> Row:
    share = held / free
    return Row(
        number=NUMBER,
        measure=f"{measure}, a snapshot held throughout",
        against="nobody holds a snapshot",
        target="≥ 0.9 ×",
        result=f"{share:.2f} ×",
        reached=share >= 0.9,
        details=(
            f"nobody holds one: {free:,.0f} deliveries/s{offered}",
            f"a snapshot is held: {held:,.0f} deliveries/s",
        ),
    )


async def _hold(holder: Any) -> None:
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await holder.fetchval("SELECT count(*) FROM pg_class")


async def _last_fifth(
    started: PostgresServer, schema: str, seconds: float, offered: int, *, held: bool
) -> float:
    """Return the deliveries per second in the last fifth of the time."""
    outbox = await fill(started.dsn, schema, NAMES, 0)
    holder = await connect(started.dsn)
    if held:
        await _hold(holder)
    began = time.perf_counter()
    counted_from, ended = began + seconds * 4 / 5, began + seconds
    counts = await asyncio.gather(
        *(_deliver_until(outbox, name, counted_from, ended) for name in NAMES),
        _offer(outbox, offered, ended),
        _prune(outbox, ended),
    )
    await holder.close()
    await outbox.aclose()
    return sum(counts) / (ended - counted_from)


async def _offer(outbox: PostgresOutbox, offered: int, ended: float) -> int:
    """Append *offered* conversions a second."""
    templates, due = sales(BATCH), time.perf_counter()
    while (now := time.perf_counter()) < ended:
        await asyncio.sleep(max(0.0, due - now))
        await outbox.append([attrs.evolve(each, event_id=new_event_id()) for each in templates])
        due += BATCH / offered
    return 0


async def _deliver_until(
    outbox: PostgresOutbox, name: str, counted_from: float, ended: float
) -> int:
    """Deliver what there is; return how many it were from *counted_from* on."""
    count = 0
    while (now := time.perf_counter()) < ended:
        claim = await outbox.claim(name, BATCH, 60)
        if claim.entries:
            assert await outbox.settle(claim)
            count += len(claim.entries) if now >= counted_from else 0
        else:
            await asyncio.sleep(0.005)
    return count


async def _prune(outbox: PostgresOutbox, ended: float) -> int:
    while time.perf_counter() < ended:
        await outbox.prune(remember=86_400)
        await asyncio.sleep(1)
    return 0


async def _last_quarter(started: PostgresServer, schema: str, rows: int, *, held: bool) -> float:
    """Return the deliveries per second in the last quarter of a backlog."""
    outbox = await fill(started.dsn, schema, NAMES, rows)
    holder = await connect(started.dsn)
    if held:
        await _hold(holder)
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
