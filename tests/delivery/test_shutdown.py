"""Leaving a dispatcher drains it: at the end of its block, by an exception, or cancelled."""

import time

import anyio
import pytest

from anytrack_async.destinations.sink import NeedsOperator, Throttled, Unavailable
from anytrack_async.errors import OutboxError
from anytrack_async.events import LaneThrottled
from anytrack_async.models.outcome import DELIVERED, Outcome
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from tests.delivery.doubles import (
    BlockingAnswer,
    FakeSink,
    World,
    run_ready_tasks,
    sale,
    sales,
)

pytestmark = pytest.mark.asyncio


async def hang(_):
    await anyio.sleep_forever()


def stuck(name="anytrack", **options):
    return FakeSink(name, hang, **options)


async def test_leaving_drains_and_closes_everything():
    sinks = FakeSink("anytrack", batch=3), FakeSink("meta", batch=7)
    world = World(*sinks)
    async with world.open():
        await world.submit(*sales(50))

    for sink in sinks:
        assert sorted(sink.delivered) == sorted(f"e{index}" for index in range(50))
        assert sink.closed
    with pytest.raises(OutboxError):
        await world.outbox.depths()


async def test_an_exception_still_drains_and_is_raised_unchanged():
    mine = LookupError("mine")
    world = World()
    async with world.raises(mine):
        await world.submit(*sales(5))

    assert len(world.sinks[0].delivered) == 5


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ExceptionGroup])
async def test_the_callers_exception_is_not_wrapped_in_a_group(kind):
    mine = kind("mine", [ValueError()]) if kind is ExceptionGroup else kind("mine")
    world = World()
    async with world.raises(mine):
        await world.submit(sale("a"))

    assert world.sinks[0].delivered == ["a"]


async def test_cancel_still_drains():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper))
    with anyio.CancelScope() as scope:
        async with world.dispatcher:
            await world.submit(*sales(5))
            await world.until(lambda: world.sinks[0].busy)
            scope.cancel()
            keeper.open()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert len(world.sinks[0].delivered) == 5
    assert world.sinks[0].closed


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "file"])
async def test_closing_waits_for_a_retry_due_within_the_drain(durable, tmp_path):
    answers = [[Outcome.retry("locked", after=0.05)], None]
    sink = FakeSink(answer=lambda _: answers.pop(0), concurrency=2)
    outbox = SQLiteOutbox(tmp_path / "outbox.db") if durable else MemoryOutbox()
    world = World(sink, outbox=outbox)
    async with world.open():
        await world.submit(sale("a"))

    assert sink.delivered == ["a"]


async def test_closing_does_not_wait_for_other_processes(tmp_path):
    path = tmp_path / "outbox.db"
    busy = stuck()
    there = World(busy, outbox=SQLiteOutbox(path), drain=0.0, lease=3.0)
    here = World(outbox=SQLiteOutbox(path))
    async with there.open():
        await there.submit(sale("a"))
        await there.until(lambda: busy.busy)
        started = time.monotonic()
        async with here.open():
            pass
        assert time.monotonic() - started < 1


async def test_closing_waits_for_a_pause_if_the_outbox_cannot_count():
    class Shy(MemoryOutbox):
        refusals = 1

        async def depths(self):
            if Shy.refusals:
                Shy.refusals -= 1
                raise OutboxError("database is locked")
            return await super().depths()

    troubles = [Throttled("slow down", after=0.03)]

    def answer(_):
        if troubles:
            raise troubles.pop()

    world = World(FakeSink(answer=answer), outbox=Shy())
    async with world.open():
        await world.submit(sale("a"))

    assert world.sinks[0].delivered == ["a"]
    assert not Shy.refusals


@pytest.mark.parametrize(
    "trouble", [Throttled("slow down", after=0.03), Unavailable("503")], ids=["throttled", "down"]
)
async def test_closing_waits_for_a_pause_within_the_drain(trouble):
    troubles = [trouble] * 6

    def answer(_):
        if troubles:
            raise troubles.pop()

    world = World(FakeSink(answer=answer, batch=2, concurrency=2))
    async with world.open():
        await world.submit(*sales(20))

    assert len(world.sinks[0].delivered) == 20


@pytest.mark.parametrize("after", [2.0, 3600.0])
async def test_a_paused_lane_without_backlog_closes_at_once(after):
    def answer(_):
        raise Throttled("slow down", after=after, outcomes=[DELIVERED])

    world = World(FakeSink(answer=answer))
    started = time.monotonic()
    async with world.open():
        await world.submit(sale("a"))
        await world.until(lambda: world.events_of(LaneThrottled))

    assert time.monotonic() - started < 1


@pytest.mark.parametrize("after", [3600.0, 0.001])
async def test_closing_does_not_wait_for_a_later_retry(after):
    def answer(_):
        if after > 1:
            return [Outcome.retry("locked", after=after)]
        raise NeedsOperator("401")

    world = World(FakeSink(answer=answer))
    started = time.monotonic()
    async with world.open(leaves_undelivered=True):
        await world.submit(sale("a"))
        await world.until(lambda: world.sinks[0].calls)

    assert time.monotonic() - started < 1


async def test_a_drain_that_is_limited_before_closing_ends_sooner():
    world = World(stuck(), drain=600.0)
    async with world.open(leaves_undelivered=True):
        await world.submit(sale("a"))
        await world.until(lambda: world.sinks[0].calls)
        world.dispatcher.limit_drain(0)


async def test_a_drain_that_is_limited_while_closing_ends_sooner():
    world = World(stuck(), drain=600.0)

    async def limit() -> None:
        await world.until(lambda: world.sinks[0].calls)
        await run_ready_tasks()
        world.dispatcher.limit_drain(0)

    async with anyio.create_task_group() as tg:
        async with world.open(leaves_undelivered=True):
            await world.submit(sale("a"))
            tg.start_soon(limit)


async def test_a_limited_drain_of_a_durable_outbox_sends_nothing_new(tmp_path):
    keeper = BlockingAnswer()
    sink = FakeSink(answer=keeper, batch=1, concurrency=1)
    path = tmp_path / "outbox.db"
    world = World(sink, outbox=SQLiteOutbox(path), drain=600.0)
    async with world.open():
        await world.submit(*sales(3))
        await world.until(lambda: sink.calls)
        world.dispatcher.limit_drain(600.0)
        keeper.open()

    assert sink.delivered == ["e0"]


async def test_the_next_opening_has_its_whole_drain_again():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper), drain=600.0)
    async with world.open():
        world.dispatcher.limit_drain(0)

    async with anyio.create_task_group() as tg:
        async with world.open():
            await world.submit(sale("a"))
            await world.until(lambda: world.sinks[0].calls)
            tg.start_soon(run_then, keeper.open)

    assert world.sinks[0].delivered == ["a"]


async def run_then(function) -> None:
    await run_ready_tasks()
    function()
