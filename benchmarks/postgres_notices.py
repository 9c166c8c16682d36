"""Row 34: single appends to PostgreSQL on 8 connections, with notices to other processes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from anytrack_async.outbox.postgres.append import AppendArguments
from anytrack_async.outbox.postgres.claim import new_lease_id
from anytrack_async.outbox.postgres.database import Database
from anytrack_async.outbox.postgres.news import News
from benchmarks import postgres
from benchmarks.measure import Row
from benchmarks.postgres import ServerCost, costs_on_server, interleaved, lines, prepare
from benchmarks.postgres_single import CONNECTIONS, append, single_writes
from tests.servers.postgres import PostgresServer

NUMBER = 34
NEEDS = postgres.NEEDS

_FLOOR, _OURS = "append of the outbox", "append and notices"


def run(quick: bool) -> Row:
    """Append one by one, while another process listens; with notices to it, and without."""
    rows, rounds = (400, 1) if quick else (6_000, 5)
    costs, heard = costs_on_server(_measure, rows, rounds)
    speed = costs[_FLOOR].wall / costs[_OURS].wall
    return Row(
        number=NUMBER,
        measure=f"single appends to PostgreSQL on {CONNECTIONS} connections, with wake-ups of "
        "other processes",
        against="the same without wake-ups",
        target="≥ 0.9 ×",
        result=f"{speed:.2f} ×",
        reached=speed >= 0.9,
        details=(*lines(costs), f"{heard:,} notices heard for {rows * (rounds + 1):,} appends"),
    )


async def _measure(
    started: PostgresServer, rows: int, rounds: int
) -> tuple[dict[str, ServerCost], int]:
    """Return the costs, and how many notices arrived."""
    outbox, connections = await prepare(started.dsn, CONNECTIONS)
    await outbox.aclose()
    heard: list[str | None] = []
    listening = asyncio.Event()

    def wake(name: str | None) -> None:
        heard.append(name)
        listening.set()  # the first call says that it listens

    async with _news(started.dsn, lambda _: None) as news, _news(started.dsn, wake):
        await listening.wait()

        async def append_and_announce(connection, batch: AppendArguments) -> None:
            await append(connection, batch)
            news.announce()

        runs = {
            _FLOOR: single_writes(connections, append, rows, rounds),
            _OURS: single_writes(connections, append_and_announce, rows, rounds),
        }
        costs = await interleaved(started.pid, runs, rounds)
        await asyncio.sleep(0.1)  # for the last notice
    if len(heard) < 2:
        raise RuntimeError("no notice was heard")
    return costs, len(heard) - 1


@asynccontextmanager
async def _news(dsn: str, wake):
    """Send and hear notices, as the outbox of a process does."""
    database = Database(dsn, schema="anytrack", connections=2, timeout=30, behind_pooler=False)
    await database.open(migrating=False)
    news = News(database, dsn, new_lease_id())
    task = asyncio.create_task(news.run(wake))
    await asyncio.sleep(0)  # until it takes announcements
    yield news
    task.cancel()
    await asyncio.wait([task])
    await database.close()
