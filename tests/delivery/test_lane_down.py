"""A lane with a destination that is down, or that one conversion makes fail."""

import anyio
import pytest

from anytrack_async.delivery.flow import LaneState
from anytrack_async.destinations.sink import Unavailable
from anytrack_async.events import (
    DeadLettered,
    LaneDown,
    LaneResumed,
    Retried,
)
from anytrack_async.models.outcome import DELIVERED, Outcome
from anytrack_async.settings.http import Retry
from tests.delivery.doubles import Clock, FakeSink, Service, World, run_ready_tasks, sale, sales

pytestmark = pytest.mark.asyncio


async def test_a_destination_that_is_down_gets_one_probe_of_one_conversion_at_a_time():
    clock = Clock()
    sink = FakeSink(answer=Service(Unavailable("503")), batch=10, concurrency=4)
    world = World(sink, clock=clock, probe=Retry(base=10.0, cap=10.0))
    async with world.open():
        deliveries = await world.submit(*sales(100))
        await world.until(lambda: world.dispatcher.states()["anytrack"] is LaneState.DOWN)
        await run_ready_tasks()
        before = len(sink.calls)
        sink.peak = 0
        for _ in range(20):
            clock.now += 10
            world.dispatcher.wake()
            await run_ready_tasks()
        probes = sink.calls[before:]
        assert len(probes) == 20
        assert {len(probe) for probe in probes} == {1}
        assert sink.peak == 1

        sink.answer = Service()
        clock.now += 10
        world.dispatcher.wake()
        await run_ready_tasks()
        clock.now += 10
        world.dispatcher.wake()
        for delivery in deliveries:
            await delivery

    assert [type(event) for event in world.events if type(event) in (LaneDown, LaneResumed)] == [
        LaneDown,
        LaneResumed,
    ]
    assert not world.events_of(DeadLettered)


async def test_waiting_callers_can_see_the_reason():
    sink = FakeSink("meta", Service(Unavailable("503 from Meta", code="2")))
    clock = Clock()
    world = World(sink, clock=clock)
    async with world.open():
        (delivery, other) = await world.submit(*sales(2))
        await world.until(lambda: world.events_of(Retried))
        await run_ready_tasks()
        outcomes = [delivery.report.outcomes["meta"] for delivery in (delivery, other)]
        sink.answer = Service()
        clock.now += 3600
        world.dispatcher.wake()

    assert {(str(outcome.status), outcome.error, outcome.code) for outcome in outcomes} == {
        ("waiting", "503 from Meta", "2")
    }


async def test_attempts_made_while_the_service_is_down_do_not_count():
    clock = Clock()
    sink = FakeSink(answer=Service(Unavailable("503")), batch=10)
    world = World(sink, clock=clock)
    async with world.open():
        deliveries = await world.submit(*sales(3))
        for _ in range(100):
            clock.now += 60
            world.dispatcher.wake()
            await run_ready_tasks()
        assert len(sink.calls) > 50

        sink.answer = Service()
        clock.now += 60
        world.dispatcher.wake()
        reports = [await delivery for delivery in deliveries]

    assert max(report.outcomes["anytrack"].attempts for report in reports) <= 4
    assert not world.events_of(DeadLettered)


@pytest.mark.parametrize("poison", [1, 5])
async def test_probes_do_not_repeat_the_conversion_that_fails(poison):
    # Alone in the lane it looks as if the service were down; then others come.
    clock = Clock()
    bad = sales(poison, "bad")
    sink = FakeSink(answer=Service(poison=[conversion.event_id for conversion in bad]), batch=10)
    patient = Retry(attempts=8, base=1.0, cap=2.0)
    world = World(sink, clock=clock, retry=patient, probe=patient)
    async with world.open():
        await world.submit(*bad)
        while world.dispatcher.states()["anytrack"] is not LaneState.DOWN:
            clock.now += 1
            world.dispatcher.wake()
            await run_ready_tasks()
        deliveries = await world.submit(*sales(3))
        while not all(delivery.done() for delivery in deliveries):
            clock.now += 1
            world.dispatcher.wake()
            await run_ready_tasks()
        while len(world.events_of(DeadLettered)) < poison:
            clock.now += 0.5
            await world.submit(sale(f"f{clock.now}"))
            await run_ready_tasks()
        while (await world.outbox.depths())["anytrack"].waiting:
            clock.now += 1
            world.dispatcher.wake()
            await run_ready_tasks()

    assert sorted(event.event_id for event in world.events_of(DeadLettered)) == sorted(
        conversion.event_id for conversion in bad
    )
    assert "502 bad gateway" in world.events_of(DeadLettered)[0].reason


async def test_with_batches_of_one_the_conversion_that_fails_is_not_every_probe():
    clock = Clock()
    sink = FakeSink(answer=Service(poison=["bad0"]), batch=1, concurrency=1)
    patient = Retry(attempts=8, base=1.0, cap=2.0)
    world = World(sink, clock=clock, retry=patient, probe=patient, drain=0.1)
    async with world.open(leaves_undelivered=None):
        await world.submit(*sales(1, "bad"))
        while world.dispatcher.states()["anytrack"] is not LaneState.DOWN:
            clock.now += 1
            world.dispatcher.wake()
            await run_ready_tasks()
        deliveries = await world.submit(*sales(3))
        for _ in range(100):
            clock.now += 1
            world.dispatcher.wake()
            await run_ready_tasks()

    assert all(delivery.done() for delivery in deliveries)


@pytest.mark.parametrize("poison", [["e0"], ["e17"], ["e99"], ["e3", "e4", "e60"]])
async def test_only_the_conversion_that_makes_the_service_crash_dies(poison):
    sink = FakeSink(answer=Service(poison=poison), batch=100)
    world = World(sink)
    async with world.open():
        deliveries = await world.submit(*sales(100))
        good = [delivery for delivery in deliveries if delivery.event_id not in poison]
        for delivery in good:
            await delivery
        while len(world.events_of(DeadLettered)) < len(poison):
            await world.submit(sale(f"more{len(sink.calls)}"))
            await anyio.sleep(0.001)

    assert sorted(event.event_id for event in world.events_of(DeadLettered)) == poison
    assert not set(poison) & set(sink.delivered)


async def test_a_batch_that_fails_too_often_is_dead_with_the_last_reason():
    reasons = ["502", "503"]

    def answer(_):
        raise Unavailable(reasons.pop(0), code="E9")

    world = World(FakeSink(answer=answer), retry=Retry(attempts=2, base=0.001))
    async with world.open():
        reports = await world.deliver(*sales(3))
        dead = await world.dead()

    assert dead == dict.fromkeys(["e0", "e1", "e2"], "given up after 2 attempts and 0.0 h: 503")
    assert {report.outcomes["anytrack"].code for report in reports} == {"E9"}


async def test_failures_with_deliveries_between_do_not_stop_the_lane():
    fails = 0

    def answer(batch):
        nonlocal fails
        if "bad" in batch and fails < 5:
            fails += 1
            raise Unavailable("503")

    clock = Clock()
    world = World(FakeSink(answer=answer, batch=1), clock=clock)
    async with world.open():
        (bad,) = await world.submit(sale("bad"))
        while not bad.done():
            await world.deliver(sale(f"good{len(world.events)}"))
            clock.now += 1  # only now is the next attempt due, however slow the machine is
            world.dispatcher.wake()
            await run_ready_tasks()

    assert fails == 5
    assert not world.events_of(LaneDown)


async def test_a_failed_batch_waits_longer_with_every_attempt():
    # Others that pass must not make it use up its attempts within a second.
    clock = Clock()
    sink = FakeSink(answer=Service(poison=["bad"]), batch=1)
    world = World(sink, clock=clock, retry=Retry(attempts=8, base=64.0, cap=4096.0))
    async with world.open():
        await world.submit(sale("bad"))
        await run_ready_tasks()
        for number in range(600):
            clock.now += 1
            await world.submit(sale(f"good{number}"))
            await run_ready_tasks()
            if world.events_of(DeadLettered):
                break
        sink.answer = Service()
        clock.now += 10_000
        world.dispatcher.wake()

    waits = [event.seconds for event in world.events_of(Retried)]
    assert len(waits) < 8
    assert max(waits) > 60


async def test_deliveries_before_the_service_failed_are_settled():
    def answer(batch):
        if len(batch) == 3:
            raise Unavailable("503", outcomes=[DELIVERED, None, None])

    sink = FakeSink(answer=answer)
    world = World(sink)
    async with world.open():
        reports = await world.deliver(*sales(3))

    assert [report.outcomes["anytrack"].attempts for report in reports] == [1, 2, 2]
    assert sink.calls == [["e0", "e1", "e2"], ["e1", "e2"]]
    assert [event.event_ids for event in world.events_of(Retried)] == [["e1", "e2"]]


async def test_a_service_that_asks_to_retry_everything_is_down():
    sink = FakeSink(answer=lambda batch: [Outcome.retry("503")] * len(batch), batch=10)
    clock = Clock()
    world = World(sink, clock=clock, retry=Retry(attempts=8, base=60.0, cap=60.0))
    async with world.open():
        await world.submit(*sales(100))
        await world.until(lambda: world.events_of(LaneDown))
        await run_ready_tasks()
        assert len(sink.calls) < 10
        sink.answer = Service()
        clock.now += 3600
        world.dispatcher.wake()

    assert len(sink.delivered) == 100
