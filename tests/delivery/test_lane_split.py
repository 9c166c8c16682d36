"""A lane with one bad conversion in a batch, and with sinks that misbehave."""

import logging

import anyio
import pytest

from anytrack_async.destinations.sink import BatchRejected, NeedsOperator, Throttled
from anytrack_async.events import (
    DeadLettered,
    Delivered,
    LaneHeld,
    Retried,
)
from anytrack_async.models.outcome import DELIVERED
from anytrack_async.settings.http import Retry
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


async def test_a_bad_conversion_among_a_thousand_is_the_only_dead_letter():
    def answer(batch):
        if "e617" in batch:
            raise BatchRejected("event_time too old", code="2804003")

    sink = FakeSink(answer=answer, batch=1000)
    world = World(sink)
    async with world.open():
        deliveries = await world.submit(*sales(1000))
        for delivery in deliveries:
            await delivery
        dead = await world.dead()

    assert dead == {"e617": "event_time too old"}
    assert len(sink.delivered) == 999
    assert len(sink.calls) < 30
    (letter,) = world.events_of(DeadLettered)
    assert (letter.event_id, letter.code) == ("e617", "2804003")
    assert sum(len(event.event_ids) for event in world.events_of(Delivered)) == 999


async def test_a_batch_is_split_after_two_failed_attempts():
    clock = Clock()
    sink = FakeSink(answer=Service(poison=["e3"]), batch=4)
    world = World(sink, clock=clock, retry=Retry(attempts=8, base=1.0, cap=1.0))
    async with world.open():
        deliveries = await world.submit(*sales(4))
        while not all(delivery.done() for delivery in deliveries[:3]):
            # Another batch is delivered between two attempts, so the service is not down.
            await world.deliver(sale(f"good{clock.now}"))
            clock.now += 1
            world.dispatcher.wake()
            await run_ready_tasks()
        sizes = [len(call) for call in sink.calls if "good" not in call[0]]
        sink.answer = Service()
        clock.now += 1
        world.dispatcher.wake()

    # Two attempts fail whole; the third is halved: 4 fail, 2 pass, 2 fail, 1 passes, 1 fails.
    assert sizes[:7] == [4, 4, 4, 2, 2, 1, 1]


async def test_the_lease_is_renewed_during_a_split():
    clock = Clock()

    def answer(batch):
        clock.now += 40
        if "e7" in batch:
            raise BatchRejected("bad event")

    sink = FakeSink(answer=answer, concurrency=2)
    world = World(sink, clock=clock, lease=100.0)
    async with world.open():
        for delivery in await world.submit(*sales(16)):
            await delivery

    assert len(sink.delivered) == 15
    assert len(set(sink.delivered)) == 15


async def test_a_split_keeps_to_the_rate():
    sent = []

    def answer(batch):
        sent.append(anyio.current_time())
        if "e3" in batch:
            raise BatchRejected("bad event")

    world = World(FakeSink(answer=answer, rate=100))
    async with world.open():
        for delivery in await world.submit(*sales(4)):
            await delivery

    assert len(sent) == 5
    assert sent[-1] - sent[0] > 0.03


async def test_a_split_ends_when_the_lane_is_paused():
    both = BlockingAnswer()

    async def answer(batch):
        if len(sink.calls) == 2:
            both.open()
        await both([])
        if "a3" in batch:
            await run_ready_tasks()  # the other one's answer comes first
            raise BatchRejected("bad event")
        raise Throttled("slow down", after=30.0)

    sink = FakeSink(answer=answer, batch=4, concurrency=2)
    world = World(sink, clock=Clock())
    async with world.open():
        await world.submit(*sales(4, "a"), *sales(4, "b"))
        await world.until(lambda: len(world.events_of(Retried)) == 2)
        await run_ready_tasks()
        assert len(sink.calls) == 2

        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        await world.until(lambda: len(sink.delivered) == 8)

    assert not world.events_of(DeadLettered)


async def test_a_failed_probe_is_the_only_conversion_in_its_event():
    sink = FakeSink(answer=Service(NeedsOperator("token expired")), batch=10)
    clock = Clock()
    world = World(sink, clock=clock, hold_probe=300.0)
    async with world.open():
        await world.submit(*sales(10))
        await world.until(lambda: world.events_of(LaneHeld))
        clock.now += 300
        world.dispatcher.wake()
        await world.until(lambda: len(world.events_of(Retried)) == 2)
        sink.answer = Service()
        world.dispatcher.resume("anytrack")

    batch, probe = world.events_of(Retried)[:2]
    assert len(batch.event_ids) == 10
    assert list(probe.event_ids) == sink.calls[1]
    assert probe.seconds == 300.0


# Sinks


@pytest.mark.parametrize("count", [0, 2])
async def test_a_wrong_number_of_outcomes_is_retried(count):
    answers = [[DELIVERED] * count, None]
    world = World(FakeSink(answer=lambda _: answers.pop(0)))
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.outcomes["anytrack"].attempts == 2
    assert "one outcome for each" in world.events_of(Retried)[0].reason


async def test_no_text_of_a_sinks_exception_is_kept_or_logged(caplog):
    caplog.set_level(logging.DEBUG)
    sink = FakeSink(answer=Service(ValueError("token=s3cret jane@example.com")))
    world = World(sink, retry=Retry(attempts=1))
    async with world.open():
        (report,) = await world.deliver(sale("a"))
        dead = await world.dead()

    texts = f"{report} {dead} {world.events} {caplog.text}"
    assert "ValueError" in texts
    assert "s3cret" not in texts
    assert "jane" not in texts


async def test_a_batch_that_exceeds_its_share_of_the_lease_is_retried():
    hangs = [True]

    async def answer(_):
        if hangs:
            hangs.pop()
            await anyio.sleep_forever()

    world = World(FakeSink(answer=answer), lease=0.05)
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.delivered
    assert world.events_of(Retried)[0].reason == "sink 'anytrack' did not finish within 0.04 s"


async def test_a_sink_that_cancels_itself_does_not_cost_a_worker():
    async def answer(_):
        raise anyio.get_cancelled_exc_class()

    sink = FakeSink(answer=answer)
    world = World(sink)
    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        await world.until(lambda: world.events_of(Retried))
        sink.answer = Service()
        await delivery
