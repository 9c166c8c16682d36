"""Row 8: durable `submit` from 100 tasks at once, against a bare `executemany`."""

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
from anytrack_async.outbox.sqlite import append as log
from anytrack_async.outbox.sqlite.database import Database
from benchmarks.durable_bound import INSERT, bound, opened
from benchmarks.measure import Cost, Row, percentile, rates
from benchmarks.shop import client, conversions

NUMBER = 8
NEEDS = ("uvloop",)
TASKS = 100
ROUNDS = 5

_OURS, _FAST = "anytrack_async", "anytrack_async on uvloop"
_BESIDES = "anytrack_async, delivered besides"
_BARE, _COMMITTED = "executemany", "executemany, a commit per 100"
_BOUND = "100 tasks and a thread that commits, no client"
_ENCODED = f"{_BOUND}, conversions encoded"

Rows = Sequence[tuple[object, ...]]


class Anywhere:
    """A destination that takes everything once it is open: what is measured is the writing down."""

    name = "anywhere"
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
    """Compare, on the disk that temporary files are on."""
    sales = list(conversions(2_000 if quick else 20_000))
    costs, waits, commits = _compared(sales, rounds=1 if quick else ROUNDS)
    share = _share(costs, _OURS)
    p99, often = percentile(waits, 0.99) * 1e3, median(commits)
    return Row(
        number=NUMBER,
        measure="durable `submit`: 100 tasks each awaiting, SQLite outbox, `synchronous=FULL`",
        against="a bare `executemany` with the same commits",
        reach="≥ 0.5 × the rows/s; p99 under 25 ms",
        got=f"{share:.2f} × (without any client {_share(costs, _BOUND):.2f} ×, with conversions "
        f"encoded {_share(costs, _ENCODED):.2f} ×); p99 {p99:.1f} ms",
        reached=share >= 0.5 and p99 < 25,
        details=(
            *rates(costs, "conversions"),
            f"a commit of ours: {min(commits)} to {max(commits)} conversions, mostly {often:.0f}",
        ),
    )


def _share(costs: Mapping[str, Cost], name: str) -> float:
    return costs[_BARE].wall / costs[name].wall


def _compared(
    sales: Sequence[Conversion], rounds: int
) -> tuple[Mapping[str, Cost], list[float], list[int]]:
    """Return what each contender cost, all waits for a `submit`, and the sizes of our commits."""
    rows = [row(sale) for sale in sales]
    made = {str(one[0]): one for one in rows}
    contenders = (_OURS, _BARE, _FAST, _BESIDES, _COMMITTED, _BOUND, _ENCODED)
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    waits: list[float] = []
    sizes: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        files = (Path(folder) / f"{number}.db" for number in range(7 * rounds))
        for _ in range(rounds):
            with noted() as commits:
                costs[_OURS].append(asyncio.run(ours(next(files), sales, waits)))
            costs[_BARE].append(bare(next(files), rows, commits))
            costs[_FAST].append(_on_uvloop(ours(next(files), sales, [])))
            costs[_BESIDES].append(asyncio.run(ours(next(files), sales, [], besides=True)))
            costs[_COMMITTED].append(bare(next(files), rows, [TASKS] * (len(rows) // TASKS)))
            costs[_BOUND].append(
                asyncio.run(bound(next(files), sales, TASKS, lambda sale: made[sale.event_id]))
            )
            costs[_ENCODED].append(asyncio.run(bound(next(files), sales, TASKS, row)))
            sizes += commits
    return {name: _median(each) for name, each in costs.items()}, waits, sizes


def row(sale: Conversion) -> tuple[object, ...]:
    """*sale* as the log has it."""
    return (sale.event_id, *encode(sale), time.time())


def _on_uvloop(run: Coroutine[Any, Any, Cost]) -> Cost:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(median(one.wall for one in costs), median(one.cpu for one in costs))


@contextmanager
def noted() -> Iterator[list[int]]:
    """Note how many conversions each commit of ours accepts."""
    sizes: list[int] = []
    append = log.append

    def noting(db: Database, group: log.Group, capacity: int) -> int:
        sizes.append(sum(group.sizes))
        return append(db, group, capacity)

    with patch("anytrack_async.outbox.sqlite.append.append", noting):
        yield sizes


async def ours(
    file: Path, sales: Sequence[Conversion], waits: list[float], *, besides: bool = False
) -> Cost:
    """Submit *sales* and deliver them afterwards, or *besides*; return what one costs.

    What is delivered besides counts until the last one is; what is delivered afterwards does not.
    """
    sink = Anywhere(len(sales))
    async with client("http://127.0.0.1:9", sinks=[sink], outbox=SQLiteOutbox(file)) as tracker:
        if besides:
            sink.open.set()
        wall, cpu = time.perf_counter(), time.process_time()
        await _submitted(tracker, sales, waits)
        if besides:
            await sink.complete.wait()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        sink.open.set()
    return Cost(wall / len(sales), cpu / len(sales))


async def _submitted(
    tracker: AnyTrackClient, sales: Sequence[Conversion], waits: list[float]
) -> None:
    rest = iter(sales)

    async def work() -> None:
        for sale in rest:
            began = time.perf_counter()
            await tracker.submit(sale, to=["anywhere"])
            waits.append(time.perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(TASKS)))


def bare(file: Path, rows: Rows, commits: Sequence[int]) -> Cost:
    """Insert *rows* with commits of these sizes; return what one costs."""
    sql = opened(file)
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
