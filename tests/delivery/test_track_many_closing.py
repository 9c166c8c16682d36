"""`track_many`: consumers and clients that end early."""

import anyio
import pytest

from anytrack_async.errors import (
    ClosedError,
    UndeliveredError,
)
from anytrack_async.events import Submitted
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from tests.delivery.doubles import (
    BlockingAnswer,
    FakeSink,
    World,
    ids_of,
    run_ready_tasks,
    sale,
    sales,
    stream,
)

pytestmark = pytest.mark.asyncio


async def test_a_consumer_that_breaks_stops_the_source_but_not_the_delivery():
    yielded = 0

    async def source():
        nonlocal yielded
        for conversion in sales(10_000):
            yielded += 1
            yield conversion

    world = World()
    async with world.open():
        async for _ in stream(world, source(), in_flight=50):
            break
        await run_ready_tasks()
        stopped = yielded
        await run_ready_tasks()
        assert yielded == stopped < 1000

    accepted = sum(len(event.event_ids) for event in world.events_of(Submitted))
    assert len(world.sinks[0].delivered) == accepted > 1


async def test_a_consumer_that_is_cancelled_stops_the_source():
    yielded = 0

    async def source():
        nonlocal yielded
        while True:
            yielded += 1
            yield sale(f"e{yielded}")
            await run_ready_tasks()

    world = World()
    async with world.open():
        with anyio.move_on_after(0.05):
            await ids_of(stream(world, source()))
        await run_ready_tasks()
        stopped = yielded
        await anyio.sleep(0.01)
        assert yielded == stopped


async def test_closing_the_client_ends_track_many():
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


async def test_closing_the_client_still_reports_deliveries():
    keeper = BlockingAnswer()
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
    world = World(FakeSink(answer=BlockingAnswer()), drain=0.02)

    async def consume():
        with pytest.raises(UndeliveredError):
            await ids_of(stream(world, sales(5)))

    async with anyio.create_task_group() as tg, world.open(leaves_undelivered=True):
        tg.start_soon(consume)
        await world.until(lambda: world.sinks[0].busy)


async def test_track_many_needs_an_open_client():
    with pytest.raises(ClosedError):
        await ids_of(stream(World(), sales(3)))


async def test_several_streams_share_the_lanes():
    world = World(FakeSink(batch=10, concurrency=2))
    results = []

    async def consume(prefix):
        results.append(await ids_of(stream(world, iter(sales(200, prefix)), in_flight=30)))

    async with world.open(), anyio.create_task_group() as tg:
        for prefix in "abc":
            tg.start_soon(consume, prefix)

    assert [len(item) for item in results] == [200, 200, 200]


async def test_track_many_fills_a_durable_outbox(tmp_path):
    world = World(FakeSink(batch=500), outbox=SQLiteOutbox(tmp_path / "outbox.db"))
    async with world.open():
        finished = await ids_of(stream(world, iter(sales(2000)), in_flight=600))

    assert len(set(finished)) == 2000
    assert len(world.sinks[0].delivered) == 2000
