"""Row 29: workers on one PostgreSQL server, against SKIP LOCKED with a row per destination."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any

from anytrack_async.outbox.checks import MAX_CLAIM_BYTES
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.claim import new_lease_id
from benchmarks import postgres
from benchmarks.measure import Row
from benchmarks.postgres import NAMES, ServerCost, connect, fill, lines, server, server_cpu
from tests.servers.postgres import PostgresServer

NUMBER = 29
NEEDS = postgres.NEEDS

BATCH = 500
WORKERS = (1, 2, 4, 8)
_WARM_UP = 6
"""Claims of one conversion before the clock runs: a new connection plans the first five anew."""

_JOBS = """CREATE TABLE job (destination text NOT NULL, id bigint NOT NULL, due float8 NOT NULL
    DEFAULT 0, lease bigint NOT NULL DEFAULT 0, PRIMARY KEY (destination, id))"""
_JOBS_DUE = "CREATE INDEX ON job (destination, due, id)"
_FILL_JOBS = "INSERT INTO job (destination, id) SELECT $1, id FROM anytrack.log"
_LEASE = """WITH next AS (SELECT destination, id FROM job WHERE destination = $1
        AND due <= extract(epoch FROM clock_timestamp()) ORDER BY due, id LIMIT $2
        FOR UPDATE SKIP LOCKED),
    leased AS (UPDATE job SET lease = $3, due = extract(epoch FROM clock_timestamp()) + 60
        FROM next WHERE job.destination = next.destination AND job.id = next.id RETURNING job.id)
    SELECT log.id, log.digest, log.payload FROM leased JOIN anytrack.log USING (id)"""
_DELETE = "DELETE FROM job WHERE destination = $1 AND id = ANY ($2) AND lease = $3"


def run(quick: bool) -> Row:
    """Let processes claim, read and settle as fast as they can, for three destinations."""
    rows = 5_000 if quick else 100_000
    with server() as started:
        ours = {count: _deliver(started, claim_until_empty, count, rows) for count in WORKERS}
        theirs = _deliver(started, lease_until_empty, 4, rows // 2)
    faster = theirs.wall / ours[4].wall
    cpu = ours[4].server / theirs.server
    best = min(cost.wall for cost in ours.values())
    eight = best / ours[8].wall
    costs = {f"{count} processes": cost for count, cost in ours.items()}
    return Row(
        number=NUMBER,
        measure="deliveries/s of 4 processes to 3 destinations; CPU of the server; of 8 processes",
        against="SKIP LOCKED with a row per destination; the best number of processes",
        target="≥ 3 ×; ≤ 0.4 ×; ≥ 0.6 ×",
        result=f"{faster:.1f} ×; {cpu:.2f} ×; {eight:.2f} ×",
        reached=faster >= 3 and cpu <= 0.4 and eight >= 0.6,
        details=lines(costs | {"SKIP LOCKED, 4 processes": theirs}),
    )


def _deliver(started: PostgresServer, work: Callable[..., Any], workers: int, rows: int):
    """Return the cost of a delivery in a new log of *rows* conversions."""
    asyncio.run(_prepare(started, rows, jobs=work is lease_until_empty))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers + 1)
    delivered = context.Queue()
    processes = [
        context.Process(target=_work, args=(started.dsn, work, index, barrier, delivered))
        for index in range(workers)
    ]
    for process in processes:
        process.start()
    early = sum(delivered.get(timeout=60) for _ in processes)
    barrier.wait(30)
    cpu, began = server_cpu(started.pid), time.perf_counter()
    count = sum(delivered.get(timeout=60) for _ in processes)
    cost = ServerCost(
        (time.perf_counter() - began) / count, (server_cpu(started.pid) - cpu) / count
    )
    for process in processes:
        process.join(10)
    assert early + count == rows * len(NAMES), f"{early} + {count} deliveries"
    return cost


async def _prepare(started: PostgresServer, rows: int, *, jobs: bool) -> None:
    connection = await connect(started.dsn)
    await connection.execute("DROP SCHEMA IF EXISTS anytrack CASCADE; DROP TABLE IF EXISTS job")
    outbox = await fill(started.dsn, "anytrack", NAMES, rows)
    await outbox.aclose()
    if jobs:
        await connection.execute(_JOBS)
        for name in NAMES:
            await connection.execute(_FILL_JOBS, name)
        await connection.execute(_JOBS_DUE)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()


def _work(dsn: str, work: Callable[..., Any], index: int, barrier: Any, delivered: Any) -> None:
    async def connected() -> int:
        connection = await connect(dsn)
        names = [*NAMES[index % 3 :], *NAMES[: index % 3]]
        delivered.put(await work(connection, [*names], batch=1, claims=_WARM_UP))
        await asyncio.to_thread(barrier.wait, 60)
        count = await work(connection, names)
        await connection.close()
        return count

    delivered.put(asyncio.run(connected()))


async def claim_until_empty(
    connection, names: list[str], *, batch: int = BATCH, claims: int = sys.maxsize
) -> int:
    """Claim, read and settle the outbox's way; return how many conversions it were.

    *claims* is how many there are for each of *names* at most.
    """
    count, owner = 0, new_lease_id()
    while names and (claims := claims - 1) >= 0:
        for name in [*names]:
            lease = new_lease_id()
            parameters = (name, lease, batch, 60.0, MAX_CLAIM_BYTES, owner, 8, None)
            (row,) = await connection.fetch(queries.CLAIM, *parameters)
            if not row["firsts"]:
                names.remove(name)
                continue
            (first,), (last,) = row["firsts"], row["lasts"]
            count += len(await connection.fetch(queries.RECORDS.one, first, last, name))
            await connection.fetch(queries.SETTLE, name, lease, None)
    return count


async def lease_until_empty(
    connection, names: list[str], *, batch: int = BATCH, claims: int = sys.maxsize
) -> int:
    """Lease and delete rows, as job queues do; return how many it were."""
    count = 0
    while names and (claims := claims - 1) >= 0:
        for name in [*names]:
            lease = new_lease_id()
            rows = await connection.fetch(_LEASE, name, batch, lease)
            if not rows:
                names.remove(name)
                continue
            await connection.fetch(_DELETE, name, [row[0] for row in rows], lease)
            count += len(rows)
    return count
