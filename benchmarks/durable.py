"""Row 8: durable `submit` from 100 tasks at once, against the same work without a client."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import anyio

from anytrack_async import AnyTrackClient, Conversion, Outcome, SinkLimits, SQLiteOutbox
from anytrack_async.codec.storage import encode
from anytrack_async.outbox.sqlite import append as appending
from anytrack_async.outbox.sqlite.database import Database
from benchmarks.durable_bound import INSERT, bound, open_database
from benchmarks.measure import Cost, Row, percentile, rates
from benchmarks.shop import client, conversions

NUMBER = 8
NEEDS = ("uvloop",)
TASKS = 100
ROUNDS = 5

_OURS, _FAST = "anytrack_async", "anytrack_async on uvloop"
_CONCURRENT = "anytrack_async, delivered meanwhile"
_BARE, _COMMITTED = "executemany", "executemany, a commit per 100"
_BOUND = "100 tasks and a thread that commits, no client"
_ENCODED = f"{_BOUND}, conversions encoded"
TARGET = 0.55

Rows = Sequence[tuple[object, ...]]


class GatedSink:
    """Delivers nothing until it is opened, so that only writing to the outbox is measured."""

    name = "gated"
    limits = SinkLimits(batch=1000, concurrency=1)

    def __init__(self, expected: int) -> None:
        self.open = anyio.Event()
        self.complete = anyio.Event()
        self._expected = expected

    async def deliver(self, sales: Sequence[Conversion], /) -> Sequence[Outcome]:
        await self.open.wait()
        self._expected -= len(sales)
        if self._expected <= 0:
            self.complete.set()
        return [Outcome.delivered()] * len(sales)


def run(quick: bool) -> Row:
    """Compare rates on the disk with the temporary files."""
    sales = list(conversions(2_000 if quick else 20_000))
    costs, waits, commits = _compare(sales, rounds=1 if quick else ROUNDS)
    share = costs[_ENCODED].wall / costs[_OURS].wall
    p99, often = percentile(waits, 0.99) * 1e3, median(commits)
    return Row(
        number=NUMBER,
        measure="durable `submit`: 100 tasks each awaiting, SQLite outbox, `synchronous=FULL`",
        against="100 tasks that encode and a thread that commits, without a client",
        target=f"≥ {TARGET} × the rows/s; p99 under 25 ms",
        result=f"{share:.2f} × ({_of_bare(costs, _OURS):.2f} × a bare `executemany` with the same "
        f"commits; the peer {_of_bare(costs, _ENCODED):.2f} ×, without encoding "
        f"{_of_bare(costs, _BOUND):.2f} ×); p99 {p99:.1f} ms",
        reached=share >= TARGET and p99 < 25,
        details=(
            *rates(costs, "conversions"),
            f"a commit of ours: {min(commits)} to {max(commits)} conversions, mostly {often:.0f}",
        ),
    )


def _of_bare(costs: Mapping[str, Cost], name: str) -> float:
    return costs[_BARE].wall / costs[name].wall


def _compare(
    sales: Sequence[Conversion], rounds: int
) -> tuple[Mapping[str, Cost], list[float], list[int]]:
    """Return each contender's cost, all waits for a `submit`, and the sizes of our commits."""
    rows = [row(sale) for sale in sales]
    by_id = {str(columns[0]): columns for columns in rows}
    contenders = (_OURS, _BARE, _FAST, _CONCURRENT, _COMMITTED, _BOUND, _ENCODED)
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    waits: list[float] = []
    sizes: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        files = (Path(folder) / f"{number}.db" for number in range(7 * rounds))
        for _ in range(rounds):
            with record_commits() as commits:
                costs[_OURS].append(asyncio.run(ours(next(files), sales, waits)))
            costs[_BARE].append(bare(next(files), rows, commits))
            costs[_FAST].append(_on_uvloop(ours(next(files), sales, [])))
            costs[_CONCURRENT].append(asyncio.run(ours(next(files), sales, [], concurrent=True)))
            costs[_COMMITTED].append(bare(next(files), rows, [TASKS] * (len(rows) // TASKS)))
            costs[_BOUND].append(
                asyncio.run(bound(next(files), sales, TASKS, lambda sale: by_id[sale.event_id]))
            )
            costs[_ENCODED].append(asyncio.run(bound(next(files), sales, TASKS, row)))
            sizes += commits
    return {name: _median(samples) for name, samples in costs.items()}, waits, sizes


def row(sale: Conversion) -> tuple[object, ...]:
    """Return *sale* as a row of the log."""
    return (sale.event_id, *encode(sale), time.time())


def _on_uvloop(run: Coroutine[Any, Any, Cost]) -> Cost:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(median(cost.wall for cost in costs), median(cost.cpu for cost in costs))


@contextmanager
def record_commits() -> Iterator[list[int]]:
    """Record the number of conversions in each of our commits."""
    sizes: list[int] = []
    append = appending.append

    def recording(db: Database, group: appending.Group, *options: Any) -> int:
        sizes.append(sum(group.sizes))
        return append(db, group, *options)

    with patch("anytrack_async.outbox.sqlite.group_commit.append", recording):
        yield sizes


async def ours(
    file: Path, sales: Sequence[Conversion], waits: list[float], *, concurrent: bool = False
) -> Cost:
    """Submit *sales* and return the cost of one.

    With *concurrent* they are delivered meanwhile, and the cost includes all deliveries; else they
    are delivered afterwards, outside the measurement.
    """
    sink = GatedSink(len(sales))
    async with client("http://127.0.0.1:9", sinks=[sink], outbox=SQLiteOutbox(file)) as tracker:
        if concurrent:
            sink.open.set()
        wall, cpu = time.perf_counter(), time.process_time()
        await _submitted(tracker, sales, waits)
        if concurrent:
            await sink.complete.wait()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        sink.open.set()
    return Cost(wall / len(sales), cpu / len(sales))


async def _submitted(
    tracker: AnyTrackClient, sales: Sequence[Conversion], waits: list[float]
) -> None:
    queue = iter(sales)

    async def work() -> None:
        for sale in queue:
            began = time.perf_counter()
            await tracker.submit(sale, to=["gated"])
            waits.append(time.perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(TASKS)))


def bare(file: Path, rows: Rows, commits: Sequence[int]) -> Cost:
    """Insert *rows* with commits of these sizes; return the cost of one."""
    sql = open_database(file)
    wall, cpu = time.perf_counter(), time.process_time()
    start = 0
    for size in commits:
        sql.execute("BEGIN")
        sql.executemany(INSERT, rows[start : start + size])
        sql.execute("COMMIT")
        start += size
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    sql.close()
    return Cost(wall / start, cpu / start)
