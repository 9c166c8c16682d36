"""Failures while closing: none stops it, and none hides another."""

import logging
import time

import anyio
import pytest

from anytrack_async.delivery.flow import LaneState
from anytrack_async.destinations.sink import Unavailable
from anytrack_async.errors import ClosedError, OutboxError, UndeliveredError
from anytrack_async.events import LaneDown
from anytrack_async.models.outcome import DELIVERED
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from tests.delivery.doubles import FakeSink, World, run_ready_tasks, sale, sales

pytestmark = pytest.mark.asyncio


async def hang(_):
    await anyio.sleep_forever()


def stuck(name="anytrack", **options):
    return FakeSink(name, hang, **options)


async def test_a_sink_that_hangs_does_not_stop_closing(caplog, monkeypatch):
    monkeypatch.setattr("anytrack_async.delivery.shutdown._STEP_TIMEOUT", 0.02)

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


async def test_cancel_still_closes_the_outbox():
    class Slow(FakeSink):
        async def aclose(self):
            await run_ready_tasks()
            self.closed = True

    sink = Slow()
    world = World(sink)
    with anyio.CancelScope() as scope:
        async with world.dispatcher:
            scope.cancel()

    assert sink.closed
    with pytest.raises(OutboxError):
        await world.outbox.depths()


async def test_an_outbox_that_hangs_does_not_stop_closing(monkeypatch, caplog):
    monkeypatch.setattr("anytrack_async.delivery.guarded_outbox._GRACE", 0.02)
    monkeypatch.setattr("anytrack_async.delivery.shutdown._STEP_TIMEOUT", 0.02)

    class Hanging(MemoryOutbox):
        settling = anyio.Event()

        async def settle(self, claim, failed=()):
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
        (delivery,) = await world.submit(sale("a"))
        await outbox.settling.wait()

    assert time.monotonic() - started < 2
    assert "could not settle a claim in the outbox before closing" in caplog.text
    assert "closing the outbox took longer" in caplog.text
    with pytest.raises(UndeliveredError):
        await delivery


async def test_an_outbox_that_cannot_count_hides_no_exception(caplog):
    class Broken(MemoryOutbox):
        async def depths(self):
            raise OutboxError("database is locked")

    mine = LookupError("mine")
    world = World(stuck(), outbox=Broken(), drain=0.02)
    async with world.raises(mine):
        (delivery,) = await world.submit(sale("a"))

    assert "listing undelivered conversions failed: database is locked" in caplog.text
    with pytest.raises(UndeliveredError):
        await delivery


async def test_a_forgotten_destination_does_not_stop_closing():
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
    async with world.open(leaves_undelivered=True):
        await world.submit(*sales(5))
        await world.until(lambda: world.events_of(LaneDown))
        assert world.dispatcher.states()["anytrack"] is LaneState.DOWN

    assert time.monotonic() - started < 2


async def test_a_message_about_a_big_backlog_does_not_claim_to_be_complete(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    outbox = SQLiteOutbox(tmp_path / "outbox.db")
    async with World(stuck(), outbox=outbox, drain=0.0).open() as world:
        await world.submit(*sales(1200))

    assert "at least" in caplog.text
