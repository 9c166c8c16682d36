"""Row 32: deliveries/s of one process from PostgreSQL, against procrastinate and pgqueuer."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import asyncpg

from anytrack_async import AnyTrackClient, Conversion, Outcome, PostgresOutbox, SinkLimits
from anytrack_async.codec.storage import decode, encode
from benchmarks import postgres
from benchmarks.measure import Row
from benchmarks.postgres import NAMES, connect, fill, sales, server, server_cpu
from benchmarks.postgres_workers import BATCH, claim_until_empty
from tests.servers.postgres import PostgresServer

NUMBER = 32
NEEDS = (*postgres.NEEDS, "procrastinate", "pgqueuer")

CONCURRENCIES = (1, 10, 30)
"""Jobs at once of procrastinate's worker; it fetches one at a time."""
BATCHES = (1_000, 5_000)
"""Jobs that pgqueuer fetches at once."""
OUR_BATCHES = (BATCH, *BATCHES)
"""Conversions that a destination takes at once: as HubSpot's and Meta's do, or as pgqueuer does."""
_OURS, _STATEMENTS = "lanes of a client", "claim, read and settle, without decoding"
_PROCRASTINATE, _PGQUEUER = "procrastinate", "pgqueuer"


class Cost(NamedTuple):
    """Seconds of a delivery: by the clock, of this process's core, and of the server's."""

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        """Seconds of both, which other programs on the machine hardly change."""
        return self.client + self.server

    def __str__(self) -> str:
        return (
            f"{1 / self.wall:,.0f}/s, {self.wall * 1e6:,.1f} µs "
            f"({self.client * 1e6:,.1f} of the core, {self.server * 1e6:,.1f} of the server) each"
        )


def run(quick: bool) -> Row:
    """Let each work off a backlog of jobs that do nothing; a job is a delivery.

    A job of the peers has the record of a conversion, and decodes it as our lanes do: they once
    for each delivery, ours once for the three deliveries of a conversion. Ours is longer and
    procrastinate's shorter than pgqueuer's: each takes a second or more. Opening our client is
    part of its time, since its lanes begin at once.
    """
    size, rounds = (500, 1) if quick else (10_000, 3)
    with server() as started:
        costs = asyncio.run(_measure(started, size, rounds))
    best = sorted(costs.items(), key=lambda item: item[1].wall)
    lanes, procrastinate, pgqueuer = (
        next(cost for name, cost in best if name.startswith(contender))
        for contender in (_OURS, _PROCRASTINATE, _PGQUEUER)
    )
    ours, statements = lanes.wall, costs[_STATEMENTS].wall
    slower, cpu = (procrastinate.wall / ours, pgqueuer.wall / ours), lanes.cpu
    return Row(
        number=NUMBER,
        measure="deliveries/s of one process from PostgreSQL to 3 destinations that do nothing, "
        "through a client's lanes",
        against="procrastinate; pgqueuer, each at its best setting, a job a delivery",
        target="≥ 300 ×; ≥ 10 ×",
        result=f"{slower[0]:.0f} ×; {slower[1]:.1f} × (processor time: "
        f"{procrastinate.cpu / cpu:.0f} ×; {pgqueuer.cpu / cpu:.1f} ×; claim, read and settle "
        f"alone: {procrastinate.wall / statements:.0f} ×; {pgqueuer.wall / statements:.1f} ×)",
        reached=slower[0] >= 300 and slower[1] >= 10,
        details=tuple(f"{name}: {cost}" for name, cost in best),
    )


async def _measure(started: PostgresServer, size: int, rounds: int) -> Mapping[str, Cost]:
    """Return contender → the cost of a delivery, the medians of interleaved rounds."""
    await _install(started.dsn)
    runs: dict[str, Callable[[], Awaitable[Cost]]] = {
        f"{_OURS}, batches of {batch:,}": partial(_lanes, started, 8 * size, batch)
        for batch in OUR_BATCHES
    }
    runs[_STATEMENTS] = partial(_statements, started, 4 * size)
    for concurrency in CONCURRENCIES:
        name = f"{_PROCRASTINATE}, {concurrency} at once"
        runs[name] = partial(_procrastinate, started, max(50, size // 40), concurrency)
    for batch in BATCHES:
        runs[f"{_PGQUEUER}, batches of {batch:,}"] = partial(_pgqueuer, started, size, batch)
    samples: dict[str, list[Cost]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, work in runs.items():
            gc.collect()
            gc.freeze()  # none pays for objects that the imports of all, or the one before, left
            samples[name].append(await work())
    return {name: Cost(*map(median, zip(*costs, strict=True))) for name, costs in samples.items()}


async def _install(dsn: str) -> None:
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries
    from procrastinate import App, PsycopgConnector

    connection = await asyncpg.connect(dsn)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()
    async with App(connector=PsycopgConnector(conninfo=dsn)).open_async() as app:
        await app.schema_manager.apply_schema_async()


class _Countdown:
    """Measures from its making to the last of so many deliveries.

    What a contender does after its last delivery, such as recording it, does not count.
    """

    def __init__(self, started: PostgresServer, count: int) -> None:
        self._pid = started.pid
        self._count = self._missing = count
        self.over = asyncio.Event()
        self._began = self._ended = self._now()

    def note(self, delivered: int = 1) -> None:
        """Record that *delivered* more are delivered."""
        self._missing -= delivered
        if self._missing <= 0:
            self._ended = self._now()
            self.over.set()

    def _now(self) -> Cost:
        return Cost(time.perf_counter(), time.process_time(), server_cpu(self._pid))

    @property
    def cost(self) -> Cost:
        """The cost of a delivery."""
        if self._missing:
            raise RuntimeError(f"{self._missing} of {self._count} deliveries are missing")
        spent = zip(self._began, self._ended, strict=True)
        return Cost(*((end - begin) / self._count for begin, end in spent))


# Ours


class _NoSink:
    """A destination that does nothing."""

    def __init__(self, name: str, batch: int, countdown: _Countdown) -> None:
        self.name, self.limits = name, SinkLimits(batch=batch)
        self._countdown = countdown

    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        self._countdown.note(len(batch))
        return [Outcome.delivered()] * len(batch)


async def _lanes(started: PostgresServer, size: int, batch: int = BATCH) -> Cost:
    await _fill(started.dsn, size)
    countdown = _Countdown(started, size * len(NAMES))
    sinks = [_NoSink(name, batch, countdown) for name in NAMES]
    outbox = PostgresOutbox(started.dsn)  # has none of the conversions in its cache
    async with (
        AnyTrackClient(anytrack=False, sinks=sinks, outbox=outbox, log=False),
        asyncio.timeout(60),
    ):
        await countdown.over.wait()
    return countdown.cost


async def _statements(started: PostgresServer, size: int) -> Cost:
    await _fill(started.dsn, size)
    connection = await connect(started.dsn)
    countdown = _Countdown(started, size * len(NAMES))
    countdown.note(await claim_until_empty(connection, [*NAMES]))
    await connection.close()
    return countdown.cost


async def _fill(dsn: str, size: int) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("DROP SCHEMA IF EXISTS anytrack CASCADE")
    outbox = await fill(dsn, "anytrack", NAMES, size)
    await outbox.aclose()
    await connection.execute("ANALYZE")
    await connection.close()


# The peers


async def _procrastinate(started: PostgresServer, size: int, concurrency: int) -> Cost:
    from procrastinate import App, PsycopgConnector

    connector = PsycopgConnector(
        conninfo=started.dsn, min_size=concurrency + 2, max_size=concurrency + 2
    )
    app = App(connector=connector)

    @app.task(name="job")
    async def job(record: str, digest: str) -> None:
        decode(record.encode(), bytes.fromhex(digest))
        countdown.note()

    async with app.open_async():
        await job.batch_defer_async(
            *(
                {"record": record.decode(), "digest": digest.hex()}
                for record, digest in map(encode, sales(size))
            )
        )
        await connector.execute_query_async("ANALYZE")
        countdown = _Countdown(started, size)
        await app.run_worker_async(
            wait=False, concurrency=concurrency, install_signal_handlers=False
        )
    return countdown.cost


async def _pgqueuer(started: PostgresServer, size: int, batch: int) -> Cost:
    from pgqueuer import PgQueuer
    from pgqueuer.types import QueueExecutionMode

    connection = await asyncpg.connect(started.dsn)
    queuer = PgQueuer.from_asyncpg_connection(connection)

    @queuer.entrypoint("job")
    async def job(job: Any) -> None:
        decode(job.payload[16:], job.payload[:16])
        countdown.note()

    payloads = [digest + record for record, digest in map(encode, sales(size))]
    await queuer.qm.queries.enqueue(["job"] * size, payloads, [0] * size)
    await connection.execute("ANALYZE")
    countdown = _Countdown(started, size)
    await queuer.qm.run(
        dequeue_timeout=timedelta(seconds=1), batch_size=batch, mode=QueueExecutionMode.drain
    )
    await connection.close()
    return countdown.cost
