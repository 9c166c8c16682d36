"""What a lane does while its destination answers."""

import anyio
import pytest

from anytrack_async.delivery import LaneState
from anytrack_async.events import Delivered, Retried
from anytrack_async.models import DELIVERED, Outcome
from anytrack_async.settings import Retry
from tests.delivery.doubles import Clock, FakeSink, Gatekeeper, World, calm, sale, sales, statuses

pytestmark = pytest.mark.asyncio


async def test_a_single_conversion_leaves_at_once():
    world = World()
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert statuses(report) == {"anytrack": "delivered"}
    assert world.sinks[0].calls == [["a"]]


async def test_a_healthy_run_logs_nothing(caplog):
    async with World().open() as world:
        await world.deliver(*sales(5))

    assert not caplog.records


async def test_what_came_while_a_batch_was_away_leaves_together():
    keeper = Gatekeeper()
    sink = FakeSink(answer=keeper, batch=10)
    world = World(sink)
    async with world.open():
        await world.submit(sale("first"))
        await world.until(lambda: sink.busy)
        for one in sales(25):
            await world.submit(one)
        keeper.open()

    assert [len(call) for call in sink.calls] == [1, 10, 10, 5]
    assert sink.taken == ["first", *(f"e{at}" for at in range(25))]


async def test_as_many_batches_are_away_as_the_sink_allows():
    keeper = Gatekeeper()
    sink = FakeSink(answer=keeper, batch=5, concurrency=3)
    world = World(sink)
    async with world.open():
        await world.submit(*sales(100))
        await world.until(lambda: sink.busy == 3)
        await calm()
        assert sink.busy == 3
        keeper.open()

    assert sink.peak == 3
    assert len(sink.taken) == len(set(sink.taken)) == 100


async def test_linger_waits_for_a_fuller_batch_every_time():
    sink = FakeSink()
    world = World(sink, linger=0.15)
    async with world.open():
        await calm()
        for wave in ("a", "b"):
            for one in sales(5, wave):
                await world.submit(one)
                await calm()
            await world.until(lambda wave=wave: f"{wave}4" in sink.taken)

    assert [len(call) for call in sink.calls] == [5, 5]


async def test_linger_holds_no_full_batch_back():
    sink = FakeSink(batch=5)
    world = World(sink, linger=3600.0)
    async with world.open():
        await world.submit(*sales(15))
        await world.until(lambda: len(sink.taken) == 15)


async def test_closing_does_not_wait_for_linger():
    sink = FakeSink()
    world = World(sink, linger=3600.0)
    async with world.open():
        await calm()
        await world.submit(sale("a"))
        await calm()
        assert not sink.calls

    assert sink.taken == ["a"]


async def test_no_more_batches_a_second_leave_than_the_rate_allows():
    clock = Clock()
    sink = FakeSink(batch=1, rate=2)
    world = World(sink, clock=clock)
    async with world.open():
        await world.submit(*sales(3))
        await world.until(lambda: sink.calls)
        for seconds, sent in [(0.0, 1), (0.4, 1), (0.1, 2), (0.4, 2), (0.1, 3)]:
            clock.now += seconds
            world.dispatcher.wake()
            await calm()
            assert len(sink.calls) == sent


async def test_a_lane_with_a_rate_drains_its_backlog_at_closing():
    sink = FakeSink(batch=1, rate=200)
    world = World(sink)
    async with world.open():
        await world.submit(*sales(5))

    assert len(sink.taken) == 5


async def test_outcomes_are_settled_one_by_one():
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
    assert [str(one.status) for one in outcomes] == ["delivered", "dead", "delivered"]
    assert [one.attempts for one in outcomes] == [1, 1, 2]
    assert outcomes[0].remote_id == "r0"
    assert outcomes[1].code == "7"
    assert dead == {"e1": "bad date"}
    assert world.sinks[0].calls[1:] == [["e2"]]


async def test_a_retry_comes_up_while_another_worker_waits_for_work():
    # The idle worker went to sleep when nothing was due.
    keeper = Gatekeeper()

    async def answer(_):
        if not keeper.gate.is_set():
            await keeper([])
            return [Outcome.retry("locked")]
        return [DELIVERED]

    sink = FakeSink(answer=answer, concurrency=2)
    world = World(sink, lease=3600.0)
    async with world.open():
        (handle,) = await world.submit(sale("a"))
        await world.until(lambda: sink.busy)
        await calm()
        keeper.open()
        with anyio.fail_after(2):
            await handle


async def test_a_failed_batch_comes_up_while_another_worker_waits_for_work():
    keeper = Gatekeeper()

    async def answer(_):
        if not keeper.gate.is_set():
            await keeper([])
            raise OSError

    sink = FakeSink(answer=answer, concurrency=2)
    world = World(sink, lease=3600.0)
    async with world.open():
        handles = await world.submit(*sales(3))
        await world.until(lambda: sink.busy)
        await calm()
        keeper.open()
        with anyio.fail_after(2):
            for handle in handles:
                await handle


async def test_a_worker_does_not_sleep_on_a_failed_batch():
    def answer(batch):
        if "e0" in batch:
            return [Outcome.retry("locked", after=3600.0)]
        return None

    sink = FakeSink(answer=answer, batch=1)
    world = World(sink, clock=Clock(), drain=0.05)
    async with world.open(leaving=True):
        await world.submit(*sales(3))
        await world.until(lambda: len(sink.taken) == 2)

    assert sink.taken == ["e1", "e2"]


async def test_the_servers_hint_says_when_a_retry_is_due():
    clock = Clock()
    sink = FakeSink(answer=lambda _: [Outcome.retry("locked", after=100.0)])
    world = World(sink, clock=clock)
    async with world.open():
        (handle,) = await world.submit(sale("a"))
        await world.until(lambda: world.told(Retried))
        sink.answer = lambda _: None

        clock.now += 99
        world.dispatcher.wake()
        await calm()
        assert len(sink.calls) == 1

        clock.now += 1
        world.dispatcher.wake()
        await handle

    (retried,) = world.told(Retried)
    assert retried.seconds == 100.0
    assert retried.reason == "locked"


async def test_retries_of_one_reason_are_told_together():
    again = True

    def answer(batch):
        nonlocal again
        first, again = again, False
        return [Outcome.retry("locked")] * len(batch) if first else None

    world = World(FakeSink(answer=answer))
    async with world.open():
        await world.deliver(*sales(50))

    assert [len(event.event_ids) for event in world.told(Retried)] == [50]


async def test_attempts_are_bounded_and_the_last_reason_is_kept():
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


async def test_age_is_bounded():
    clock = Clock()
    sink = FakeSink(answer=lambda _: [Outcome.retry("locked")])
    world = World(sink, clock=clock, max_age=3600.0, retry=Retry(attempts=99, base=60, cap=60))
    async with world.open():
        (handle,) = await world.submit(sale("a"))
        for _ in range(70):
            await calm()
            if handle.done():
                break
            clock.now += 60
            world.dispatcher.wake()
        report = await handle

    assert "given up" in report.outcomes["anytrack"].error
    assert "1.0 h" in report.outcomes["anytrack"].error


async def test_batches_are_told_with_the_time_they_took():
    clock = Clock()

    def answer(_):
        clock.now += 2.5

    world = World(FakeSink(answer=answer), clock=clock)
    async with world.open():
        await world.deliver(*sales(3))

    (delivered,) = world.told(Delivered)
    assert delivered.event_ids == ["e0", "e1", "e2"]
    assert delivered.seconds == 2.5
    assert delivered.destination == "anytrack"


async def test_conversions_for_others_are_passed_over():
    anytrack, meta = FakeSink("anytrack"), FakeSink("meta")
    world = World(anytrack, meta)
    async with world.open():
        await world.submit(*sales(3, "all"))
        (only,) = await world.submit(sale("one"), to=["meta"])
        report = await only

    assert statuses(report) == {"meta": "delivered"}
    assert "one" not in anytrack.taken
    assert "one" in meta.taken


async def test_destinations_do_not_wait_for_one_another():
    keeper = Gatekeeper()
    slow, fast = FakeSink("meta", keeper, batch=1), FakeSink("anytrack")
    world = World(slow, fast)
    async with world.open():
        handles = await world.submit(*sales(20))
        for handle in handles:
            await handle.at("anytrack")
        assert len(slow.calls) == 1
        keeper.open()

    assert len(slow.taken) == len(fast.taken) == 20


async def test_states_are_told_by_destination():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        assert world.dispatcher.states() == {
            "anytrack": LaneState.RUNNING,
            "meta": LaneState.RUNNING,
        }
    assert world.dispatcher.states() == {}
