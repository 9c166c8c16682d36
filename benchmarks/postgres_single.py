"""Row 27: single appends to PostgreSQL on 8 connections, against a single INSERT."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from anytrack_async.outbox.postgres.append import APPEND_ONE, APPENDED_ONE, AppendArguments
from benchmarks import postgres
from benchmarks.measure import Row
from benchmarks.postgres import ServerCost, batches, costs_on_server, interleaved, lines, prepare
from tests.servers.postgres import PostgresServer

NUMBER = 27
NEEDS = postgres.NEEDS

CONNECTIONS = 8
_INSERT = """INSERT INTO floor (event_id, at, payload)
    VALUES ($1, extract(epoch FROM clock_timestamp()), $2) ON CONFLICT (event_id) DO NOTHING"""
_FLOOR, _OURS = "INSERT … ON CONFLICT", "append of the outbox"


def run(quick: bool) -> Row:
    """Append conversions one by one, each with a commit of its own."""
    rows, rounds = (400, 1) if quick else (8_000, 5)
    costs = costs_on_server(_measure, rows, rounds)
    speed = costs[_FLOOR].wall / costs[_OURS].wall
    return Row(
        number=NUMBER,
        measure=f"single appends to PostgreSQL on {CONNECTIONS} connections",
        against="a single `INSERT … ON CONFLICT`",
        target="≥ 0.85 ×",
        result=f"{speed:.2f} ×",
        reached=speed >= 0.85,
        details=lines(costs),
    )


async def append(connection, batch: AppendArguments) -> None:
    """Append the conversion in *batch*."""
    if await connection.execute(APPEND_ONE, *batch.single_parameters()) != APPENDED_ONE:
        raise RuntimeError("a conversion was not new")


def single_writes(
    connections: Sequence[Any], write: Callable[..., Awaitable[None]], rows: int, rounds: int
) -> Callable[[], Awaitable[int]]:
    """Return work that writes *rows* conversions one by one, once before and in each round."""
    prepared = iter([batches(rows, 1) for _ in range(rounds + 1)])

    async def write_all(connection, work: Iterator[AppendArguments]) -> None:
        for batch in work:  # shared: each connection takes the next one
            await write(connection, batch)

    async def run() -> int:
        work = iter(next(prepared))
        await asyncio.gather(*(write_all(connection, work) for connection in connections))
        return rows

    return run


async def _measure(started: PostgresServer, rows: int, rounds: int) -> dict[str, ServerCost]:
    outbox, connections = await prepare(started.dsn, CONNECTIONS)

    async def insert(connection, batch) -> None:
        await connection.fetch(_INSERT, batch.event_ids[0], batch.payloads[0])

    runs = {
        _FLOOR: single_writes(connections, insert, rows, rounds),
        _OURS: single_writes(connections, append, rows, rounds),
    }
    costs = await interleaved(started.pid, runs, rounds)
    await outbox.aclose()
    return costs
