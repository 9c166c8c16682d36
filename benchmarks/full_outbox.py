"""Row 16: tasks that each submit one conversion at a time into a full outbox, or a roomy one."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from anytrack_async import Conversion, MemoryOutbox, QueueFullError, SQLiteOutbox
from benchmarks.measure import Row
from benchmarks.server import Server, running
from benchmarks.shop import client, conversions, meta_sink

NUMBER = 16
NEEDS = ()
FULL, ROOMY = 10_000, 10_000_000
CASES = {
    "memory": {1: 0.2, 100: 0.02, 1_000: 0.02},
    "SQLite": {1: 0.3, 100: 0.3, 1_000: 0.3},
}
"""Engine → number of tasks → seconds in which the server answers: so slow that the outbox is full.

One task never fills a file, since each of its conversions is a commit: it finds the file full, and
submits a fifth more than fits.
"""


class _Watched:
    """Counts how often an outbox was too full for a conversion; the same work with either."""

    refusals = 0

    async def append(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().append(*arguments, **options)  # type: ignore[misc]
        except QueueFullError:
            self.refusals += 1
            raise


class _Memory(_Watched, MemoryOutbox):
    pass


class _File(_Watched, SQLiteOutbox):
    pass


class Cost(NamedTuple):
    """What it took to deliver a number of conversions.

    Attributes:
        wall: seconds a conversion.
        cpu: seconds of the processor a conversion.
        requests: how many were sent.
        refusals: how often the outbox was full for a conversion.
    """

    wall: float
    cpu: float
    requests: int
    refusals: int


def run(quick: bool) -> Row:
    """Compare both engines and three numbers of tasks; then compare few and many conversions."""
    sales = list(conversions(15_000 if quick else 60_000))
    rounds = 1 if quick else 5
    details = []
    speeds, requests, were_full = [], [], []
    for engine, delays in CASES.items():
        for tasks, delay in delays.items():
            with running(delay) as server:
                full, roomy = _compare(server, engine, sales, tasks, rounds)
            speeds.append(roomy.wall / full.wall)
            requests.append(full.requests / roomy.requests)
            were_full.append(full.refusals > 0 and not roomy.refusals)
            details.append(_line(engine, tasks, full, roomy))
    growth = _growth(20_000, 60_000 if quick else 500_000)
    return Row(
        number=NUMBER,
        measure="`submit` one by one from 1, 100 and 1,000 tasks into a full outbox of 10,000, in "
        "memory and SQLite",
        against="a roomy outbox",
        target="≥ 0.8 × the conversions/s, ≤ 1.3 × the requests; cost flat up to 500,000",
        result=f"{min(speeds):.2f} × at least, {max(requests):.2f} × the requests at most; "
        f"{growth:.2f} × the cost",
        reached=all(were_full) and min(speeds) >= 0.8 and max(requests) <= 1.3 and growth <= 1.2,
        details=tuple(details),
    )


def _line(engine: str, tasks: int, full: Cost, roomy: Cost) -> str:
    rates = " against ".join(
        f"{1 / cost.wall:,.0f}/s, {cost.cpu * 1e6:.1f} µs of the core and {cost.requests} requests"
        for cost in (full, roomy)
    )
    return f"{engine}, {tasks:,} tasks: {rates}"


def _compare(
    server: Server, engine: str, sales: Sequence[Conversion], tasks: int, rounds: int
) -> tuple[Cost, Cost]:
    """Return the median costs with a full and with a roomy outbox, measured in turn."""
    costs: Mapping[int, list[Cost]] = {FULL: [], ROOMY: []}
    for _ in range(rounds):
        for capacity, samples in costs.items():
            samples.append(cost_of(server, engine, capacity, sales, tasks))
    return _median(costs[FULL]), _median(costs[ROOMY])


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        round(median(cost.requests for cost in costs)),
        round(median(cost.refusals for cost in costs)),
    )


def cost_of(
    server: Server, engine: str, capacity: int, sales: Sequence[Conversion], tasks: int
) -> Cost:
    """Submit *sales* from *tasks* tasks to Meta, and return the cost until all are delivered."""
    prefilled = FULL if engine == "SQLite" and tasks == 1 else 0
    if prefilled:
        sales = sales[: prefilled + prefilled // 5]
    before = server.received().get("meta requests", 0)
    with tempfile.TemporaryDirectory() as folder:
        outbox: _Memory | _File = _Memory(capacity=capacity)
        if engine == "SQLite":
            outbox = _File(Path(folder) / "outbox.db", capacity=capacity)
        wall, cpu = time.perf_counter(), time.process_time()
        asyncio.run(_submit(server.url, outbox, sales, tasks, prefilled))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    requests = server.received()["meta requests"] - before
    return Cost(wall / len(sales), cpu / len(sales), requests, outbox.refusals)


async def _submit(
    url: str, outbox: _Memory | _File, sales: Sequence[Conversion], tasks: int, prefilled: int
) -> None:
    async with client(url, sinks=[meta_sink(url)], outbox=outbox) as tracker:
        queue = iter(sales)
        await tracker.submit_many(islice(queue, prefilled), to=["meta"])

        async def work() -> None:
            for sale in queue:
                await tracker.submit(sale, to=["meta"])

        await asyncio.gather(*(work() for _ in range(tasks)))


def _growth(few: int, many: int) -> float:
    """Return the processor time of a conversion among *many*, in that of one among *few*."""
    with running(CASES["memory"][100]) as server:
        sales = list(conversions(many))
        costs = {
            number: median(
                cost_of(server, "memory", FULL, sales[:number], 100).cpu for _ in range(3)
            )
            for number in (few, many)
        }
    return costs[many] / costs[few]
