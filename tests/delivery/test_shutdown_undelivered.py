"""Undelivered conversions are listed at closing, or kept by a durable outbox."""

import logging

import anyio
import pytest

from anytrack_async.destinations.sink import BatchRejected, Throttled, Unavailable
from anytrack_async.errors import ClosedError, UndeliveredError
from anytrack_async.events import Dropped
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from tests.delivery.doubles import BlockingAnswer, FakeSink, World, run_ready_tasks, sale, sales

pytestmark = pytest.mark.asyncio


async def hang(_):
    await anyio.sleep_forever()


def stuck(name="anytrack", **options):
    return FakeSink(name, hang, **options)


async def test_undelivered_conversions_in_memory_are_listed(caplog):
    world = World(stuck("anytrack"), FakeSink("meta"), drain=0.02)
    async with world.open(leaves_undelivered=True):
        await world.submit(*sales(3))

    assert world.undelivered.event_ids == {"anytrack": ["e0", "e1", "e2"]}
    assert "lost, because the outbox was only in memory" in str(world.undelivered)
    assert "anytrack: e0, e1, e2" in str(world.undelivered)
    (dropped,) = world.events_of(Dropped)
    assert (dropped.destination, list(dropped.event_ids)) == ("anytrack", ["e0", "e1", "e2"])


async def test_every_undelivered_conversion_in_memory_is_listed():
    world = World(stuck(), drain=0.0)
    async with world.open(leaves_undelivered=True):
        await world.submit(*sales(3000))

    assert len(world.undelivered.event_ids["anytrack"]) == 3000
    assert "and 2980 more" in str(world.undelivered)


async def test_the_callers_exception_notes_undelivered_conversions():
    mine = LookupError("mine")
    world = World(stuck(), drain=0.02)
    async with world.raises(mine):
        await world.submit(*sales(2))

    assert len(mine.__notes__) == 1
    assert "accepted but not delivered" in mine.__notes__[0]
    assert "anytrack: e0, e1" in mine.__notes__[0]
    assert world.events_of(Dropped)


async def test_a_cancelled_exit_notes_undelivered_conversions():
    world = World(stuck(), drain=0.02)
    with anyio.CancelScope() as scope:
        async with world.dispatcher:
            await world.submit(*sales(2))
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert [list(event.event_ids) for event in world.events_of(Dropped)] == [["e0", "e1"]]


async def test_waiting_callers_get_an_error():
    errors = []

    async def wait(awaitable):
        try:
            await awaitable
        except UndeliveredError as exc:
            errors.append(exc)

    world = World(stuck("anytrack"), FakeSink("meta"), drain=0.02)
    async with anyio.create_task_group() as tg, world.open(leaves_undelivered=True):
        (delivery,) = await world.submit(sale("a"))
        tg.start_soon(wait, delivery)
        tg.start_soon(wait, delivery.at("anytrack"))
        await delivery.at("meta")

    assert len(errors) == 2
    assert errors[0].event_ids == {"anytrack": ["a"]}
    assert "before 'a' was delivered to anytrack" in str(errors[0])
    with pytest.raises(UndeliveredError):
        await delivery
    assert (await delivery.at("meta")).final


async def test_callers_waiting_for_space_are_refused():
    world = World(stuck(), outbox=MemoryOutbox(capacity=1), drain=0.02)
    async with anyio.create_task_group() as tg:

        async def late():
            with pytest.raises(ClosedError):
                await world.submit(sale("late"))

        async with world.open(leaves_undelivered=True):
            await world.submit(sale("a"))
            tg.start_soon(late)
            await run_ready_tasks()

    assert world.undelivered.event_ids == {"anytrack": ["a"]}


async def test_nothing_is_accepted_during_the_drain():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper))

    async def late():
        await run_ready_tasks()
        with pytest.raises(ClosedError):
            await world.submit(sale("late"))
        keeper.open()

    async with anyio.create_task_group() as tg, world.open():
        await world.submit(sale("a"))
        await world.until(lambda: world.sinks[0].busy)
        tg.start_soon(late)

    assert world.sinks[0].delivered == ["a"]


async def test_dead_letters_are_not_named_as_undelivered():
    world = World(FakeSink(answer=lambda _: [Outcome.rejected("no")]))
    async with world.open():
        await world.submit(sale("a"))


async def test_outcomes_of_an_interrupted_split_are_settled():
    async def answer(batch):
        if len(batch) == 4:
            raise BatchRejected("bad event")
        if "e2" in batch:
            await anyio.sleep_forever()

    sink = FakeSink(answer=answer)
    world = World(sink, drain=0.05)
    async with world.open(leaves_undelivered=True):
        await world.submit(*sales(4))
        await world.until(lambda: sink.delivered)

    assert sink.delivered == ["e0", "e1"]
    assert world.undelivered.event_ids == {"anytrack": ["e2", "e3"]}


# What a durable outbox keeps


async def test_a_durable_outbox_keeps_undelivered_conversions(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "outbox.db"
    world = World(stuck(batch=2), outbox=SQLiteOutbox(path), drain=0.05, lease=3600.0)
    async with world.open():
        (delivery, *_) = await world.submit(*sales(5))
        await world.until(lambda: world.sinks[0].busy)
    assert "kept in the outbox: the next client that opens it continues" in caplog.text
    assert not world.events_of(Dropped)
    with pytest.raises(UndeliveredError, match="kept in the outbox"):
        await delivery

    # Its claims were released, so that the next client need not wait an hour for their leases.
    world = World(outbox=SQLiteOutbox(path), lease=3600.0)
    async with world.open():
        (report,) = await world.deliver(sale("e0"))
        await world.until(lambda: len(world.sinks[0].delivered) == 5)

    assert report.outcomes["anytrack"].attempts == 1
    assert world.sinks[0].delivered == [f"e{index}" for index in range(5)]


async def test_a_claim_that_is_cut_off_by_the_end_of_the_drain_is_released(tmp_path):
    class Slow(SQLiteOutbox):
        claimed = anyio.Event()

        async def claim(self, destination, limit, lease):
            claim = await super().claim(destination, limit, lease)
            if claim.entries:
                self.claimed.set()
                await anyio.sleep(0.05)
            return claim

    path = tmp_path / "outbox.db"
    outbox = Slow(path)
    world = World(outbox=outbox, drain=0.0, lease=3600.0)
    async with world.open():
        await world.submit(sale("a"))
        await outbox.claimed.wait()
    assert not world.sinks[0].calls

    async with World(outbox=SQLiteOutbox(path)).open() as world:
        await world.until(lambda: world.sinks[0].delivered == ["a"])


async def test_the_callers_exception_notes_kept_conversions(tmp_path):
    mine = LookupError("mine")
    world = World(stuck(), outbox=SQLiteOutbox(tmp_path / "outbox.db"), drain=0.02)
    async with world.raises(mine):
        await world.submit(sale("a"))

    assert "kept in the outbox" in mine.__notes__[0]


async def test_a_shared_outbox_is_drained_of_this_processs_retries(tmp_path):
    troubles = [Throttled("slow down", after=0.05), Unavailable("503")]

    def answer(_):
        if troubles:
            raise troubles.pop()

    world = World(FakeSink(answer=answer, concurrency=2), outbox=SQLiteOutbox(tmp_path / "o.db"))
    async with world.open():
        await world.submit(*sales(5))

    assert len(world.sinks[0].delivered) == 5


async def test_deliveries_by_other_processes_during_the_drain_are_no_error(tmp_path):
    path = tmp_path / "outbox.db"
    keeper = BlockingAnswer()
    busy = FakeSink(answer=keeper, batch=1)
    here = World(busy, outbox=SQLiteOutbox(path), poll=3600.0)
    there = World(outbox=SQLiteOutbox(path))
    async with here.open():
        (first,) = await here.submit(sale("first"))
        await here.until(lambda: busy.busy)
        async with there.open():
            second = (await here.submit(sale("second")))[0]
            second.watch(lambda _: None)
            await there.until(lambda: there.sinks[0].delivered == ["second"])
        keeper.open()
        await first

    assert (await second).delivered
