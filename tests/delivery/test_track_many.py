"""`track_many`: one report for each conversion, at the consumer's pace."""

import anyio
import pytest

from anytrack_async.errors import (
    ConfigurationError,
)
from tests.delivery.doubles import (
    BlockingAnswer,
    FakeSink,
    World,
    ids_of,
    run_ready_tasks,
    sale,
    sales,
    statuses,
    stream,
)

pytestmark = pytest.mark.asyncio


async def asynchronous(conversions):
    for conversion in conversions:
        yield conversion


@pytest.mark.parametrize("kind", [list, iter, asynchronous], ids=["list", "sync", "async"])
@pytest.mark.parametrize("count", [0, 1, 1201])
async def test_every_conversion_is_reported_once(kind, count):
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        reports = [report async for report in stream(world, kind(sales(count)))]

    assert sorted(report.event_id for report in reports) == sorted(
        f"e{index}" for index in range(count)
    )
    assert all(report.delivered for report in reports)


async def test_reports_come_in_the_order_of_finishing():
    keeper = BlockingAnswer()

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
    yielded = 0

    async def source():
        nonlocal yielded
        for conversion in sales(500):
            yielded += 1
            yield conversion

    reported = 0
    ahead = []
    world = World()
    async with world.open():
        async for _ in stream(world, source(), in_flight=in_flight):
            reported += 1
            await run_ready_tasks()
            ahead.append(yielded - reported)

    assert yielded == reported == 500
    # In flight, unread, and what the reader holds for the next two steps.
    assert max(ahead) <= 3 * in_flight + 1


async def test_no_more_than_in_flight_are_accepted_and_unreported():
    keeper = BlockingAnswer()
    sink = FakeSink(answer=keeper)
    world = World(sink)
    async with world.open(), anyio.create_task_group() as tg:
        tg.start_soon(ids_of, stream(world, iter(sales(100)), in_flight=20))
        await world.until(lambda: sink.busy)
        await anyio.sleep(0.02)
        assert (await world.outbox.depths())["anytrack"].waiting == 20
        keeper.open()

    assert len(sink.delivered) == 100


async def test_the_source_goes_on_before_all_reports_are_taken():
    yielded = 0

    async def source():
        nonlocal yielded
        for conversion in sales(100):
            yielded += 1
            yield conversion

    world = World()
    async with world.open():
        reports = stream(world, source(), in_flight=20)
        for _ in range(5):
            await anext(reports)
        before = yielded
        for _ in range(13):
            await anext(reports)
            await run_ready_tasks()
        assert yielded > before
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


async def test_empty_at_reports_accepted_conversions():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper))
    async with world.open():
        reports = [report async for report in stream(world, sales(5), at=())]
        assert {statuses(report)["anytrack"] for report in reports} == {"waiting"}
        keeper.open()

    assert len(world.sinks[0].delivered) == 5


async def test_at_does_not_wait_for_other_destinations():
    down = FakeSink("meta", BlockingAnswer())
    world = World(FakeSink("anytrack"), down, drain=0.0)
    async with world.open(leaves_undelivered=True):
        reports = [
            report async for report in stream(world, sales(1000), at=("anytrack",), in_flight=100)
        ]

    assert len(reports) == 1000
    assert {statuses(report)["anytrack"] for report in reports} == {"delivered"}
    assert not down.delivered


async def test_a_reported_delivery_is_no_longer_watched():
    keeper = BlockingAnswer()
    world = World(FakeSink("anytrack"), FakeSink("meta", keeper))
    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        await ids_of(stream(world, [sale("a")], at=["anytrack"]))
        assert not delivery.done()
        watched = delivery.awaited
        keeper.open()

    assert not watched


async def test_at_may_name_every_destination():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        reports = [report async for report in stream(world, sales(3), at=["meta", "anytrack"])]

    assert all(report.delivered for report in reports)


async def test_to_limits_the_destinations():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        reports = [report async for report in stream(world, sales(3), to=["meta"])]

    assert [statuses(report) for report in reports] == [{"meta": "delivered"}] * 3
    assert not world.sinks[0].delivered


@pytest.mark.parametrize(
    "wrong",
    [{"to": ["mata"]}, {"to": []}, {"at": ("mata",)}, {"to": ["meta"], "at": ["anytrack"]}],
)
async def test_an_unknown_destination_is_refused(wrong):
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        with pytest.raises(ConfigurationError):
            await ids_of(stream(world, sales(3), **wrong))

    assert not world.sinks[0].calls


async def test_in_flight_must_be_at_least_1():
    world = World()
    async with world.open():
        with pytest.raises(ConfigurationError, match="at least 1"):
            await ids_of(stream(world, iter(sales(3)), in_flight=0))


async def test_a_conversion_accepted_for_other_destinations_is_reported():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        await world.submit(sale("a"), to=["anytrack"])
        with anyio.fail_after(2):
            reports = [report async for report in stream(world, [sale("a")], at=["meta"])]

    assert list(reports[0].outcomes) == ["anytrack"]
