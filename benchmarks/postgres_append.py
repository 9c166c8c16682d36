"""Row 26: appending to PostgreSQL, against a hand-written INSERT … unnest … ON CONFLICT."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from anytrack_async.outbox.postgres.append import APPEND
from benchmarks.measure import Row
from benchmarks.postgres import (
    INSERT,
    NEEDS,
    batches,
    costs_on_server,
    interleaved,
    lines,
    prepare,
    sales,
)
from tests.servers.postgres import PostgresServer

NUMBER = 26
NEEDS = NEEDS

BATCH = 500
_FLOOR, _OURS, _CLIENT = "INSERT … ON CONFLICT", "append_v1", "PostgresOutbox.append, encoding"


def run(quick: bool) -> Row:
    """Append batches of 500, all new, on one connection; and through the outbox from four tasks."""
    rows, rounds = (5_000, 1) if quick else (20_000, 5)
    costs = costs_on_server(_measure, rows, rounds)
    floor, ours, client = costs[_FLOOR], costs[_OURS], costs[_CLIENT]
    cpu, speed, whole = (
        ours.server / floor.server,
        floor.wall / ours.wall,
        floor.wall / client.wall,
    )
    return Row(
        number=NUMBER,
        measure="append of 500 to PostgreSQL: CPU of the server; rows/s; rows/s of the outbox",
        against="hand-written `INSERT … unnest … ON CONFLICT`",
        target="≤ 1.25 ×; ≥ 0.8 ×; ≥ 0.5 ×",
        result=f"{cpu:.2f} ×; {speed:.2f} ×; {whole:.2f} ×",
        reached=cpu <= 1.25 and speed >= 0.8 and whole >= 0.5,
        details=lines(costs),
    )


async def _measure(started: PostgresServer, rows: int, rounds: int):
    outbox, (connection,) = await prepare(started.dsn, 1)

    def made(write: Callable[..., Awaitable[object]]) -> Callable[[], Awaitable[int]]:
        # Encoded before the clock runs.
        prepared = iter([batches(rows, BATCH) for _ in range(rounds + 1)])

        async def run() -> int:
            for batch in next(prepared):
                await write(batch)
            return rows

        return run

    async def insert(batch) -> None:
        await connection.fetch(INSERT, batch.event_ids, batch.payloads)

    async def append(batch) -> None:
        await connection.fetch(APPEND, *batch.parameters())

    prepared = iter([sales(rows) for _ in range(rounds + 1)])

    async def submit(made) -> None:
        for start in range(0, len(made), BATCH):
            await outbox.append(made[start : start + BATCH])

    async def client() -> int:
        made = next(prepared)
        await asyncio.gather(
            *(submit(made[first : first + rows // 4]) for first in range(0, rows, rows // 4))
        )
        return rows

    runs = {_FLOOR: made(insert), _OURS: made(append), _CLIENT: client}
    costs = await interleaved(started.pid, runs, rounds)
    await connection.close()
    await outbox.aclose()
    return costs
