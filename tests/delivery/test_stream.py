"""`track_many`: everything in, one report each, however source, consumer or client end."""

import anyio
import pytest

from anytrack_async.delivery.stream import track_many
from anytrack_async.errors import (
    ClosedError,
    ConfigurationError,
    QueueFullError,
    UndeliveredError,
)
from anytrack_async.events import Submitted
from anytrack_async.models import Outcome
from anytrack_async.outbox import MemoryOutbox, SQLiteOutbox
from tests.delivery.doubles import FakeSink, Gatekeeper, World, calm, sale, sales, statuses

pytestmark = pytest.mark.asyncio


def stream(world, source, *, to=None, at=None, in_flight=10_000):
    return track_many(world.dispatcher, source, to=to, at=at, in_flight=in_flight)


async def ids_of(reports, finished=None):
    finished = [] if finished is None else finished
    async for report in reports:
        finished.append(report.event_id)
    return finished


async def asynchronous(conversions):
    for one in conversions:
        yield one


@pytest.mark.parametrize("kind", [list, iter, asynchronous], ids=["list", "sync", "async"])
@pytest.mark.parametrize("count", [0, 1, 1201])
async def test_every_conversion_is_reported_once(kind, count):
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        reports = [report async for report in stream(world, kind(sales(count)))]

    assert sorted(report.event_id for report in reports) == sorted(f"e{at}" for at in range(count))
    assert all(report.delivered for report in reports)


async def test_reports_come_in_the_order_of_finishing():
    keeper = Gatekeeper()

    async def answer(batch):
        if batch == ["e0"]:
            await keeper(batch)

    world = World(FakeSink(answer=answer, batch=1, concurrency=2))
    finished = []
    async with world.open():
        async for report in stream(world, sales(5)):
            finished.append(report.event_id)
            if len(finished) == 4:
                keeper.open()

    assert finished == ["e1", "e2", "e3", "e4", "e0"]


@pytest.mark.parametrize("in_flight", [1, 7, 100])
async def test_the_source_is_read_only_as_fast_as_reports_are_taken(in_flight):
    given = 0

    async def source():
        nonlocal given
        for one in sales(500):
            given += 1
            yield one

    taken = 0
    ahead = []
    world = World()
    async with world.open():
        async for _ in stream(world, source(), in_flight=in_flight):
            taken += 1
            await calm()
            ahead.append(given - taken)

    assert given == taken == 500
    # In flight, unread, and what the reader holds for the next two steps.
    assert max(ahead) <= 3 * in_flight + 1


async def test_no_more_than_in_flight_are_accepted_and_unreported():
    keeper = Gatekeeper()
    sink = FakeSink(answer=keeper)
    world = World(sink)
    async with world.open(), anyio.create_task_group() as tg:
        tg.start_soon(ids_of, stream(world, iter(sales(100)), in_flight=20))
        await world.until(lambda: sink.busy)
        await anyio.sleep(0.02)
        assert (await world.outbox.depths())["anytrack"].waiting == 20
        keeper.open()

    assert len(sink.taken) == 100


async def test_the_source_goes_on_before_all_reports_are_taken():
    given = 0

    async def source():
        nonlocal given
        for one in sales(100):
            given += 1
            yield one

    world = World()
    async with world.open():
        reports = stream(world, source(), in_flight=20)
        for _ in range(5):
            await anext(reports)
        before = given
        for _ in range(13):
            await anext(reports)
            await calm()
        assert given > before
        await reports.aclose()


async def test_an_item_of_a_slow_source_never_waits_for_the_next():
    reported = anyio.Event()

    async def source():
        yield sale("a")
        await reported.wait()
        yield sale("b")

    world = World()
    async with world.open():
        async for report in stream(world, source()):
            if report.event_id == "a":
                reported.set()

    assert world.sinks[0].calls == [["a"], ["b"]]


async def test_a_slow_source_may_wait_for_ever_while_reports_come():
    async def source():
        yield sale("a")
        await anyio.sleep_forever()

    world = World()
    async with world.open():
        reports = stream(world, source())
        with anyio.fail_after(2):
            assert (await anext(reports)).event_id == "a"
        await reports.aclose()


# Which destinations


async def test_at_none_reports_what_is_written_down():
    keeper = Gatekeeper()
    world = World(FakeSink(answer=keeper))
    async with world.open():
        reports = [report async for report in stream(world, sales(5), at=())]
        assert {statuses(report)["anytrack"] for report in reports} == {"waiting"}
        keeper.open()

    assert len(world.sinks[0].taken) == 5


async def test_at_one_does_not_wait_for_another_that_is_down():
    down = FakeSink("meta", Gatekeeper())
    world = World(FakeSink("anytrack"), down, drain=0.0)
    async with world.open(leaving=True):
        reports = [
            report async for report in stream(world, sales(1000), at=("anytrack",), in_flight=100)
        ]

    assert len(reports) == 1000
    assert {statuses(report)["anytrack"] for report in reports} == {"delivered"}
    assert not down.taken


async def test_to_says_whom_they_are_for():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        reports = [report async for report in stream(world, sales(3), to=["meta"])]

    assert [statuses(report) for report in reports] == [{"meta": "delivered"}] * 3
    assert not world.sinks[0].taken


@pytest.mark.parametrize(
    "wrong",
    [{"to": ["mata"]}, {"to": []}, {"at": ("mata",)}, {"to": ["meta"], "at": ["anytrack"]}],
)
async def test_a_destination_that_cannot_be_is_refused(wrong):
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        with pytest.raises(ConfigurationError):
            await ids_of(stream(world, sales(3), **wrong))

    assert not world.sinks[0].calls


async def test_nothing_in_flight_is_refused():
    world = World()
    async with world.open():
        with pytest.raises(ConfigurationError, match="at least 1"):
            await ids_of(stream(world, iter(sales(3)), in_flight=0))


async def test_one_that_was_accepted_for_others_only_is_reported():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        await world.submit(sale("a"), to=["anytrack"])
        with anyio.fail_after(2):
            reports = [report async for report in stream(world, [sale("a")], at=["meta"])]

    assert list(reports[0].outcomes) == ["anytrack"]


# Repeats and conflicts


async def test_repeats_in_the_source_are_sent_once_and_reported_each_time():
    world = World()
    async with world.open():
        source = [sale("a"), sale("b"), sale("a"), *sales(600), sale("a")]
        finished = await ids_of(stream(world, source))

    assert len(finished) == len(source)
    assert finished.count("a") == 3
    assert world.sinks[0].taken.count("a") == 1


async def test_a_second_import_sends_nothing_and_reports_all():
    world = World()
    async with world.open():
        await ids_of(stream(world, sales(700)))
        reports = [report async for report in stream(world, iter(sales(700)))]

    assert len(reports) == 700
    assert all(report.delivered for report in reports)
    assert len(world.sinks[0].taken) == 700


async def test_a_conflict_is_reported_and_stops_nothing():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        source = [sale("a"), sale("a", revenue=2), sale("b")]
        reports = [report async for report in stream(world, source)]

    (conflict,) = [one for one in reports if "conflict" in statuses(one).values()]
    assert conflict.event_id == "a"
    assert statuses(conflict) == {"anytrack": "conflict", "meta": "conflict"}
    assert "which stands" in conflict.outcomes["meta"].error
    assert len(reports) == 3


async def test_what_a_destination_refuses_is_reported_dead():
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
    for one in sales(count):
        yield one
    raise exc


@pytest.mark.parametrize("source", [broken_sync, broken_async])
async def test_the_sources_own_exception_comes_after_the_reports_of_all_it_gave(source):
    mine = LookupError("row 701")
    world = World()
    finished = []
    async with world.open():
        with pytest.raises(LookupError) as caught:
            await ids_of(stream(world, source(700, mine)), finished)

    assert caught.value is mine
    assert len(finished) == 700


async def test_an_item_that_is_no_conversion_ends_it_after_all_before_it():
    world = World()
    finished = []
    async with world.open():
        with pytest.raises(TypeError, match="got dict"):
            await ids_of(stream(world, iter([*sales(3), {}, *sales(3, "f")])), finished)

    assert sorted(finished) == world.sinks[0].taken == ["e0", "e1", "e2"]


async def test_a_full_outbox_only_slows_it_down():
    world = World(FakeSink(batch=3), outbox=MemoryOutbox(capacity=7))
    async with world.open():
        assert len(await ids_of(stream(world, sales(100)))) == 100


async def test_a_full_outbox_that_must_raise_ends_it():
    world = World(
        FakeSink(answer=Gatekeeper()), outbox=MemoryOutbox(capacity=3), on_full="raise", drain=0.0
    )
    async with world.open(leaving=True):
        with pytest.raises(QueueFullError):
            await ids_of(stream(world, sales(100), at=()))


# Consumers and clients that end early


async def test_a_consumer_that_breaks_stops_the_source_but_not_the_delivery():
    given = 0

    async def source():
        nonlocal given
        for one in sales(10_000):
            given += 1
            yield one

    world = World()
    async with world.open():
        async for _ in stream(world, source(), in_flight=50):
            break
        await calm()
        stopped = given
        await calm()
        assert given == stopped < 1000

    accepted = sum(len(event.event_ids) for event in world.told(Submitted))
    assert len(world.sinks[0].taken) == accepted > 1


async def test_a_consumer_that_is_cancelled_stops_the_source():
    given = 0

    async def source():
        nonlocal given
        while True:
            given += 1
            yield sale(f"e{given}")
            await calm()

    world = World()
    async with world.open():
        with anyio.move_on_after(0.05):
            await ids_of(stream(world, source()))
        await calm()
        stopped = given
        await anyio.sleep(0.01)
        assert given == stopped


async def test_closing_the_client_ends_it():
    async def source():
        yield sale("a")
        await anyio.sleep_forever()

    world = World()
    finished = []

    async def consume():
        with pytest.raises(ClosedError, match="may not have been accepted"):
            await ids_of(stream(world, source()), finished)

    async with anyio.create_task_group() as tg, world.open():
        tg.start_soon(consume)
        await world.until(lambda: finished)

    assert finished == ["a"]


async def test_closing_the_client_reports_what_is_delivered_meanwhile():
    keeper = Gatekeeper()
    world = World(FakeSink(answer=keeper))
    finished = []

    async def consume():
        async for report in stream(world, sales(5)):
            finished.append(report.event_id)

    async with anyio.create_task_group() as tg, world.open():
        tg.start_soon(consume)
        await world.until(lambda: world.sinks[0].busy)
        keeper.open()

    assert len(finished) == 5


async def test_closing_the_client_with_some_undelivered_says_so():
    world = World(FakeSink(answer=Gatekeeper()), drain=0.02)

    async def consume():
        with pytest.raises(UndeliveredError):
            await ids_of(stream(world, sales(5)))

    async with anyio.create_task_group() as tg, world.open(leaving=True):
        tg.start_soon(consume)
        await world.until(lambda: world.sinks[0].busy)


async def test_a_client_that_is_not_open_takes_nothing():
    with pytest.raises(ClosedError):
        await ids_of(stream(World(), sales(3)))


async def test_several_at_once_share_the_lanes():
    world = World(FakeSink(batch=10, concurrency=2))
    results = []

    async def consume(prefix):
        results.append(await ids_of(stream(world, iter(sales(200, prefix)), in_flight=30)))

    async with world.open(), anyio.create_task_group() as tg:
        for prefix in "abc":
            tg.start_soon(consume, prefix)

    assert [len(one) for one in results] == [200, 200, 200]


async def test_it_fills_a_durable_outbox(tmp_path):
    world = World(FakeSink(batch=500), outbox=SQLiteOutbox(tmp_path / "outbox.db"))
    async with world.open():
        finished = await ids_of(stream(world, iter(sales(2000)), in_flight=600))

    assert len(set(finished)) == 2000
    assert len(world.sinks[0].taken) == 2000
