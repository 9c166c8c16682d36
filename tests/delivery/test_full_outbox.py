"""A full destination: batches stay full, it is told, waits end, and the others are not delayed.

Time is virtual: what is counted does not depend on the machine.
"""

import logging
from contextlib import suppress

import anyio
import pytest

from anytrack_async.delivery.room import Patience
from anytrack_async.destinations.sink import NeedsOperator
from anytrack_async.errors import QueueFullError
from anytrack_async.events import BackPressure, BackPressureEnded, Dropped
from anytrack_async.observers import LoggingObserver
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.settings.delivery import DeliverySettings
from tests.delivery.doubles import (
    BlockingAnswer,
    FakeSink,
    World,
    run_ready_tasks,
    sale,
    sales,
    statuses,
)
from tests.delivery.virtual_time import run_virtual

CAPACITY = 100
SETTINGS = DeliverySettings(drain=100_000.0, max_age=1e9)


class Latency:
    """Answers after some (virtual) seconds."""

    def __init__(self, seconds):
        self.seconds = seconds

    async def __call__(self, _):
        await anyio.sleep(self.seconds)


def sink_after(seconds, name="meta", *, batch=10, concurrency=6):
    return FakeSink(name, Latency(seconds), batch=batch, concurrency=concurrency)


def world_of(sink, clock):
    """Return a world with an outbox in memory for `CAPACITY` conversions."""
    outbox = MemoryOutbox(capacity=CAPACITY, clock=clock)
    return World(sink, outbox=outbox, clock=clock, settings=SETTINGS)


async def submit_in_loops(world, conversions, tasks, to=None, size=1):
    """Submit *conversions* from *tasks* tasks, each *size* at a time."""
    parts = iter([conversions[i : i + size] for i in range(0, len(conversions), size)])

    async def work():
        for part in parts:
            await world.dispatcher.submit(part, to, Patience.UNLIMITED)

    async with anyio.create_task_group() as tg:
        for _ in range(tasks):
            tg.start_soon(work)


def batches_of(*sinks, capacity, tasks=1, count=2_000, size=1):
    """Return, for each sink, how many batches it got for *count* conversions."""

    async def scenario(clock):
        outbox = MemoryOutbox(capacity=capacity, clock=clock)
        world = World(*sinks, outbox=outbox, clock=clock, settings=SETTINGS)
        async with world.dispatcher:
            await submit_in_loops(world, sales(count), tasks, size=size)

    seconds = run_virtual(scenario)
    for sink in sinks:
        assert len(sink.delivered) == len(set(sink.delivered)) == count
    return [len(sink.calls) for sink in sinks], seconds


# Batches


@pytest.mark.untraced
@pytest.mark.parametrize("tasks", [1, 10, 100, 1_000])
@pytest.mark.parametrize("latency", [0.0, 0.001, 0.05, 3.0])
def test_a_full_outbox_keeps_its_batches(tasks, latency):
    (roomy,), fastest = batches_of(sink_after(latency), capacity=10_000, tasks=tasks)
    (full,), seconds = batches_of(sink_after(latency), capacity=CAPACITY, tasks=tasks)

    assert full <= 1.3 * roomy
    assert seconds <= fastest / 0.8 + 0.2


@pytest.mark.parametrize("capacity", [10, 15, 60, 61, 70, 90])
def test_batches_stay_full_where_requests_in_flight_need_most_of_the_room(capacity):
    (roomy,), _ = batches_of(sink_after(0.05), capacity=10_000, tasks=100)
    (full,), _ = batches_of(sink_after(0.05), capacity=capacity, tasks=100)

    assert full <= 1.3 * roomy


def test_lists_larger_than_the_share_are_let_in():
    (batches,), _ = batches_of(sink_after(0.05), capacity=CAPACITY, tasks=7, size=80)

    assert batches <= 1.3 * 2_000 / 10


def test_two_destinations_of_different_speed_both_get_full_batches():
    slow, fast = sink_after(1.0, "slow", concurrency=1), sink_after(0.01, "fast")

    (slow_batches, fast_batches), seconds = batches_of(slow, fast, capacity=CAPACITY, tasks=50)

    assert slow_batches == 200
    assert fast_batches <= 1.3 * 200
    assert seconds == pytest.approx(200, rel=0.05)


@pytest.mark.asyncio
async def test_a_lane_sends_no_crumbs_while_callers_wait_and_a_request_is_out():
    keeper = BlockingAnswer()
    sink = FakeSink("meta", keeper, batch=10, concurrency=3)
    world = World(sink)

    async def submit(count, prefix):
        await world.submit(*sales(count, prefix))
        await run_ready_tasks()
        return [len(call) for call in sink.calls]

    async with world.open():
        assert await submit(3, "nothing in flight") == [3]
        world.dispatcher._admission.crowded.add("meta")  # as while callers wait for room
        assert await submit(4, "collected") == [3]
        assert await submit(6, "a full batch") == [3, 10]
        assert await submit(2, "collected too") == [3, 10]
        keeper.open()
        await world.until(lambda: len(sink.delivered) == 15)
        assert [len(call) for call in sink.calls] == [3, 10, 2]
        world.dispatcher._admission.crowded.clear()
        keeper.close()
        for number in range(3):
            await submit(1, f"nobody waits {number}")
        assert [len(call) for call in sink.calls] == [3, 10, 2, 1, 1, 1]
        keeper.open()


def test_a_lane_with_nothing_in_flight_sends_what_it_has():
    async def scenario(clock):
        sink = sink_after(0.5)
        world = world_of(sink, clock)
        async with world.open():
            began = clock()
            (delivery,) = await world.submit(sale("e"))
            await delivery
            assert clock() - began == pytest.approx(0.5, abs=0.01)
            assert len(sink.calls) == 1

    run_virtual(scenario)


def test_a_single_caller_waits_for_the_next_room_only():
    """Of a destination that makes little room, each caller gets it within a fifth of a second."""

    async def scenario(clock):
        sink = sink_after(1.0, batch=1, concurrency=1)
        world = world_of(sink, clock)
        async with world.dispatcher:
            await world.submit(*sales(CAPACITY))
            began = clock()
            await world.submit(sale("late"))
            assert clock() - began <= 1.25

    run_virtual(scenario)


# Cancellation


def test_cancelled_callers_take_no_room():
    async def scenario(clock):
        sink = sink_after(1.0)
        world = world_of(sink, clock)
        async with world.open():
            await world.submit(*sales(CAPACITY))
            with anyio.move_on_after(0.5):
                await submit_in_loops(world, sales(500, "cancelled"), 500)
            await world.submit(*sales(CAPACITY, "late"))
        assert len(sink.delivered) == 2 * CAPACITY

    run_virtual(scenario)


# Telling


def held(_):
    raise NeedsOperator("invalid token")


def test_back_pressure_is_told_once_for_all_callers(caplog):
    caplog.set_level(logging.INFO, "anytrack_async")

    async def scenario(clock):
        world = World(sink_after(0.2), outbox=MemoryOutbox(capacity=CAPACITY, clock=clock))
        async with world.open():
            await submit_in_loops(world, sales(3_000), 500)
            began, ended = world.events_of(BackPressure), world.events_of(BackPressureEnded)
            assert (len(began), len(ended)) == (1, 0)
            await anyio.sleep(5)
            assert len(world.events_of(BackPressureEnded)) == 1
        assert (began[0].destination, began[0].waiting) == ("meta", CAPACITY)
        assert began[0].since > 0

    run_virtual(scenario)


def test_a_held_destination_is_named_with_its_reason():
    async def scenario(clock):
        sink = FakeSink("hubspot", held)
        outbox = MemoryOutbox(capacity=CAPACITY, clock=clock)
        world = World(sink, outbox=outbox, clock=clock, accept_within=3.0)
        async with world.open(leaves_undelivered=True):
            await world.submit(*sales(CAPACITY))
            await anyio.sleep(1)
            began = clock()
            with pytest.raises(QueueFullError, match="held: invalid token") as caught:
                await world.submit(sale("late"))
            assert clock() - began == pytest.approx(3.0, abs=0.01)
            assert "client.use_token('hubspot', …)" in str(caught.value)
            assert caught.value.waiting == {"hubspot": CAPACITY}
            (event,) = world.events_of(BackPressure)
            assert (event.state, event.reason) == ("held", "invalid token")
            assert await outbox.reports(["late"]) == {}

    run_virtual(scenario)


def test_nothing_ends_before_half_of_the_room_is_free_again():
    async def scenario(clock):
        sink = FakeSink("meta", BlockingAnswer())
        outbox = MemoryOutbox(capacity=CAPACITY, clock=clock)
        world = World(sink, outbox=outbox, clock=clock, on_full="raise")
        async with world.open(leaves_undelivered=True):
            await world.submit(*sales(CAPACITY))
            for number in range(200):
                with suppress(QueueFullError):
                    await world.submit(sale(f"late{number}"))
                await anyio.sleep(0.01)
            assert len(world.events_of(BackPressure)) == 1
            assert not world.events_of(BackPressureEnded)
        assert len(world.events_of(BackPressureEnded)) == 1

    run_virtual(scenario)


# Patience


@pytest.mark.parametrize(
    ("patience", "fails_after"),
    [(Patience.LIMITED, 10.0), (Patience.WHILE_MOVING, None), (Patience.UNLIMITED, None)],
)
def test_a_list_waits_as_long_as_a_slow_destination_moves(patience, fails_after):
    async def scenario(clock):
        sink = sink_after(1.0, batch=1, concurrency=1)
        world = world_of(sink, clock)
        async with world.dispatcher:
            await world.submit(*sales(CAPACITY))
            began = clock()
            if fails_after is None:
                await world.dispatcher.submit(sales(50, "late"), None, patience)
                assert clock() - began == pytest.approx(50, abs=1.5)
                return
            with pytest.raises(QueueFullError, match="within 10 s"):
                await world.dispatcher.submit(sales(50, "late"), None, patience)
            assert clock() - began == pytest.approx(fails_after, abs=0.01)

    run_virtual(scenario)


def test_a_list_gives_up_when_nothing_moves():
    async def scenario(clock):
        world = World(FakeSink("meta", held), outbox=MemoryOutbox(capacity=CAPACITY), clock=clock)
        async with world.open(leaves_undelivered=True):
            await world.submit(*sales(CAPACITY))
            with pytest.raises(QueueFullError), anyio.fail_after(10.5):
                await world.dispatcher.submit(sales(5, "late"), None, Patience.WHILE_MOVING)

    run_virtual(scenario)


# Room of each destination


def test_a_held_destination_delays_no_conversion_that_is_not_for_it():
    async def scenario(clock):
        hubspot, meta = FakeSink("hubspot", held), sink_after(0.1)
        outbox = MemoryOutbox(capacity=CAPACITY, clock=clock)
        world = World(hubspot, meta, outbox=outbox, clock=clock)
        async with world.open(leaves_undelivered=True):
            await world.submit(*sales(CAPACITY))
            waiting = anyio.CancelScope()

            async def wait_for_hubspot():
                with waiting:
                    await world.submit(sale("for both"))

            async with anyio.create_task_group() as tg:
                tg.start_soon(wait_for_hubspot)
                await anyio.sleep(1)
                began = clock()
                await submit_in_loops(world, sales(1_000, "m"), 20, to=["meta"])
                assert clock() - began < 2
                assert [event.destination for event in world.events_of(BackPressure)][:1] == [
                    "hubspot"
                ]
                waiting.cancel()
            await anyio.sleep(2)
        assert len(meta.delivered) == CAPACITY + 1_000

    run_virtual(scenario)


# Shedding


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["memory", "SQLite"])
async def test_shed_conversions_are_dropped_for_the_full_destination_only(kind, tmp_path, caplog):
    caplog.set_level(logging.INFO, "anytrack_async")
    keeper = BlockingAnswer()
    meta, hubspot = FakeSink("meta"), FakeSink("hubspot", keeper)
    outbox = MemoryOutbox(capacity=5)
    if kind == "SQLite":
        outbox = SQLiteOutbox(tmp_path / "outbox.db", capacity=5)
    world = World(meta, hubspot, outbox=outbox, on_full="shed")
    logs = LoggingObserver()
    async with world.open():
        deliveries = []
        for number in range(20):
            (delivery,) = await world.submit(sale(f"e{number}"))
            await delivery.at("meta")
            deliveries.append(delivery)
        assert statuses(deliveries[4]) == {"meta": "delivered", "hubspot": "waiting"}
        assert statuses(deliveries[5]) == {"meta": "delivered", "hubspot": "dropped"}
        report = await deliveries[5]
        assert not report.delivered
        assert "hubspot is full" in report.outcomes["hubspot"].error
        drops = world.events_of(Dropped)
        assert {drop.destination for drop in drops} == {"hubspot"}
        assert [id_ for drop in drops for id_ in drop.event_ids] == [f"e{n}" for n in range(5, 20)]
        assert len(world.events_of(BackPressure)) == 1
        (again,) = await world.submit(sale("e5"))
        assert statuses(again)["meta"] == "delivered"
        assert statuses(await deliveries[5])["hubspot"] == "dropped"
        keeper.open()

    assert hubspot.delivered == [f"e{number}" for number in range(5)]
    assert len(meta.delivered) == 20
    for event in world.events:
        logs.notify(event)
    lines = [line for line in caplog.messages if "dropped" in line and "undelivered" in line]
    assert len(lines) == 2  # the first at once, the others when there is room again
    (ended,) = world.events_of(BackPressureEnded)
    assert ended.dropped == 15


@pytest.mark.asyncio
async def test_nothing_is_shed_if_every_destination_is_full():
    keeper = BlockingAnswer()
    sinks = FakeSink("meta", keeper), FakeSink("hubspot", keeper)
    world = World(*sinks, outbox=MemoryOutbox(capacity=5), on_full="shed")
    async with world.open():
        await world.submit(*sales(5))
        with pytest.raises(QueueFullError) as caught:
            await world.submit(sale("late"))
        assert caught.value.waiting == {"meta": 5, "hubspot": 5}
        assert not world.events_of(Dropped)
        keeper.open()


@pytest.mark.asyncio
async def test_a_list_is_shed_as_a_whole():
    keeper = BlockingAnswer()
    meta, hubspot = FakeSink("meta"), FakeSink("hubspot", keeper)
    world = World(meta, hubspot, outbox=MemoryOutbox(capacity=5), on_full="shed")
    async with world.open():
        await world.submit(*sales(3), to=["hubspot"])
        deliveries = await world.submit(*sales(4, "list"))
        assert {statuses(delivery)["hubspot"] for delivery in deliveries} == {"dropped"}
        keeper.open()
    assert hubspot.delivered == ["e0", "e1", "e2"]
    assert meta.delivered == ["list0", "list1", "list2", "list3"]


def test_an_episode_ends_when_its_drops_are_counted():
    class Slow(MemoryOutbox):
        async def append(self, conversions, destinations=None):
            if destinations == ["meta"]:  # what is shed for HubSpot
                await anyio.sleep(60)
            return await super().append(conversions, destinations)

    async def scenario(clock):
        keeper = BlockingAnswer()
        sinks = FakeSink("meta"), FakeSink("hubspot", keeper)
        outbox = Slow(capacity=5, clock=clock)
        world = World(*sinks, outbox=outbox, clock=clock, settings=SETTINGS, on_full="shed")
        async with world.dispatcher:
            await world.dispatcher.submit(sales(5), ["hubspot"])
            async with anyio.create_task_group() as tg:
                tg.start_soon(world.dispatcher.submit, sales(2, "late"))
                await anyio.sleep(1)
                keeper.open()
            await anyio.sleep(1)
            (dropped,), (ended,) = (world.events_of(kind) for kind in (Dropped, BackPressureEnded))
            assert len(dropped.event_ids) == ended.dropped == 2
            assert ended.seconds > 60

    run_virtual(scenario)
