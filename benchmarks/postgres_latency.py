"""Row 31: from the commit of a conversion in PostgreSQL to its delivery by another process."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from typing import Any

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    DeliverySettings,
    Outcome,
    PostgresOutbox,
    SinkLimits,
)
from benchmarks import postgres
from benchmarks.measure import Row, percentile
from benchmarks.postgres import connect, sales, server
from tests.servers.postgres import PostgresServer

NUMBER = 31
NEEDS = postgres.NEEDS

POLL = 0.1
"""Seconds between two polls of the lane that hears no notices."""
_PAUSE = 0.015
"""Seconds between two conversions: more than between two notices."""


def run(quick: bool) -> Row:
    """Submit one conversion at a time: with notices, beside a writing transaction, and without."""
    count = 20 if quick else 400
    with server() as started:
        heard = _delays(started, "heard", count)
        held = _delays(started, "held", count, held=True)
        polled = _delays(started, "polled", count, hears=False)
    middle = [percentile(delays, 0.5) for delays in (heard, held, polled)]
    worst = [percentile(delays, 0.99) for delays in (heard, held, polled)]
    labels = (
        "with notices",
        "with notices, beside a writing transaction",
        f"without notices, polled every {POLL * 1e3:.0f} ms",
    )
    return Row(
        number=NUMBER,
        measure="commit to delivery by another process: with notices; beside a writing "
        f"transaction; without notices, polled every {POLL * 1e3:.0f} ms",
        against="–",
        target=f"p50 ≤ 20 ms; the same; ≤ {POLL * 1e3 + 10:.0f} ms",
        result="; ".join(f"{seconds * 1e3:.1f} ms" for seconds in middle),
        reached=middle[0] <= 0.02 and middle[1] <= 0.02 and middle[2] <= POLL + 0.01,
        details=tuple(
            f"{label}: p50 {half * 1e3:.1f} ms, p99 {most * 1e3:.1f} ms"
            for label, half, most in zip(labels, middle, worst, strict=True)
        ),
    )


def _delays(
    started: PostgresServer, schema: str, count: int, *, held: bool = False, hears: bool = True
) -> list[float]:
    """Return the seconds from the commit of each conversion to its delivery."""
    context = multiprocessing.get_context("spawn")
    deliveries: Any = context.Queue()
    process = context.Process(target=_deliver, args=(started.dsn, schema, hears, count, deliveries))
    process.start()
    try:
        assert deliveries.get(timeout=30) == {}  # it is ready
        committed = asyncio.run(_submit(started.dsn, schema, count, held=held))
        delivered: dict[str, float] = deliveries.get(timeout=30)
        process.join(10)
    finally:
        process.kill()
    return [delivered[event_id] - moment for event_id, moment in committed.items()]


async def _submit(dsn: str, schema: str, count: int, *, held: bool) -> dict[str, float]:
    """Submit one after the other; return event id → the moment at which it was committed."""
    outbox, settings = PostgresOutbox(dsn, schema=schema), DeliverySettings(deliver=False)
    writer = await connect(dsn)
    if held:
        await writer.execute("BEGIN; SELECT pg_current_xact_id()")
    sink = _Recorder(0)
    committed: dict[str, float] = {}
    async with AnyTrackClient(
        anytrack=False, sinks=[sink], outbox=outbox, delivery=settings, log=False
    ) as client:
        for sale in sales(count):
            await client.submit(sale)
            committed[sale.event_id] = time.perf_counter()
            await asyncio.sleep(_PAUSE)
    await writer.close()
    return committed


class _Recorder:
    """A destination that notes when each conversion reached it."""

    name = "recorder"
    limits = SinkLimits()

    def __init__(self, count: int) -> None:
        self._count = count
        self.delivered: dict[str, float] = {}
        self.complete = asyncio.Event()

    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        now = time.perf_counter()  # that of the machine, the same in all processes
        self.delivered.update((conversion.event_id, now) for conversion in batch)
        if len(self.delivered) >= self._count:
            self.complete.set()
        return [Outcome.delivered()] * len(batch)


def _deliver(dsn: str, schema: str, hears: bool, count: int, deliveries: Any) -> None:
    """Deliver *count* conversions in a process of its own, and send when each of them was."""

    async def deliver() -> None:
        outbox = PostgresOutbox(dsn, schema=schema, behind_pooler=not hears)
        settings = DeliverySettings() if hears else DeliverySettings(poll=POLL)
        sink = _Recorder(count)
        async with AnyTrackClient(
            anytrack=False, sinks=[sink], outbox=outbox, delivery=settings, log=False
        ):
            await asyncio.sleep(0.5)  # until it listens
            deliveries.put({})
            await asyncio.wait_for(sink.complete.wait(), 60)
        deliveries.put(sink.delivered)

    asyncio.run(deliver())
