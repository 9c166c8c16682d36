"""`track_many`: repeats, contradictions, and sources that end or fail."""

import anyio
import pytest

from anytrack_async.delivery.track_many import _Stream
from anytrack_async.errors import ConflictError, QueueFullError
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import BlockingAnswer, FakeSink, World, ids_of, sale, sales, stream

pytestmark = pytest.mark.asyncio


async def test_repeats_in_the_source_are_sent_once_and_reported_each_time():
    world = World()
    async with world.open():
        source = [sale("a"), sale("b"), sale("a"), *sales(600), sale("a")]
        finished = await ids_of(stream(world, source))

    assert len(finished) == len(source)
    assert finished.count("a") == 3
    assert world.sinks[0].delivered.count("a") == 1


async def test_a_second_import_sends_nothing_and_reports_all():
    world = World()
    async with world.open():
        await ids_of(stream(world, sales(700)))
        reports = [report async for report in stream(world, iter(sales(700)))]

    assert len(reports) == 700
    assert all(report.delivered for report in reports)
    assert len(world.sinks[0].delivered) == 700


async def test_a_contradiction_is_reported_and_stops_nothing():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        source = [sale("a"), sale("a", revenue=2), sale("b")]
        reports = [report async for report in stream(world, source)]

    assert sorted(report.event_id for report in reports) == ["a", "a", "b"]
    assert all(report.delivered for report in reports)
    (contradiction,) = [report.contradicts for report in reports if report.contradicts]
    assert (contradiction.event_id, contradiction.repeat.revenue) == ("a", 2)


async def test_a_contradiction_of_a_delivered_conversion_is_reported_at_once():
    async def source():
        yield sale("a", revenue=2)
        await anyio.sleep_forever()

    world = World()
    async with world.open():
        await world.deliver(sale("a"))
        reports = stream(world, source())
        with anyio.fail_after(2):
            report = await anext(reports)
        await reports.aclose()

    assert report.delivered
    assert report.contradicts is not None


async def test_a_conflict_that_raises_comes_after_the_reports_of_all_that_was_read():
    world = World(on_conflict="raise")
    reported = []
    async with world.open():
        source = [sale("a"), sale("a", revenue=2), sale("b"), *sales(600)]
        with pytest.raises(ConflictError, match="'a' was accepted as sale 1 USD"):
            await ids_of(stream(world, source), reported)

    assert reported.count("a") == 2
    assert reported.count("b") == 1
    assert sorted(set(reported)) == sorted(world.sinks[0].delivered)
    assert len(reported) == 500  # one slice, without the rest of the source


async def test_a_consumer_that_waits_does_not_spin(monkeypatch):
    looks = 0
    change = _Stream._wait_for_change

    async def counted(self):
        nonlocal looks
        looks += 1
        await change(self)

    async def source():
        yield sale("a")
        await anyio.sleep(0.03)

    monkeypatch.setattr(_Stream, "_wait_for_change", counted)
    world = World()
    async with world.open():
        assert await ids_of(stream(world, source())) == ["a"]

    assert looks < 10


async def test_a_rejected_conversion_is_reported_dead():
    def answer(batch):
        return [Outcome.rejected("no")] * len(batch)

    world = World(FakeSink(answer=answer))
    async with world.open():
        reports = [report async for report in stream(world, sales(3))]

    assert {report.outcomes["anytrack"].error for report in reports} == {"no"}


# Sources that fail


def broken_sync(count, exc):
    yield from sales(count)
    raise exc


async def broken_async(count, exc):
    for conversion in sales(count):
        yield conversion
    raise exc


@pytest.mark.parametrize("source", [broken_sync, broken_async])
async def test_the_sources_exception_comes_after_all_reports(source):
    mine = LookupError("row 701")
    world = World()
    finished = []
    async with world.open():
        with pytest.raises(LookupError) as caught:
            await ids_of(stream(world, source(700, mine)), finished)

    assert caught.value is mine
    assert len(finished) == 700


async def test_an_item_of_another_type_ends_track_many():
    world = World()
    finished = []
    async with world.open():
        with pytest.raises(TypeError, match="got dict"):
            await ids_of(stream(world, iter([*sales(3), {}, *sales(3, "f")])), finished)

    assert sorted(finished) == world.sinks[0].delivered == ["e0", "e1", "e2"]


async def test_a_full_outbox_slows_track_many_down():
    world = World(FakeSink(batch=3), outbox=MemoryOutbox(capacity=7))
    async with world.open():
        assert len(await ids_of(stream(world, sales(100)))) == 100


async def test_a_full_outbox_that_raises_ends_track_many():
    world = World(
        FakeSink(answer=BlockingAnswer()),
        outbox=MemoryOutbox(capacity=3),
        on_full="raise",
        drain=0.0,
    )
    async with world.open(leaves_undelivered=True):
        with pytest.raises(QueueFullError):
            await ids_of(stream(world, sales(100), at=()))
