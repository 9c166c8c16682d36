"""The deliveries that callers still reference."""

import gc
import weakref

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anytrack_async.delivery.open_deliveries import (
    OpenDeliveries,
)
from anytrack_async.errors import UndeliveredError
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.memory.outbox import MemoryOutbox

pytestmark = pytest.mark.asyncio

LOST = UndeliveredError("the client closed", {"meta": ["a"]})


def outcome(destination, status=Status.DELIVERED, **more):
    return Outcome(status=status, destination=destination, **more)


async def test_an_id_has_one_delivery_while_it_is_referenced():
    deliveries = OpenDeliveries(MemoryOutbox(), ["meta"])
    delivery = deliveries.get("a", ("meta",))
    assert deliveries.get("a", ("meta",)) is delivery

    reference = weakref.ref(delivery)
    del delivery
    gc.collect()
    assert reference() is None


async def test_outcomes_are_only_built_for_open_deliveries():
    deliveries, asked = OpenDeliveries(MemoryOutbox(), ["meta"]), []

    def answer(at):
        asked.append(at)
        return outcome("meta")

    deliveries.resolve(["a"], answer)
    assert not asked

    delivery = deliveries.get("b", ("meta",))
    deliveries.resolve(["a", "b"], answer)
    assert asked == [1]
    assert delivery.done()


async def test_a_watcher_may_drop_the_next_delivery_of_the_batch():
    deliveries, indexes = OpenDeliveries(MemoryOutbox(), ["meta"]), []
    first, other = deliveries.get("a", ("meta",)), [deliveries.get("b", ("meta",))]
    first.watch(lambda _: other.clear())

    def outcome(index):
        indexes.append(index)
        return Outcome(status=Status.DELIVERED, destination="meta")

    deliveries.resolve(["a", "b"], outcome)

    assert first.done()
    assert indexes == [0]


async def test_only_awaited_deliveries_are_polled():
    class Asked(MemoryOutbox):
        ids = ()

        async def reports(self, event_ids):
            self.ids = event_ids
            return {}

    outbox = Asked()
    deliveries = OpenDeliveries(outbox, ["meta"])
    watched, idle = deliveries.get("a", ("meta",)), deliveries.get("b", ("meta",))
    watched.watch(lambda _: None)

    await deliveries.refresh_awaited()

    assert outbox.ids == ["a"]
    assert idle.event_id not in outbox.ids


async def test_closing_fails_only_open_deliveries():
    deliveries = OpenDeliveries(MemoryOutbox(), ["meta"])
    delivered, pending = deliveries.get("a", ("meta",)), deliveries.get("b", ("meta",))
    delivered.resolve(outcome("meta"))

    await deliveries.fail(lambda delivery: UndeliveredError(delivery.event_id, {}))

    assert delivered.failure is None
    assert str(pending.failure) == "b"


async def test_failing_many_deliveries_yields_to_other_tasks():
    deliveries, beats = OpenDeliveries(MemoryOutbox(), ["meta"]), 0
    referenced = [deliveries.get(f"e{index}", ("meta",)) for index in range(2_000)]

    async def beat():
        nonlocal beats
        while True:
            await checkpoint()
            beats += 1

    async with anyio.create_task_group() as tg:
        tg.start_soon(beat)
        await deliveries.fail(lambda delivery: UndeliveredError(delivery.event_id, {}))
        tg.cancel_scope.cancel()

    assert beats >= 5
    assert all(delivery.failure for delivery in referenced)


async def test_a_done_or_failed_delivery_is_not_returned_again():
    deliveries = OpenDeliveries(MemoryOutbox(), ["meta"])
    delivered, failed = deliveries.get("a", ("meta",)), deliveries.get("b", ("meta",))
    delivered.resolve(outcome("meta"))
    failed.fail(LOST)

    assert deliveries.get("a", ("meta",)) is not delivered
    assert deliveries.get("b", ("meta",)) is not failed


async def test_many_awaited_deliveries_are_polled_in_turns():
    class Asked(MemoryOutbox):
        ids = ()

        async def reports(self, event_ids):
            self.ids += tuple(event_ids)
            return {}

    outbox = Asked()
    deliveries = OpenDeliveries(outbox, ["meta"])
    referenced = [deliveries.get(f"e{index}", ("meta",)) for index in range(2_500)]
    for delivery in referenced:
        delivery.watch(lambda _: None)

    for looked in (1_000, 2_000, 3_000):
        await deliveries.poll_awaited()
        assert len(outbox.ids) == looked
    assert len({*outbox.ids}) == 2_500

    outbox.ids = ()
    await deliveries.refresh_awaited()
    assert {*outbox.ids} == {delivery.event_id for delivery in referenced}
