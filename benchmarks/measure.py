"""Measuring: interleaved runs, medians, and the row of results."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

Run = Callable[[], "int | Awaitable[int]"]
"""Does the work once and returns how many units that was; may be a coroutine function."""


class Cost(NamedTuple):
    """The cost of one unit of work in seconds: by the clock, and of processor time."""

    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        return 1 / self.wall

    @property
    def micros(self) -> str:
        return f"{self.wall * 1e6:,.1f} µs ({self.cpu * 1e6:,.1f} of the core)"


class Row(NamedTuple):
    """One line of the table of results.

    Attributes:
        number: of the row in the table.
        measure: the measured quantity.
        against: the peer or baseline of the comparison.
        target: the result to reach.
        result: the ratio first, then further figures.
        reached: whether the result reaches the target; None if it could not be measured.
        details: absolute numbers, best first.
        day: when it was measured, ``2026-11-27``; empty if that is not known.
    """

    number: int
    measure: str
    against: str
    target: str
    result: str
    reached: bool | None
    details: tuple[str, ...] = ()
    day: str = ""

    def to_json(self) -> str:
        return json.dumps(self._asdict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Row:
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "details": tuple(fields["details"])})


def interleaved(
    runs: Mapping[str, Run], rounds: int, loop: Callable[..., Any] | None = None
) -> dict[str, Cost]:
    """Run each of *runs* once per round, one after the other; return the median cost of a unit.

    Args:
        runs: name → the work.
        rounds: how often each runs.
        loop: makes the event loop of coroutine functions; default: asyncio's own.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            costs[name].append(cost_of(run, loop))
    return {name: _median(samples) for name, samples in costs.items()}


def cost_of(run: Run, loop: Callable[..., Any] | None = None) -> Cost:
    """Return the cost of a unit of *run*."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    count = run()
    if not isinstance(count, int):
        with asyncio.Runner(loop_factory=loop) as runner:
            count = runner.run(_wait_for(count))
    return Cost((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)


async def _wait_for(count: Awaitable[int]) -> int:
    return await count


def _median(costs: list[Cost]) -> Cost:
    return Cost(median(cost.wall for cost in costs), median(cost.cpu for cost in costs))


def rates(costs: Mapping[str, Cost], unit: str) -> tuple[str, ...]:
    """Return a line per contender, fastest first."""
    best = sorted(costs.items(), key=lambda item: item[1].wall)
    return tuple(f"{name}: {cost.rate:,.0f} {unit}/s, {cost.micros} each" for name, cost in best)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which *share* (0 to 1) of *values* lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
