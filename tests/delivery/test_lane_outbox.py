"""A lane with an outbox that fails."""

import anyio
import attrs
import pytest

from anytrack_async.destinations.sink import BatchRejected, Throttled
from anytrack_async.errors import OutboxError
from anytrack_async.events import (
    DeadLettered,
    Delivered,
    LaneThrottled,
    Retried,
)
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import (
    BlockingAnswer,
    Clock,
    FakeSink,
    Service,
    World,
    run_ready_tasks,
    sale,
    sales,
)

pytestmark = pytest.mark.asyncio


class Shaky(MemoryOutbox):
    """Fails the next calls of what is in `failing`: method name → how often, and with what."""

    def __init__(self, **options):
        super().__init__(**options)
        self.failing = {}
        self.asked = []

    async def _maybe(self, name):
        self.asked.append(name)
        if self.failing.get(name, 0) > 0:
            self.failing[name] -= 1
            raise self.exc

    exc = OutboxError("database is locked")

    async def claim(self, destination, limit, lease):
        await self._maybe("claim")
        return await super().claim(destination, limit, lease)

    async def settle(self, claim, failed=()):
        await self._maybe("settle")
        return await super().settle(claim, failed)

    async def release(self, claim, *, due, counts_as_attempt):
        await self._maybe("release")
        return await super().release(claim, due=due, counts_as_attempt=counts_as_attempt)

    async def renew(self, claim, lease):
        await self._maybe("renew")
        return await super().renew(claim, lease)

    async def depths(self):
        await self._maybe("depths")
        return await super().depths()


@pytest.mark.parametrize("exc", [OutboxError("database is locked"), OSError("jane@example.com")])
async def test_a_failed_claim_is_logged_and_retried(caplog, exc):
    outbox = Shaky()
    outbox.failing, outbox.exc = {"claim": 3}, exc
    world = World(outbox=outbox)
    async with world.open():
        await world.deliver(sale("a"))

    assert caplog.text.count("cannot claim from the outbox") == 3
    assert "jane" not in caplog.text


@pytest.mark.parametrize("exc", [OutboxError("database is locked"), OSError("jane@example.com")])
async def test_unsettled_conversions_are_sent_again_after_their_lease(caplog, exc):
    outbox = Shaky()
    outbox.failing, outbox.exc = {"settle": 1}, exc
    world = World(outbox=outbox, lease=0.15)
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.delivered
    assert world.sinks[0].delivered == ["a", "a"]
    assert "cannot settle a claim in the outbox" in caplog.text
    assert "jane" not in caplog.text


async def test_a_failed_claim_is_not_retried_at_once():
    outbox = Shaky()
    outbox.failing = {"claim": 1}
    async with World(outbox=outbox, poll=3600.0).open() as world:
        await run_ready_tasks()
        assert outbox.asked.count("claim") == 1
        await anyio.sleep(0.01)
        assert outbox.asked.count("claim") == 1
        await world.deliver(sale("a"))


async def test_conversions_that_cannot_be_released_are_claimed_again_after_their_lease(caplog):
    outbox = Shaky()
    outbox.failing = {"release": 1}
    trouble = [OSError(), None]

    def answer(_):
        if exc := trouble.pop(0):
            raise exc

    world = World(FakeSink(answer=answer), outbox=outbox, lease=0.15)
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.delivered
    assert not world.events_of(Retried)
    assert "cannot release a claim in the outbox" in caplog.text


async def test_a_lease_that_cannot_be_renewed_ends_a_split(caplog):
    outbox = Shaky()
    outbox.failing = {"renew": 1}

    def answer(batch):
        if "e1" in batch:
            raise BatchRejected("bad event")

    world = World(FakeSink(answer=answer), outbox=outbox)
    async with world.open():
        for delivery in await world.submit(*sales(4)):
            await delivery
        dead = await world.dead()

    assert dead == {"e1": "bad event"}
    assert world.sinks[0].delivered.count("e0") == 1
    assert (
        world.events_of(Retried)[0].reason == "not sent: the lane was paused or the lease was lost"
    )
    assert "cannot renew a lease in the outbox" in caplog.text


async def test_a_lost_lease_settles_nothing_and_sends_no_event(caplog):
    class Lost(MemoryOutbox):
        losses = 1

        async def settle(self, claim, failed=()):
            if Lost.losses:
                Lost.losses -= 1
                await super().release(claim, due=0.0, counts_as_attempt=True)
                return False
            return await super().settle(claim, failed)

    answers = [[Outcome.rejected("no")], None]
    world = World(FakeSink(answer=lambda _: answers.pop(0)), outbox=Lost())
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.delivered
    assert not world.events_of(DeadLettered)
    assert len(world.events_of(Delivered)) == 1
    assert "took over 1 conversions" in caplog.text


async def test_a_claim_made_while_the_lane_was_paused_is_released():
    answers = BlockingAnswer()

    class Slow(Shaky):
        slow = None

        async def claim(self, destination, limit, lease):
            claim = await super().claim(destination, limit, lease)
            if claim.entries and claim.entries[0].conversion.event_id == "e1":
                answers.open()
                await run_ready_tasks()  # the other worker hears that the service throttles
            return claim

    async def answer(batch):
        if batch == ["e0"]:
            await answers([])
            raise Throttled("slow down", after=30.0)

    clock = Clock()
    outbox = Slow(clock=clock)
    sink = FakeSink(answer=answer, batch=1, concurrency=2)
    world = World(sink, outbox=outbox, clock=clock)
    async with world.open():
        await world.submit(*sales(2))
        await world.until(lambda: world.events_of(LaneThrottled))
        await run_ready_tasks()
        assert sink.calls == [["e0"]]
        depth = (await outbox.depths())["anytrack"]
        assert (depth.waiting, depth.in_flight) == (2, 0)

        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        await world.until(lambda: len(sink.delivered) == 2)


async def test_due_entries_that_cannot_be_claimed_do_not_spin():
    class Behind(MemoryOutbox):
        claims = 0

        async def claim(self, destination, limit, lease):
            Behind.claims += 1
            claim = await super().claim(destination, limit, lease)
            return claim if claim.entries else attrs.evolve(claim, next_due=0.0)

    world = World(outbox=Behind(), drain=0.0)
    async with world.open():
        await anyio.sleep(0.03)
        assert Behind.claims < 60
