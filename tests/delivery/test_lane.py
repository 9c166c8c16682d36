"""A lane with a destination that delivers."""

import logging

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anytrack_async.models.outcome import DELIVERED, Outcome
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from tests.delivery.doubles import (
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


async def test_a_single_conversion_is_sent_at_once():
    world = World()
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert statuses(report) == {"anytrack": "delivered"}
    assert world.sinks[0].calls == [["a"]]


async def test_an_idle_lane_yields_before_it_claims():
    world = World()
    async with world.open():
        await run_ready_tasks()
        first = await world.dispatcher.submit([sale("a")])
        await checkpoint()
        assert not world.sinks[0].calls
        second = await world.dispatcher.submit([sale("b")])
        for delivery in (*first, *second):
            await delivery

    assert world.sinks[0].calls == [["a", "b"]]


async def test_a_healthy_run_logs_nothing(caplog):
    caplog.set_level(logging.INFO)
    async with World().open() as world:
        await world.deliver(*sales(5))

    assert not caplog.records


async def test_conversions_submitted_during_a_batch_form_the_next_batch():
    keeper = BlockingAnswer()
    sink = FakeSink(answer=keeper, batch=10)
    world = World(sink)
    async with world.open():
        await world.submit(sale("first"))
        await world.until(lambda: sink.busy)
        for conversion in sales(25):
            await world.submit(conversion)
        keeper.open()

    assert [len(call) for call in sink.calls] == [1, 10, 10, 5]
    assert sink.delivered == ["first", *(f"e{index}" for index in range(25))]


async def test_as_many_batches_are_in_flight_as_the_sink_allows():
    keeper = BlockingAnswer()
    sink = FakeSink(answer=keeper, batch=5, concurrency=3)
    world = World(sink)
    async with world.open():
        await world.submit(*sales(100))
        await world.until(lambda: sink.busy == 3)
        await run_ready_tasks()
        assert sink.busy == 3
        keeper.open()

    assert sink.peak == 3
    assert len(sink.delivered) == len(set(sink.delivered)) == 100


async def test_linger_waits_for_a_fuller_batch_every_time():
    sink = FakeSink()
    world = World(sink, linger=0.15)
    async with world.open():
        await run_ready_tasks()
        for wave in ("a", "b"):
            for conversion in sales(5, wave):
                await world.submit(conversion)
                await run_ready_tasks()
            await world.until(lambda wave=wave: f"{wave}4" in sink.delivered)

    assert [len(call) for call in sink.calls] == [5, 5]


async def test_linger_does_not_delay_a_full_batch():
    sink = FakeSink(batch=5)
    world = World(sink, linger=3600.0)
    async with world.open():
        await world.submit(*sales(15))
        await world.until(lambda: len(sink.delivered) == 15)


async def test_closing_does_not_wait_for_linger():
    sink = FakeSink()
    world = World(sink, linger=3600.0)
    async with world.open():
        await run_ready_tasks()
        await world.submit(sale("a"))
        await run_ready_tasks()
        assert not sink.calls

    assert sink.delivered == ["a"]


async def test_the_rate_limits_batches_per_second():
    clock = Clock()
    sink = FakeSink(batch=1, rate=2)
    world = World(sink, clock=clock)
    async with world.open():
        await world.submit(*sales(3))
        await world.until(lambda: sink.calls)
        for seconds, sent in [(0.0, 1), (0.4, 1), (0.1, 2), (0.4, 2), (0.1, 3)]:
            clock.now += seconds
            world.dispatcher.wake()
            await run_ready_tasks()
            assert len(sink.calls) == sent


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "file"])
async def test_a_lane_with_a_rate_drains_its_backlog_at_closing(durable, tmp_path):
    sink = FakeSink(batch=1, rate=200)
    outbox = SQLiteOutbox(tmp_path / "outbox.db") if durable else MemoryOutbox()
    world = World(sink, outbox=outbox)
    async with world.open():
        await world.submit(*sales(5))

    assert len(sink.delivered) == 5


async def test_outcomes_of_a_batch_are_settled_individually():
    def answer(batch):
        if len(batch) == 1:
            return None
        return [
            Outcome.delivered("r0"),
            Outcome.rejected("bad date", code="7"),
            Outcome.retry("locked"),
        ]

    world = World(FakeSink(answer=answer))
    async with world.open():
        reports = await world.deliver(*sales(3))
        dead = await world.dead()

    outcomes = [report.outcomes["anytrack"] for report in reports]
    assert [str(outcome.status) for outcome in outcomes] == ["delivered", "dead", "delivered"]
    assert [outcome.attempts for outcome in outcomes] == [1, 1, 2]
    assert outcomes[0].remote_id == "r0"
    assert outcomes[1].code == "7"
    assert dead == {"e1": "bad date"}
    assert world.sinks[0].calls[1:] == [["e2"]]


async def test_a_retry_wakes_a_worker_that_waits_for_work():
    # The idle worker went to sleep when nothing was due.
    keeper = BlockingAnswer()

    async def answer(_):
        if not keeper.gate.is_set():
            await keeper([])
            return [Outcome.retry("locked")]
        return [DELIVERED]

    sink = FakeSink(answer=answer, concurrency=2)
    world = World(sink, lease=3600.0)
    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        await world.until(lambda: sink.busy)
        await run_ready_tasks()
        keeper.open()
        with anyio.fail_after(2):
            await delivery


async def test_a_failed_batch_wakes_a_worker_that_waits_for_work():
    keeper = BlockingAnswer()

    async def answer(_):
        if not keeper.gate.is_set():
            await keeper([])
            raise OSError

    sink = FakeSink(answer=answer, concurrency=2)
    world = World(sink, lease=3600.0)
    async with world.open():
        deliveries = await world.submit(*sales(3))
        await world.until(lambda: sink.busy)
        await run_ready_tasks()
        keeper.open()
        with anyio.fail_after(2):
            for delivery in deliveries:
                await delivery


async def test_a_worker_does_not_sleep_on_a_failed_batch():
    def answer(batch):
        if "e0" in batch:
            return [Outcome.retry("locked", after=3600.0)]
        return None

    sink = FakeSink(answer=answer, batch=1)
    world = World(sink, clock=Clock(), drain=0.05)
    async with world.open(leaves_undelivered=True):
        await world.submit(*sales(3))
        await world.until(lambda: len(sink.delivered) == 2)

    assert sink.delivered == ["e1", "e2"]
