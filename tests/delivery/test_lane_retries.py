"""Retries, dead letters and the events of a lane."""

import attrs
import pytest

from anytrack_async.delivery.flow import LaneState
from anytrack_async.delivery.retry_rules import BatchFailure, failed_entry
from anytrack_async.destinations.sink import Unavailable
from anytrack_async.events import DeadLettered, Delivered, Retried
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.base import Entry
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry
from tests.delivery.doubles import (
    QUICK,
    BlockingAnswer,
    Clock,
    FakeSink,
    World,
    run_ready_tasks,
    sale,
    sales,
    statuses,
)

pytestmark = pytest.mark.asyncio


async def test_the_servers_hint_says_when_a_retry_is_due():
    clock = Clock()
    sink = FakeSink(answer=lambda _: [Outcome.retry("locked", after=100.0)])
    world = World(sink, clock=clock)
    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        await world.until(lambda: world.events_of(Retried))
        sink.answer = lambda _: None

        clock.now += 99
        world.dispatcher.wake()
        await run_ready_tasks()
        assert len(sink.calls) == 1

        clock.now += 1
        world.dispatcher.wake()
        await delivery

    (retried,) = world.events_of(Retried)
    assert retried.seconds == 100.0
    assert retried.reason == "locked"


async def test_retries_with_one_reason_are_one_event():
    again = True

    def answer(batch):
        nonlocal again
        first, again = again, False
        return [Outcome.retry("locked")] * len(batch) if first else None

    world = World(FakeSink(answer=answer))
    async with world.open():
        await world.deliver(*sales(50))

    assert [len(event.event_ids) for event in world.events_of(Retried)] == [50]


async def test_the_last_attempt_makes_a_conversion_dead_with_its_reason():
    tries = 0

    def answer(_):
        nonlocal tries
        tries += 1
        return [Outcome.retry(f"locked {tries}")]

    world = World(FakeSink(answer=answer))
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    outcome = report.outcomes["anytrack"]
    assert outcome.attempts == tries == 8
    assert outcome.error == "given up after 8 attempts and 0.0 h: locked 8"


async def test_a_conversion_older_than_max_age_is_dead():
    clock = Clock()
    sink = FakeSink(answer=lambda _: [Outcome.retry("locked")])
    world = World(sink, clock=clock, max_age=3600.0, retry=Retry(attempts=99, base=60, cap=60))
    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        for _ in range(70):
            await run_ready_tasks()
            if delivery.done():
                break
            clock.now += 60
            world.dispatcher.wake()
        report = await delivery

    assert "given up" in report.outcomes["anytrack"].error
    assert "1.0 h" in report.outcomes["anytrack"].error


async def test_delivered_events_carry_the_duration():
    clock = Clock()

    def answer(_):
        clock.now += 2.5

    world = World(FakeSink(answer=answer), clock=clock)
    async with world.open():
        await world.deliver(*sales(3))

    (delivered,) = world.events_of(Delivered)
    assert delivered.event_ids == ["e0", "e1", "e2"]
    assert delivered.seconds == 2.5
    assert delivered.destination == "anytrack"


async def test_conversions_for_other_destinations_are_skipped():
    anytrack, meta = FakeSink("anytrack"), FakeSink("meta")
    world = World(anytrack, meta)
    async with world.open():
        await world.submit(*sales(3, "all"))
        (only,) = await world.submit(sale("one"), to=["meta"])
        report = await only

    assert statuses(report) == {"meta": "delivered"}
    assert "one" not in anytrack.delivered
    assert "one" in meta.delivered


async def test_destinations_do_not_wait_for_one_another():
    keeper = BlockingAnswer()
    slow, fast = FakeSink("meta", keeper, batch=1), FakeSink("anytrack")
    world = World(slow, fast)
    async with world.open():
        deliveries = await world.submit(*sales(20))
        for delivery in deliveries:
            await delivery.at("anytrack")
        assert len(slow.calls) == 1
        keeper.open()

    assert len(slow.delivered) == len(fast.delivered) == 20


async def test_states_are_listed_by_destination():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        assert world.dispatcher.states() == {
            "anytrack": LaneState.RUNNING,
            "meta": LaneState.RUNNING,
        }
    assert world.dispatcher.states() == {}


async def test_the_history_has_the_words_of_a_failed_batch():
    clock = Clock()
    outbox = MemoryOutbox(clock=clock)
    sink = FakeSink(answer=unavailable)
    world = World(sink, outbox=outbox, clock=clock)
    async with world.open():
        delivery, other = await world.submit(sale("a"), sale("b"))
        await world.until(lambda: world.events_of(Retried))
        sink.answer = lambda _: None
        clock.now += 3_600
        world.dispatcher.wake()
        await delivery
        await other
        first, *_, last = await outbox.attempts("a")
        delivered_at = await outbox.delivered_at("b")

    assert (first.destination, first.http_status, first.status) == ("anytrack", 502, "waiting")
    assert "the proxy did not answer" in first.error
    assert (last.status, last.at) == ("delivered", clock.now)
    assert delivered_at == {"anytrack": clock.now}


def unavailable(_):
    raise Unavailable("the proxy did not answer", http_status=502)


# Attempts that were used up before: by processes that died, or because the limit was lowered


async def test_what_has_no_attempt_left_is_not_sent():
    clock = Clock()
    outbox = MemoryOutbox(clock=clock)
    await outbox.open(["anytrack"])
    await outbox.append(sales(2, "old"))
    claim = await outbox.claim("anytrack", 2, 60)
    await outbox.release(claim, due=clock.now, counts_as_attempt=True)
    await outbox.append(sales(2, "new"))
    await outbox.aclose()
    sink = FakeSink()
    settings = attrs.evolve(QUICK, retry=Retry(attempts=1))
    world = World(sink, outbox=outbox, clock=clock, settings=settings)
    async with world.open():
        await world.until(lambda: len(world.events_of(DeadLettered)) == 2)
        letters = await outbox.dead_letters()

    assert sink.calls == [["new0", "new1"]]
    assert [letter.conversion.event_id for letter in letters] == ["old0", "old1"]
    assert {(letter.error, letter.attempts) for letter in letters} == {
        ("given up after 1 attempts of at most 1", 1)
    }


async def test_the_dead_letter_says_that_its_worker_died():
    entry = Entry(seq=7, conversion=sale("a"), attempts=3, accepted_at=0.0)
    settings = DeliverySettings(retry=Retry(attempts=3))

    failed = failed_entry(entry, None, BatchFailure(reason=""), settings, 1.0, lost_leases=3)

    assert failed.due is None
    assert failed.attempts == 3
    assert "its worker died or was too late 3 times" in failed.error
