"""Conversions that come again: what their deliveries are, and what is told."""

import gc
import weakref
from contextlib import asynccontextmanager

import anyio
import pytest

from anytrack_async.errors import ConflictError, OutboxError, UndeliveredError
from anytrack_async.events import Contradicted, Submitted
from anytrack_async.models.contradiction import find_contradiction
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.memory.outbox import MemoryOutbox
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

pytestmark = pytest.mark.asyncio

CONTRADICTION = find_contradiction("a", "sale 1 USD", "sale 2 USD")


async def test_a_contradiction_is_told_and_not_sent():
    world = World()
    async with world.open():
        first, other, new = await world.submit(sale("a"), sale("a", revenue=2), sale("b"))
        assert (first.contradicts, new.contradicts) == (None, None)
        assert other.contradicts == CONTRADICTION
        assert (await other).contradicts == CONTRADICTION

    assert world.events_of(Contradicted) == [Contradicted(contradiction=CONTRADICTION)]
    assert [event.event_ids for event in world.events_of(Submitted)] == [["a", "b"]]
    assert world.sinks[0].delivered == ["a", "b"]


async def test_a_contradiction_has_the_outcomes_of_the_first_while_they_come():
    keeper = BlockingAnswer()
    meta = FakeSink("meta", lambda _: [Outcome.rejected("no")])
    world = World(FakeSink("anytrack", keeper), meta)
    async with world.open():
        (first,) = await world.submit(sale("a"))
        (other,) = await world.submit(sale("a", revenue=2))
        assert (await other.at("meta")).error == "no"
        assert statuses(other) == {"anytrack": "waiting", "meta": "dead"}
        keeper.open()
        assert statuses(await other) == {"anytrack": "delivered", "meta": "dead"}

    assert first.contradicts is None


async def test_a_contradiction_of_a_delivered_conversion_is_resolved_at_once():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        await world.deliver(sale("a"))
        gc.collect()
        (other,) = await world.submit(sale("a", revenue=2))
        assert other.done()
        assert (await other.at("meta")).final
        (again,) = await world.submit(sale("a"))
        assert again.contradicts is None


async def test_a_contradiction_has_the_destinations_of_the_first():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        await world.submit(sale("a"), to=["meta"])
        (other,) = await world.submit(sale("a", revenue=2))
        assert statuses(await other) == {"meta": "delivered"}


async def test_a_repeat_for_others_has_the_destinations_of_the_first_after_that_is_forgotten():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        await world.deliver(sale("a"))
        await (await world.submit(sale("b"), to=["meta"]))[0]
        gc.collect()
        again = await world.submit(sale("a"), sale("b"), to=["anytrack"])
        both = {"anytrack": "delivered", "meta": "delivered"}
        assert [statuses(await delivery) for delivery in again] == [both, {"meta": "delivered"}]


@pytest.mark.parametrize("size", [1, 2])
async def test_a_call_that_overtakes_a_waiting_one_has_destinations_of_its_own(size):
    conversions = [sale(f"same{number}") for number in range(size)]
    meta, keeper = FakeSink("meta"), BlockingAnswer()
    outbox = MemoryOutbox(capacity=2)
    world = World(meta, FakeSink("hubspot", keeper), outbox=outbox, poll=60.0)
    results = []
    async with world.open(), anyio.create_task_group() as tg:

        async def submit_to_both():
            results.append(await world.submit(*conversions))

        await world.submit(sale("a"), sale("b"), to=["hubspot"])
        tg.start_soon(submit_to_both)
        await run_ready_tasks()
        deliveries = await world.submit(*conversions, to=["meta"])
        reports = [await delivery for delivery in deliveries]
        assert not results
        keeper.open()

    assert [statuses(report) for report in reports] == [{"meta": "delivered"}] * size
    assert [statuses(repeat) for repeat in results[0]] == [{"meta": "delivered"}] * size
    assert len(meta.delivered) == size


async def test_a_contradiction_fails_with_the_first():
    world = World(FakeSink(answer=BlockingAnswer()), drain=0.0)
    async with world.open(leaves_undelivered=True):
        await world.submit(sale("a"))
        (other,) = await world.submit(sale("a", revenue=2))

    with pytest.raises(UndeliveredError):
        await other


async def test_a_contradiction_that_is_dropped_costs_no_memory():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper))
    async with world.open():
        (first,) = await world.submit(sale("a"))
        dropped = [
            weakref.ref((await world.submit(sale("a", revenue=amount)))[0])
            for amount in range(2, 50)
        ]
        gc.collect()
        assert not [reference for reference in dropped if reference() is not None]
        keeper.open()
        await first
        assert not first.awaited


# on_conflict="raise"


async def test_raising_loses_nothing_of_the_call():
    world = World(on_conflict="raise")
    async with world.open():
        with pytest.raises(ConflictError, match="'a' was accepted as sale 1 USD") as caught:
            await world.submit(sale("a"), sale("a", revenue=2), sale("b"), sale("b", revenue=3))
        first, other, new, _ = caught.value.deliveries
        assert statuses(await first) == statuses(await new) == {"anytrack": "delivered"}

    assert other.contradicts == caught.value.contradiction == CONTRADICTION
    assert len(world.events_of(Contradicted)) == 2
    assert world.sinks[0].delivered == ["a", "b"]


async def test_an_equal_repeat_does_not_raise():
    world = World(on_conflict="raise")
    async with world.open():
        await world.submit(sale("a"))
        (again,) = await world.submit(sale("a"))
        assert (await again).delivered


# After delivery


async def test_a_repeat_after_delivery_is_the_delivery_of_the_first_with_its_remote_id():
    world = World(FakeSink(answer=lambda _: [Outcome.delivered("deal-7")]))
    async with world.open():
        (first,) = await world.submit(sale("a"))
        await first
        (again,) = await world.submit(sale("a"))
        other, again_in_a_batch = await world.submit(sale("a", revenue=2), sale("a"))

    assert again is again_in_a_batch is first
    assert again.report.outcomes["anytrack"].remote_id == "deal-7"
    assert other.report.outcomes == first.report.outcomes


async def test_a_repeat_of_a_dead_letter_knows_that_it_was_replayed():
    answers = [Outcome.rejected("no"), Outcome.delivered()]
    world = World(FakeSink(answer=lambda _: [answers.pop(0)]))
    async with world.open():
        (first,) = await world.submit(sale("a"))
        assert statuses(await first) == {"anytrack": "dead"}
        await world.outbox.replay("anytrack")
        world.dispatcher.wake()
        (again,) = await world.submit(sale("a"))
        assert statuses(await again) == {"anytrack": "delivered"}

    assert again is not first


# Without room


@asynccontextmanager
async def full_world(outbox, accepted, **changes):
    """Yield a world with *accepted* in its full *outbox*, while another conversion waits."""
    settings = DeliverySettings(accept_within=60.0, drain=0.01, **changes)
    world = World(FakeSink(answer=BlockingAnswer()), outbox=outbox, settings=settings)
    async with world.open(leaves_undelivered=True), anyio.create_task_group() as tg:
        await world.submit(*accepted)
        tg.start_soon(world.submit, sale("new"))
        await run_ready_tasks()
        with anyio.fail_after(15):
            yield world
        assert await outbox.reports(["new"]) == {}
        tg.cancel_scope.cancel()


async def test_a_repeat_that_waits_for_room_is_let_in_although_there_is_none():
    # Long before it would give up, also where that is sooner than the outbox is polled.
    async with full_world(MemoryOutbox(capacity=2), [sale("a"), sale("b")], poll=60.0) as world:
        (again,) = await world.submit(sale("a"))
        (other,) = await world.submit(sale("b", revenue=2))
        assert statuses(again) == {"anytrack": "waiting"}
        assert other.contradicts is not None


async def test_a_long_list_is_let_in_if_all_of_it_is_repeats():
    outbox, repeats = MemoryOutbox(capacity=1_100), sales(1_100)
    async with full_world(outbox, repeats, poll=60.0) as world, anyio.create_task_group() as tg:
        tg.start_soon(world.submit, *repeats[:-1], sale("last"))
        await run_ready_tasks()
        assert len(await world.submit(*repeats)) == 1_100
        assert await outbox.reports(["last"]) == {}
        tg.cancel_scope.cancel()


async def test_a_look_up_of_callers_that_wait_for_room_is_made_again_if_it_failed(caplog):
    class Failing(MemoryOutbox):
        looked_up = 0

        async def summaries(self, event_ids):
            self.looked_up += 1
            if self.looked_up <= 2:
                raise OutboxError("the disk is gone")
            return await super().summaries(event_ids)

    outbox = Failing(capacity=2)
    async with full_world(outbox, [sale("a"), sale("b")], poll=0.01) as world:
        (again,) = await world.submit(sale("a"))
        assert statuses(again) == {"anytrack": "waiting"}

    assert outbox.looked_up >= 3
    assert caplog.messages.count("cannot look up what waits for room: the disk is gone") == 2
