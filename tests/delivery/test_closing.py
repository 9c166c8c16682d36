"""However a dispatcher is left: delivered within the drain, kept, or named."""

import logging
import time

import anyio
import pytest

from anytrack_async.delivery import LaneState
from anytrack_async.errors import ClosedError, OutboxError, UndeliveredError
from anytrack_async.events import Dropped, LaneDown, LaneThrottled
from anytrack_async.models import DELIVERED, Outcome
from anytrack_async.outbox import MemoryOutbox, SQLiteOutbox
from anytrack_async.sinks.base import BatchRejected, CredentialsRejected, Throttled, Unavailable
from tests.delivery.doubles import FakeSink, Gatekeeper, World, calm, sale, sales

pytestmark = pytest.mark.asyncio


async def hang(_):
    await anyio.sleep_forever()


def stuck(name="anytrack", **options):
    return FakeSink(name, hang, **options)


# Everything is delivered within the drain


async def test_leaving_delivers_everything_and_closes_everything():
    sinks = FakeSink("anytrack", batch=3), FakeSink("meta", batch=7)
    world = World(*sinks)
    async with world.open():
        await world.submit(*sales(50))

    for sink in sinks:
        assert sorted(sink.taken) == sorted(f"e{at}" for at in range(50))
        assert sink.closed
    with pytest.raises(OutboxError):
        await world.outbox.depths()


async def test_leaving_by_an_exception_delivers_everything_and_raises_it_as_it_is():
    mine = LookupError("mine")
    world = World()
    async with world.left_by(mine):
        await world.submit(*sales(5))

    assert len(world.sinks[0].taken) == 5


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ExceptionGroup])
async def test_no_exception_of_the_caller_comes_out_in_a_group(kind):
    mine = kind("mine", [ValueError()]) if kind is ExceptionGroup else kind("mine")
    world = World()
    async with world.left_by(mine):
        await world.submit(sale("a"))

    assert world.sinks[0].taken == ["a"]


async def test_leaving_by_cancellation_delivers_everything():
    keeper = Gatekeeper()
    world = World(FakeSink(answer=keeper))
    with anyio.CancelScope() as scope:
        async with world.dispatcher:
            await world.submit(*sales(5))
            await world.until(lambda: world.sinks[0].busy)
            scope.cancel()
            keeper.open()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert len(world.sinks[0].taken) == 5
    assert world.sinks[0].closed


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "file"])
async def test_a_retry_that_is_due_within_the_drain_is_waited_for(durable, tmp_path):
    answers = [[Outcome.retry("locked", after=0.05)], None]
    sink = FakeSink(answer=lambda _: answers.pop(0), concurrency=2)
    outbox = SQLiteOutbox(tmp_path / "outbox.db") if durable else MemoryOutbox()
    world = World(sink, outbox=outbox)
    async with world.open():
        await world.submit(sale("a"))

    assert sink.taken == ["a"]


async def test_what_another_process_works_on_is_not_waited_for(tmp_path):
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


async def test_a_pause_is_waited_for_also_if_the_outbox_cannot_say_what_is_left():
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

    assert world.sinks[0].taken == ["a"]
    assert not Shy.refusals


@pytest.mark.parametrize(
    "trouble", [Throttled("slow down", after=0.03), Unavailable("503")], ids=["throttled", "down"]
)
async def test_trouble_that_ends_within_the_drain_is_waited_for(trouble):
    troubles = [trouble] * 6

    def answer(_):
        if troubles:
            raise troubles.pop()

    world = World(FakeSink(answer=answer, batch=2, concurrency=2))
    async with world.open():
        await world.submit(*sales(20))

    assert len(world.sinks[0].taken) == 20


@pytest.mark.parametrize("after", [2.0, 3600.0])
async def test_a_stopped_lane_with_nothing_left_to_send_closes_at_once(after):
    def answer(_):
        raise Throttled("slow down", after=after, outcomes=[DELIVERED])

    world = World(FakeSink(answer=answer))
    started = time.monotonic()
    async with world.open():
        await world.submit(sale("a"))
        await world.until(lambda: world.told(LaneThrottled))

    assert time.monotonic() - started < 1


@pytest.mark.parametrize("after", [3600.0, 0.001])
async def test_a_retry_that_is_not_due_within_the_drain_is_not_waited_for(after):
    def answer(_):
        if after > 1:
            return [Outcome.retry("locked", after=after)]
        raise CredentialsRejected("401")

    world = World(FakeSink(answer=answer))
    started = time.monotonic()
    async with world.open(leaving=True):
        await world.submit(sale("a"))
        await world.until(lambda: world.sinks[0].calls)

    assert time.monotonic() - started < 1


# Everything that is left is named


async def test_what_only_memory_held_is_named(caplog):
    world = World(stuck("anytrack"), FakeSink("meta"), drain=0.02)
    async with world.open(leaving=True):
        await world.submit(*sales(3))

    assert world.undelivered.event_ids == {"anytrack": ["e0", "e1", "e2"]}
    assert "only this process's memory held it" in str(world.undelivered)
    assert "anytrack: e0, e1, e2" in str(world.undelivered)
    (dropped,) = world.told(Dropped)
    assert (dropped.destination, list(dropped.event_ids)) == ("anytrack", ["e0", "e1", "e2"])


async def test_all_of_it_is_named_however_much():
    world = World(stuck(), drain=0.0)
    async with world.open(leaving=True):
        await world.submit(*sales(3000))

    assert len(world.undelivered.event_ids["anytrack"]) == 3000
    assert "and 2980 more" in str(world.undelivered)


async def test_the_callers_exception_has_a_note_of_what_is_left():
    mine = LookupError("mine")
    world = World(stuck(), drain=0.02)
    async with world.left_by(mine):
        await world.submit(*sales(2))

    assert len(mine.__notes__) == 1
    assert "accepted but not delivered" in mine.__notes__[0]
    assert "anytrack: e0, e1" in mine.__notes__[0]
    assert world.told(Dropped)


async def test_a_cancelled_leaving_tells_what_is_left():
    world = World(stuck(), drain=0.02)
    with anyio.CancelScope() as scope:
        async with world.dispatcher:
            await world.submit(*sales(2))
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert [list(event.event_ids) for event in world.told(Dropped)] == [["e0", "e1"]]


async def test_those_who_still_wait_are_told():
    errors = []

    async def wait(awaitable):
        try:
            await awaitable
        except UndeliveredError as exc:
            errors.append(exc)

    world = World(stuck("anytrack"), FakeSink("meta"), drain=0.02)
    async with anyio.create_task_group() as tg, world.open(leaving=True):
        (handle,) = await world.submit(sale("a"))
        tg.start_soon(wait, handle)
        tg.start_soon(wait, handle.at("anytrack"))
        await handle.at("meta")

    assert len(errors) == 2
    assert errors[0].event_ids == {"anytrack": ["a"]}
    assert "before 'a' was delivered to anytrack" in str(errors[0])
    with pytest.raises(UndeliveredError):
        await handle
    assert (await handle.at("meta")).final


async def test_those_who_wait_for_room_are_turned_away():
    world = World(stuck(), outbox=MemoryOutbox(capacity=1), drain=0.02)
    async with anyio.create_task_group() as tg:

        async def late():
            with pytest.raises(ClosedError):
                await world.submit(sale("late"))

        async with world.open(leaving=True):
            await world.submit(sale("a"))
            tg.start_soon(late)
            await calm()

    assert world.undelivered.event_ids == {"anytrack": ["a"]}


async def test_dead_letters_are_not_named_as_undelivered():
    world = World(FakeSink(answer=lambda _: [Outcome.rejected("no")]))
    async with world.open():
        await world.submit(sale("a"))


async def test_what_a_search_for_poison_settled_before_the_end_stays_settled():
    async def answer(batch):
        if len(batch) == 4:
            raise BatchRejected("bad event")
        if "e2" in batch:
            await anyio.sleep_forever()

    sink = FakeSink(answer=answer)
    world = World(sink, drain=0.05)
    async with world.open(leaving=True):
        await world.submit(*sales(4))
        await world.until(lambda: sink.taken)

    assert sink.taken == ["e0", "e1"]
    assert world.undelivered.event_ids == {"anytrack": ["e2", "e3"]}


# What a durable outbox keeps


async def test_a_durable_outbox_keeps_the_rest_for_the_next_start(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "outbox.db"
    world = World(stuck(batch=2), outbox=SQLiteOutbox(path), drain=0.05, lease=3600.0)
    async with world.open():
        (handle, *_) = await world.submit(*sales(5))
        await world.until(lambda: world.sinks[0].busy)
    assert "kept in the outbox, the next client that opens it goes on" in caplog.text
    assert not world.told(Dropped)
    with pytest.raises(UndeliveredError, match="kept in the outbox"):
        await handle

    # Its claims were given back: nobody waits an hour for the lease.
    world = World(outbox=SQLiteOutbox(path), lease=3600.0)
    async with world.open():
        (report,) = await world.deliver(sale("e0"))
        await world.until(lambda: len(world.sinks[0].taken) == 5)

    assert report.outcomes["anytrack"].attempts == 1
    assert world.sinks[0].taken == [f"e{at}" for at in range(5)]


async def test_a_claim_that_is_cut_off_by_the_end_of_the_drain_is_given_back(tmp_path):
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
        await world.until(lambda: world.sinks[0].taken == ["a"])


async def test_the_callers_exception_notes_what_is_kept(tmp_path):
    mine = LookupError("mine")
    world = World(stuck(), outbox=SQLiteOutbox(tmp_path / "outbox.db"), drain=0.02)
    async with world.left_by(mine):
        await world.submit(sale("a"))

    assert "kept in the outbox" in mine.__notes__[0]


async def test_a_shared_outbox_is_drained_of_what_this_process_gave_back(tmp_path):
    troubles = [Throttled("slow down", after=0.05), Unavailable("503")]

    def answer(_):
        if troubles:
            raise troubles.pop()

    world = World(FakeSink(answer=answer, concurrency=2), outbox=SQLiteOutbox(tmp_path / "o.db"))
    async with world.open():
        await world.submit(*sales(5))

    assert len(world.sinks[0].taken) == 5


async def test_what_others_deliver_during_the_drain_is_not_an_error_here(tmp_path):
    path = tmp_path / "outbox.db"
    keeper = Gatekeeper()
    busy = FakeSink(answer=keeper, batch=1)
    here = World(busy, outbox=SQLiteOutbox(path), poll=3600.0)
    there = World(outbox=SQLiteOutbox(path))
    async with here.open():
        (first,) = await here.submit(sale("first"))
        await here.until(lambda: busy.busy)
        async with there.open():
            second = (await here.submit(sale("second")))[0]
            second.watch(lambda _: None)
            await there.until(lambda: there.sinks[0].taken == ["second"])
        keeper.open()
        await first

    assert (await second).delivered


# Nothing hangs, and no failure hides another


async def test_a_sink_that_hangs_while_closing_keeps_nothing_else_from_closing(caplog, monkeypatch):
    monkeypatch.setattr("anytrack_async.delivery.farewell._LONGEST", 0.02)

    class Stubborn(FakeSink):
        async def aclose(self):
            await anyio.sleep_forever()

    class Broken(FakeSink):
        async def aclose(self):
            raise OSError("jane@example.com")

    class Bare:
        name = "bare"
        limits = FakeSink().limits

        async def deliver(self, batch):
            return [DELIVERED] * len(batch)

    closed = []

    class Watched(MemoryOutbox):
        async def aclose(self):
            closed.append(True)
            await super().aclose()

    good = FakeSink("good")
    world = World(Stubborn("stubborn"), Broken("broken"), Bare(), good, outbox=Watched())
    async with world.open():
        await world.deliver(sale("a"))

    assert closed == [True]
    assert good.closed
    assert "closing sink 'stubborn' took longer than" in caplog.text
    assert "closing sink 'broken' failed: OSError" in caplog.text
    assert "jane" not in caplog.text


async def test_cancellation_does_not_keep_the_outbox_from_closing():
    class Slow(FakeSink):
        async def aclose(self):
            await calm()
            self.closed = True

    sink = Slow()
    world = World(sink)
    with anyio.CancelScope() as scope:
        async with world.dispatcher:
            scope.cancel()

    assert sink.closed
    with pytest.raises(OutboxError):
        await world.outbox.depths()


async def test_an_outbox_that_hangs_does_not_hang_the_closing(monkeypatch, caplog):
    monkeypatch.setattr("anytrack_async.delivery.ledger._GRACE", 0.02)
    monkeypatch.setattr("anytrack_async.delivery.farewell._LONGEST", 0.02)

    class Hanging(MemoryOutbox):
        settling = anyio.Event()

        async def settle(self, claim, setbacks=()):
            self.settling.set()
            await anyio.sleep_forever()

        async def aclose(self):
            await anyio.sleep_forever()

        async def undelivered(self, destination, *, limit=1000):
            await anyio.sleep_forever()

    outbox = Hanging()
    world = World(outbox=outbox, drain=0.02)
    started = time.monotonic()
    async with world.open():
        (handle,) = await world.submit(sale("a"))
        await outbox.settling.wait()

    assert time.monotonic() - started < 2
    assert "gave up waiting to settle in the outbox" in caplog.text
    assert "closing the outbox took longer" in caplog.text
    with pytest.raises(UndeliveredError):
        await handle


async def test_an_outbox_that_cannot_tell_what_is_left_hides_no_exception(caplog):
    class Broken(MemoryOutbox):
        async def depths(self):
            raise OutboxError("database is locked")

    mine = LookupError("mine")
    world = World(stuck(), outbox=Broken(), drain=0.02)
    async with world.left_by(mine):
        (handle,) = await world.submit(sale("a"))

    assert "reading what is left failed: database is locked" in caplog.text
    with pytest.raises(UndeliveredError):
        await handle


async def test_a_destination_that_was_forgotten_meanwhile_is_no_trouble():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        await world.deliver(sale("a"))
        await world.outbox.forget("meta")


async def test_an_outbox_that_does_not_open_raises_and_closes_the_sinks():
    class Shut(MemoryOutbox):
        async def open(self, destinations, *, from_start=()):
            raise OutboxError("no such folder")

    world = World(outbox=Shut())
    with pytest.raises(OutboxError, match="no such folder"):
        async with world.dispatcher:
            pytest.fail("opened")

    assert world.sinks[0].closed


async def test_a_start_that_is_cancelled_leaves_nothing_open():
    world = World()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with world.dispatcher:
            await anyio.sleep_forever()

    assert world.sinks[0].closed
    with pytest.raises(ClosedError):
        await world.submit(sale("a"))


async def test_a_lane_that_is_down_closes_within_the_drain():
    def answer(_):
        raise Unavailable("503")

    world = World(FakeSink(answer=answer), drain=0.1)
    started = time.monotonic()
    async with world.open(leaving=True):
        await world.submit(*sales(5))
        await world.until(lambda: world.told(LaneDown))
        assert world.dispatcher.states()["anytrack"] is LaneState.DOWN

    assert time.monotonic() - started < 2


async def test_a_message_about_a_big_backlog_does_not_claim_to_be_complete(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    outbox = SQLiteOutbox(tmp_path / "outbox.db")
    async with World(stuck(), outbox=outbox, drain=0.0).open() as world:
        await world.submit(*sales(1200))

    assert "at least" in caplog.text
