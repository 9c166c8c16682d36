"""A lane that is throttled or held."""

import anyio
import pytest

from anytrack_async.delivery.flow import LaneState
from anytrack_async.destinations.sink import NeedsOperator, Throttled
from anytrack_async.events import (
    DeadLettered,
    LaneHeld,
    LaneResumed,
    LaneThrottled,
    Retried,
)
from anytrack_async.models.outcome import DELIVERED
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
from tests.delivery.virtual_time import run_virtual


@pytest.mark.asyncio
async def test_a_throttled_lane_pauses_and_counts_no_attempt():
    clock = Clock()
    sink = FakeSink(answer=Service(Throttled("slow down", after=30.0)), batch=10)
    world = World(sink, clock=clock)
    async with world.open():
        deliveries = await world.submit(*sales(20))
        for _ in range(20):
            await run_ready_tasks()
            clock.now += 30
            world.dispatcher.wake()
        await run_ready_tasks()
        assert len(sink.calls) == 21
        assert world.dispatcher.states()["anytrack"] is LaneState.THROTTLED

        clock.now += 29
        world.dispatcher.wake()
        await run_ready_tasks()
        assert len(sink.calls) == 21

        sink.answer = Service()
        clock.now += 1
        world.dispatcher.wake()
        reports = [await delivery for delivery in deliveries]

    assert {report.outcomes["anytrack"].attempts for report in reports} == {1}
    assert [
        type(event) for event in world.events if type(event) in (LaneThrottled, LaneResumed)
    ] == [
        LaneThrottled,
        LaneResumed,
    ]
    assert {event.seconds for event in world.events_of(Retried)} == {30.0}


@pytest.mark.asyncio
async def test_deliveries_before_the_service_throttled_are_settled():
    def answer(batch):
        if len(batch) == 3:
            raise Throttled("slow down", after=0.01, outcomes=[DELIVERED, None, None])

    sink = FakeSink(answer=answer)
    world = World(sink)
    async with world.open():
        reports = await world.deliver(*sales(3))

    assert [report.outcomes["anytrack"].attempts for report in reports] == [1, 1, 1]
    assert sink.calls[1:] == [["e1", "e2"]]


@pytest.mark.asyncio
async def test_a_paused_lane_sleeps():
    class Counted(Clock):
        asked = 0

        def __call__(self):
            Counted.asked += 1
            return super().__call__()

    world = World(FakeSink(answer=Service(Throttled("slow down", after=30.0))), clock=Counted())
    async with world.open():
        await world.submit(sale("a"))
        await world.until(lambda: world.events_of(LaneThrottled))
        await run_ready_tasks()
        before = Counted.asked
        await anyio.sleep(0.03)
        assert Counted.asked == before
        world.sinks[0].answer = Service()
        world.dispatcher.resume("anytrack")


@pytest.mark.asyncio
async def test_resume_ends_a_pause_at_once():
    sink = FakeSink(answer=Service(Throttled("slow down", after=3600.0)))
    world = World(sink, clock=Clock())
    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        await world.until(lambda: world.events_of(LaneThrottled))
        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        await delivery


# Held


@pytest.mark.asyncio
async def test_refused_credentials_hold_the_lane_and_lose_nothing():
    clock = Clock()
    sink = FakeSink(
        answer=Service(NeedsOperator("token expired", code="190")), batch=10, concurrency=4
    )
    world = World(sink, clock=clock, max_age=3600.0, hold_probe=300.0)
    async with world.open():
        deliveries = await world.submit(*sales(100))
        await world.until(lambda: world.events_of(LaneHeld))
        await run_ready_tasks()
        before = len(sink.calls)
        for _ in range(30):  # longer than the age at which conversions are given up
            clock.now += 300
            world.dispatcher.wake()
            await run_ready_tasks()
        assert len(sink.calls) == before + 30
        assert {len(call) for call in sink.calls[before:]} == {1}
        assert world.dispatcher.states()["anytrack"] is LaneState.HELD

        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        reports = [await delivery for delivery in deliveries]

    assert all(report.delivered for report in reports)
    assert [event.reason for event in world.events_of(LaneHeld)] == ["token expired"]
    assert not world.events_of(DeadLettered)


@pytest.mark.parametrize("cause", ["credentials", "configuration"])
@pytest.mark.asyncio
async def test_the_event_of_a_held_lane_has_the_cause(cause):
    sink = FakeSink(answer=Service(NeedsOperator("no pipeline 'Shop'", cause=cause)))
    world = World(sink, clock=Clock(), drain=0.0)
    async with world.open(leaves_undelivered=True):
        await world.submit(sale("a"))
        await world.until(lambda: world.events_of(LaneHeld))

    assert world.events_of(LaneHeld)[0].cause == cause


@pytest.mark.asyncio
async def test_a_held_lane_resumes_after_a_delivered_probe():
    clock = Clock()
    sink = FakeSink(answer=Service(NeedsOperator("token expired")))
    world = World(sink, clock=clock, hold_probe=300.0)
    async with world.open():
        deliveries = await world.submit(*sales(5))
        await world.until(lambda: world.events_of(LaneHeld))
        sink.answer = Service()
        clock.now += 300
        world.dispatcher.wake()
        for delivery in deliveries:
            await delivery

    assert [len(call) for call in sink.calls] == [5, 1, 4]
    assert len(world.events_of(LaneHeld)) == len(world.events_of(LaneResumed)) == 1


@pytest.mark.asyncio
async def test_a_lane_is_held_once_even_if_earlier_requests_succeed():
    late = BlockingAnswer()

    async def answer(batch):
        if batch == ["e0"]:
            await late([])
        else:
            raise NeedsOperator("token expired")

    sink = FakeSink(answer=answer, batch=1, concurrency=3)
    world = World(sink, clock=Clock(), drain=0.01)
    async with world.open(leaves_undelivered=True):
        (first, *_) = await world.submit(*sales(5))
        await world.until(lambda: world.events_of(LaneHeld))
        late.open()
        await first
        await run_ready_tasks()
        assert world.dispatcher.states()["anytrack"] is LaneState.HELD

    assert len(world.events_of(LaneHeld)) == 1
    assert not world.events_of(LaneResumed)


@pytest.mark.asyncio
async def test_conversions_released_by_a_held_lane_go_first():
    sink = FakeSink(answer=Service(NeedsOperator("token expired")), batch=2)
    world = World(sink, clock=Clock(), hold_probe=300.0)
    async with world.open():
        await world.submit(*sales(4))
        await world.until(lambda: world.events_of(LaneHeld))
        await run_ready_tasks()
        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        await world.until(lambda: len(sink.delivered) == 4)

    # The probe is a random one of the first two.
    assert sorted(sink.delivered[:2]) == ["e0", "e1"]
    assert sink.delivered[2:] == ["e2", "e3"]


@pytest.mark.asyncio
async def test_a_resumed_lane_that_closes_delivers_the_rest():
    sink = FakeSink(answer=Service(NeedsOperator("token expired")))
    world = World(sink, clock=Clock(), hold_probe=300.0)
    async with world.open():
        deliveries = await world.submit(*sales(3))
        await world.until(lambda: world.events_of(LaneHeld))
        sink.answer = Service()
        world.dispatcher.resume("anytrack")

    assert [(await delivery).delivered for delivery in deliveries] == [True] * 3


def test_a_held_lane_does_not_delay_closing():
    # The next probe is due long before the drain ends; waiting for it would deliver nothing.
    sink = FakeSink(answer=Service(NeedsOperator("token expired")))

    async def scenario(clock):
        world = World(sink, clock=clock, hold_probe=0.5, drain=15.0)
        async with world.open(leaves_undelivered=True):
            await world.submit(*sales(3))
            await world.until(lambda: world.events_of(LaneHeld))

    assert run_virtual(scenario) < 0.5
    assert len(sink.calls) == 1
