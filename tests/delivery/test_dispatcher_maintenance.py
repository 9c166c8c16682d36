"""Beside the lanes: joining destinations, pruning, and polling for other processes."""

import logging

import anyio
import attrs
import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.events import Dropped
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.checks import USUAL_BYTES
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import (
    QUICK,
    BlockingAnswer,
    FakeSink,
    World,
    run_ready_tasks,
    sale,
    sales,
)

pytestmark = pytest.mark.asyncio


async def test_a_new_destination_gets_earlier_conversions_only_from_start():
    outbox = MemoryOutbox()
    slow = FakeSink("slow", BlockingAnswer())  # keeps the log from being cleaned up
    async with World(FakeSink(), slow, outbox=outbox, drain=0.0).open(
        leaves_undelivered=True
    ) as world:
        await world.submit(*sales(3))
        await world.until(lambda: len(world.sinks[0].delivered) == 3)
    late, early = FakeSink("late"), FakeSink("early")
    world = World(FakeSink(), late, early, outbox=outbox, from_start=["early"])
    async with world.open():
        await world.deliver(sale("new"))
        await world.until(lambda: len(early.delivered) == 4)

    assert late.delivered == ["new"]
    assert sorted(early.delivered) == ["e0", "e1", "e2", "new"]


async def test_a_backlog_without_a_sink_is_warned_of(caplog):
    outbox = MemoryOutbox()
    await outbox.open(["meta", "anytrack"])
    await outbox.aclose()
    async with World(outbox=outbox).open():
        pass

    assert "keeps conversions for 'meta', which has no sink here" in caplog.text
    assert "`anytrack outbox remove-destination meta`" in caplog.text


class Pruned(MemoryOutbox):
    prunes = 0
    broken = False

    changed = staticmethod(lambda: None)

    async def prune(self, *, remember):
        self.prunes += 1
        self.changed()
        if self.broken:
            raise OSError("jane@example.com")
        return await super().prune(remember=remember)


async def test_the_outbox_is_pruned_by_the_clock():
    outbox = Pruned()
    async with World(outbox=outbox, prune_every=0.001).open() as world:
        outbox.changed = world.changed
        await world.until(lambda: outbox.prunes >= 3)


async def test_the_outbox_is_pruned_after_many_deliveries():
    outbox = Pruned(capacity=20_000)
    async with World(FakeSink(batch=1000), outbox=outbox, prune_every=3600.0).open() as world:
        await world.submit(*sales(4_000))
        await world.until(lambda: len(world.sinks[0].delivered) == 4_000)
        await run_ready_tasks()
        assert outbox.prunes == 0
        await world.submit(*sales(1_000, "f"))
        await world.until(lambda: len(world.sinks[0].delivered) == 5_000)
        await run_ready_tasks()
        assert outbox.prunes == 1


async def test_a_failed_prune_is_logged_and_retried(caplog):
    outbox = Pruned()
    outbox.broken = True
    async with World(outbox=outbox, prune_every=0.001).open() as world:
        outbox.changed = world.changed
        await world.until(lambda: outbox.prunes >= 3)
        await world.deliver(sale("a"))

    assert "cannot prune the outbox, will retry: OSError" in caplog.text
    assert "jane" not in caplog.text


class Shared(MemoryOutbox):
    """A memory outbox with contents that two dispatchers share, as two processes would a file."""

    fails = 0

    @property
    def shared(self):
        return True

    @property
    def durable(self):
        return True

    def twin(self):
        """Return another outbox with the same contents."""
        twin = Shared()
        twin._log, twin._destinations = self._log, self._destinations
        twin._lease_ids = self._lease_ids
        return twin

    async def reports(self, event_ids):
        if self.fails:
            self.fails -= 1
            raise OutboxError("database is locked")
        return await super().reports(event_ids)


async def deliver_elsewhere(outbox):
    """Submit a conversion to a busy lane, and wait until another process has delivered it."""
    stuck = FakeSink(answer=BlockingAnswer(), batch=1)
    here, there = World(stuck, outbox=outbox, drain=0.0), World(outbox=outbox.twin())
    async with here.open(), there.open():
        await here.submit(sale("keeps the lane busy"))
        await here.until(lambda: stuck.busy)
        (delivery,) = await here.submit(sale("a"))
        with anyio.fail_after(5):
            await delivery
    return there.sinks[0].delivered


async def test_a_delivery_awaited_here_resolves_when_another_process_delivers_it():
    assert await deliver_elsewhere(Shared()) == ["a"]


async def test_a_failed_poll_is_retried(caplog):
    outbox = Shared()
    outbox.fails = 2

    await deliver_elsewhere(outbox)

    assert "cannot read the outbox, will retry: database is locked" in caplog.text


async def test_conversions_accepted_by_another_process_are_delivered():
    outbox = Shared()
    world = World(outbox=outbox)
    async with world.open():
        await run_ready_tasks()
        await outbox.append(sales(3))
        await world.until(lambda: len(world.sinks[0].delivered) == 3)


async def test_started_tasks_run_beside_the_lanes_until_closing():
    seen = []

    async def work():
        seen.append("started")
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("ended")

    world = World()
    async with world.open():
        world.dispatcher.start_task(work)
        await run_ready_tasks()
        stopped = world.dispatcher.start_task(work)
        await run_ready_tasks()
        stopped.cancel()
        await run_ready_tasks()
        assert seen == ["started", "started", "ended"]
    assert seen == ["started", "started", "ended", "ended"]

    world.dispatcher.start_task(work)
    await run_ready_tasks()
    assert len(seen) == 4


async def test_an_idle_dispatcher_does_nothing(caplog):
    caplog.set_level(logging.DEBUG)

    class Counted(MemoryOutbox):
        claims = 0

        async def claim(self, destination, limit, lease):
            Counted.claims += 1
            return await super().claim(destination, limit, lease)

    settings = attrs.evolve(QUICK, poll=0.001)
    world = World(FakeSink(concurrency=4), outbox=Counted(), settings=settings)
    async with world.open():
        await world.deliver(sale("a"))
        before = Counted.claims
        await anyio.sleep(0.03)

    assert Counted.claims <= before + 5


async def test_dead_letters_without_room_are_dropped_with_an_event():
    sink = FakeSink("crm", lambda batch: [Outcome.rejected("invalid")] * len(batch))
    outbox = MemoryOutbox(capacity_bytes=10 * USUAL_BYTES)
    async with World(sink, outbox=outbox).open() as world:
        for number in range(12):
            await world.deliver(sale(f"e{number}"))
        dead = await outbox.dead_letters()

    assert [letter.conversion.event_id for letter in dead] == [f"e{n}" for n in range(2, 12)]
    (dropped,) = world.events_of(Dropped)
    assert (dropped.destination, dropped.event_ids) == ("crm", ["e0", "e1"])
    assert "raise its capacity_bytes" in dropped.reason
