"""What a conversion costs: no task, no blocked event loop, flat memory."""

import asyncio
import gc
import time
import tracemalloc

import anyio
import pytest

from anytrack_async.delivery.track_many import track_many
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import BlockingAnswer, FakeSink, World, run_ready_tasks, sale, sales

pytestmark = pytest.mark.asyncio


async def test_no_task_is_created_per_conversion():
    created = 0

    def counting(loop, coro, **options):
        nonlocal created
        created += 1
        return asyncio.Task(coro, loop=loop, **options)

    sinks = [FakeSink(name, batch=500, concurrency=4) for name in ("anytrack", "meta", "hubspot")]
    world = World(*sinks, prune_every=3600.0)
    async with world.open():
        await run_ready_tasks()
        asyncio.get_running_loop().set_task_factory(counting)
        deliveries = []
        for conversion in sales(3000):
            deliveries += await world.submit(conversion)
        for delivery in deliveries:
            await delivery
        asyncio.get_running_loop().set_task_factory(None)

    batches = sum(len(sink.calls) for sink in sinks)
    assert created <= batches + 5
    assert batches < 300


async def test_waiting_callers_need_no_task_of_the_library():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper, batch=1000))
    async with world.open():
        deliveries = await world.submit(*sales(1000))
        await world.until(lambda: world.sinks[0].busy)
        assert len(asyncio.all_tasks()) < 12
        keeper.open()
        for delivery in deliveries:
            await delivery


async def test_a_full_batch_with_waiting_callers_does_not_block_the_event_loop():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper, batch=1000), outbox=MemoryOutbox(capacity=20_000))
    longest = 0.0

    async def beat():
        nonlocal longest
        while True:
            before = time.thread_time()  # what else the machine does is not counted
            await anyio.lowlevel.checkpoint()
            longest = max(longest, time.thread_time() - before)

    async with world.open():
        deliveries = await world.submit(*sales(5000))
        await world.until(lambda: world.sinks[0].busy)
        gc.collect()
        gc.disable()
        try:
            async with anyio.create_task_group() as tg:
                tg.start_soon(beat)
                keeper.open()
                for delivery in deliveries:
                    await delivery
                tg.cancel_scope.cancel()
        finally:
            gc.enable()

    assert longest < 0.1


async def test_the_callers_of_a_full_batch_are_notified_in_slices():
    world = World(FakeSink(batch=1000))
    steps, seen = 0, set()

    async def step():
        nonlocal steps
        while True:
            await anyio.lowlevel.checkpoint()
            steps += 1

    async with world.open(), anyio.create_task_group() as tg:
        tg.start_soon(step)
        deliveries = await world.submit(*sales(1000))
        for delivery in deliveries:
            delivery.watch(lambda _: seen.add(steps))
        for delivery in deliveries:
            await delivery
        tg.cancel_scope.cancel()

    assert len(seen) == 10


async def test_batches_leave_nothing_behind():
    def scopes():
        gc.collect()
        return sum(isinstance(item, anyio.CancelScope) for item in gc.get_objects())

    world = World(FakeSink(batch=1))
    async with world.open():
        await world.deliver(*sales(5))
        before = scopes()
        await world.deliver(*sales(100, "f"))
        for prefix in ("g", "h", "i", "j", "k", "l"):
            reports = track_many(world.dispatcher, sales(3, prefix), to=None, at=None, in_flight=10)
            assert len([report async for report in reports]) == 3
        assert scopes() <= before + 5


async def test_a_long_stream_takes_flat_memory():
    world = World(FakeSink(batch=500), outbox=MemoryOutbox(remember_ids=1000), prune_every=0.01)
    at_start = peak = 0

    def source():
        for number in range(6_000):
            yield sale(f"e{number}")

    async with world.open():
        tracemalloc.start()
        try:
            count = 0
            reports = track_many(world.dispatcher, source(), to=None, at=None, in_flight=500)
            async for _ in reports:
                count += 1
                if count == 2000:
                    at_start = tracemalloc.get_traced_memory()[0]
                elif count > 2000 and count % 500 == 0:
                    peak = max(peak, tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()

    assert count == 6_000
    assert peak < at_start + 1_500_000
