"""Row 31: from the commit of a conversion to its claim on another connection of PostgreSQL."""

from __future__ import annotations

import asyncio
import time

from anytrack_async import PostgresOutbox
from benchmarks import postgres
from benchmarks.measure import Row, percentile
from benchmarks.postgres import connect, sales, server
from tests.servers.postgres import PostgresServer

NUMBER = 31
NEEDS = postgres.NEEDS

POLL = 0.01
"""Seconds between two polls; the outbox's own news are measured by their tests."""


def run(quick: bool) -> Row:
    """Append one conversion at a time, with and without a long writing transaction elsewhere."""
    count = 20 if quick else 500
    with server() as started:
        free = asyncio.run(_delays(started, "free", count, held=False))
        held = asyncio.run(_delays(started, "held", count, held=True))
    middle = percentile(free, 0.5), percentile(held, 0.5)
    return Row(
        number=NUMBER,
        measure=f"commit to claim, polled every {POLL * 1e3:.0f} ms; beside a writing transaction",
        against="–",
        target="p50 ≤ 20 ms; the same",
        result=f"{middle[0] * 1e3:.1f} ms; {middle[1] * 1e3:.1f} ms",
        reached=middle[0] <= 0.02 and middle[1] <= 0.02,
        details=(
            f"p99 {percentile(free, 0.99) * 1e3:.1f} ms",
            f"p99 {percentile(held, 0.99) * 1e3:.1f} ms beside a writing transaction",
        ),
    )


async def _delays(started: PostgresServer, schema: str, count: int, *, held: bool) -> list[float]:
    producer, consumer = (PostgresOutbox(started.dsn, schema=schema) for _ in range(2))
    for outbox in (producer, consumer):
        await outbox.open(["meta"])
    writer = await connect(started.dsn)
    if held:
        await writer.execute("BEGIN; SELECT pg_current_xact_id()")
    committed: dict[str, float] = {}
    delays: list[float] = []

    async def produce() -> None:
        for sale in sales(count):
            await producer.append([sale])
            committed[sale.event_id] = time.perf_counter()
            await asyncio.sleep(0.015)

    async def consume() -> None:
        while len(delays) < count:
            claim = await consumer.claim("meta", 100, 60)
            now = time.perf_counter()
            if claim.entries:
                delays.extend(
                    now - committed.get(event_id, now) for event_id in claim.entries.event_ids
                )
                await consumer.settle(claim)
            else:
                await asyncio.sleep(POLL)

    await asyncio.gather(produce(), consume())
    await writer.close()
    for outbox in (producer, consumer):
        await outbox.aclose()
    return delays
