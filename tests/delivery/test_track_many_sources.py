import threading
import time
from collections import deque
from decimal import Decimal

import anyio
import pytest

from anytrack_async.delivery.track_many import feed
from anytrack_async.errors import DeliveryError, InvalidConversionError
from anytrack_async.models.answers import RecordedConversion
from anytrack_async.models.conversion import Conversion, ConversionType
from tests.delivery.doubles import ids, sale, sales

pytestmark = pytest.mark.asyncio


class Collector:
    def __init__(self):
        self.batches = []

    async def __call__(self, batch):
        self.batches.append(ids(batch))

    @property
    def all(self):
        return [conversion for batch in self.batches for conversion in batch]


async def feed_all(source, size=3):
    collector = Collector()
    with anyio.fail_after(5):
        await feed(source, collector, size)
    return collector


async def stream(conversions, fail_with=None):
    for conversion in conversions:
        await anyio.lowlevel.checkpoint()
        yield conversion
    if fail_with:
        raise fail_with


def generator(conversions, fail_with=None):
    yield from conversions
    if fail_with:
        raise fail_with


def recorded(revenue, event_id):
    return RecordedConversion(
        conversion_type=ConversionType.SALE, revenue=Decimal(revenue), event_id=event_id
    )


KINDS = [list, tuple, deque, generator, stream]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 3, 7])
async def test_everything_arrives_once_in_order_in_small_batches(kind, count):
    collector = await feed_all(kind(sales(count)))

    assert collector.all == [f"e{index}" for index in range(count)]
    assert all(1 <= len(batch) <= 3 for batch in collector.batches)


@pytest.mark.parametrize("kind", [list, tuple, deque, generator])
async def test_a_fast_source_is_read_in_full_batches(kind):
    collector = await feed_all(kind(sales(7)))

    assert [len(batch) for batch in collector.batches] == [3, 3, 1]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_item_of_another_type_ends_the_feed(kind):
    collector = Collector()
    with pytest.raises(TypeError, match="got dict"):
        await feed(kind([*sales(4), {"revenue": 1}, *sales(2)]), collector, 3)

    assert collector.all == ["e0", "e1", "e2", "e3"]


@pytest.mark.parametrize("kind", [generator, stream])
async def test_the_sources_exception_is_raised_after_all_before_it(kind):
    broken, collector = LookupError("row 5"), Collector()
    with pytest.raises(LookupError) as caught:
        await feed(kind(sales(4), broken), collector, 3)

    assert caught.value is broken
    assert collector.all == ["e0", "e1", "e2", "e3"]


@pytest.mark.parametrize("kind", [list, generator, stream])
async def test_an_exception_of_submit_ends_the_feed(kind):
    async def submit(_):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"), anyio.fail_after(5):
        await feed(kind(sales(100)), submit, 3)


async def test_a_source_that_is_not_iterable_is_an_error():
    with pytest.raises(TypeError, match="not iterable"):
        await feed_all(sale("a"))


async def test_a_sync_source_runs_in_a_thread():
    threads = set()

    def source():
        threads.add(threading.current_thread())
        yield sale("a")

    await feed_all(source())

    assert threads
    assert threading.main_thread() not in threads


async def test_items_of_a_slow_sync_source_are_passed_on_in_time():
    collected = anyio.Event()
    done = threading.Event()

    def source():
        yield from sales(3)
        time.sleep(0.06)
        yield sale("late")
        assert done.wait(5)

    async def submit(_):
        collected.set()
        done.set()

    with anyio.fail_after(5):
        await feed(source(), submit, 500)


async def test_an_item_of_an_async_source_never_waits_for_the_next():
    collector = Collector()
    seen = anyio.Event()

    async def submit(batch):
        await collector(batch)
        seen.set()

    async def source():
        yield sale("a")
        await seen.wait()
        yield sale("b")

    with anyio.fail_after(5):
        await feed(source(), submit, 500)

    assert collector.batches == [["a"], ["b"]]


async def test_an_async_source_is_read_no_further_than_one_batch_ahead():
    yielded, gate = [], anyio.Event()

    async def source():
        for conversion in sales(100):
            yielded.append(conversion)
            yield conversion

    async def submit(_):
        await gate.wait()

    async with anyio.create_task_group() as tg:
        tg.start_soon(feed, source(), submit, 10)
        await anyio.wait_all_tasks_blocked()
        assert len(yielded) <= 20
        gate.set()

    assert len(yielded) == 100


async def test_a_cancelled_source_is_an_error():
    async def source():
        yield sale("a")
        raise anyio.get_cancelled_exc_class()

    collector = Collector()
    with pytest.raises(DeliveryError, match="before its end"), anyio.fail_after(5):
        await feed(source(), collector, 3)

    assert collector.all == ["a"]


async def test_cancel_does_not_wait_for_a_stuck_source():
    stuck = threading.Event()

    def source():
        yield sale("a")
        stuck.wait(5)

    started = time.monotonic()
    with anyio.move_on_after(0.05):
        await feed(source(), Collector(), 1)
    took = time.monotonic() - started
    stuck.set()

    assert took < 2


async def test_a_sync_source_does_not_block_the_event_loop():
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await anyio.sleep(0.001)
            beats += 1

    def source():
        for conversion in sales(4):
            time.sleep(0.02)
            yield conversion

    async with anyio.create_task_group() as tg:
        tg.start_soon(beat)
        await feed_all(source())
        tg.cancel_scope.cancel()

    assert beats > 10


@pytest.mark.parametrize("kind", KINDS)
async def test_conversions_that_were_read_back_are_validated(kind):
    batches = []

    async def collect(batch):
        batches.extend(batch)

    source = kind([*sales(1), recorded(5, "r1"), recorded(-5, "r2"), *sales(1)])
    with pytest.raises(InvalidConversionError, match=r"^revenue must not be negative$"):
        await feed(source, collect, 3)

    assert ids(batches) == ["e0", "r1"]
    assert {type(conversion) for conversion in batches} == {Conversion}
