from __future__ import annotations

from contextlib import aclosing

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.api.rounds import in_order

pytestmark = pytest.mark.asyncio


class Work:
    """Counts what runs; earlier keys take longer."""

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken
        self.running = self.peak = 0
        self.started: list[int] = []

    async def __call__(self, key: int) -> int:
        self.started.append(key)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            for _ in range(10 - key % 10):
                await anyio.lowlevel.checkpoint()
            if key == self.broken:
                raise LookupError(key)
        finally:
            self.running -= 1
        return key * key


@given(st.integers(0, 30), st.integers(1, 8))
async def test_results_come_in_order_and_never_more_than_width_at_once(count: int, width: int):
    work = Work()
    found = [result async for result in in_order(work, range(count), width)]

    assert found == [key * key for key in range(count)]
    assert work.peak == min(count, width)


async def test_keys_are_taken_as_they_are_needed():
    work = Work()
    async with aclosing(in_order(work, iter(range(10**12)), 3)) as results:
        async for _ in results:
            break

    assert work.started == [0, 1, 2]


async def test_nothing_runs_while_the_consumer_has_the_turn():
    work = Work()
    async for _ in in_order(work, range(10), 4):
        assert work.running == 0


async def test_a_failure_comes_out_as_itself_and_stops_the_others():
    async def fail_one(key: int) -> int:
        if key == 3:
            raise LookupError(key)
        await anyio.sleep_forever()
        return key

    with anyio.fail_after(5), pytest.raises(LookupError, match="3"):
        await anext(in_order(fail_one, range(20), 20))


async def test_what_came_before_a_failing_round_was_handed_out():
    found: list[int] = []

    async def collect() -> None:
        async for result in in_order(Work(broken=5), range(20), 2):
            found.append(result)

    with pytest.raises(LookupError):
        await collect()

    assert found == [0, 1, 4, 9]


async def test_cancelling_the_consumer_stops_the_work():
    started = anyio.Event()
    stopped = []

    async def forever(key: int) -> int:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(key)
        return key

    async def consume() -> None:
        async for _ in in_order(forever, range(5), 3):
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await started.wait()
        tasks.cancel_scope.cancel()

    assert sorted(stopped) == [0, 1, 2]
