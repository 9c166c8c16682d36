"""The deliveries of one large call, each created when the caller indexes the batch."""

import gc

import pytest

from anytrack_async.delivery import delivery as module
from anytrack_async.delivery.delivery import (
    Delivery,
    DeliveryBatch,
)
from anytrack_async.delivery.open_deliveries import (
    OpenDeliveries,
)
from anytrack_async.errors import UndeliveredError
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import BlockingAnswer, FakeSink, World, sales

pytestmark = pytest.mark.asyncio

META = ("meta",)


@pytest.fixture
def deliveries():
    return OpenDeliveries(MemoryOutbox(), ["meta"])


def resolve(deliveries, event_id, status=Status.DELIVERED, destination="meta", **more):
    deliveries.resolve(
        [event_id], lambda _: Outcome(status=status, destination=destination, **more)
    )


async def test_deliveries_are_created_when_they_are_indexed(monkeypatch, deliveries):
    created = []

    def counting(event_id, destinations, loop):
        created.append(event_id)
        return Delivery(event_id, destinations, loop)

    monkeypatch.setattr(module, "Delivery", counting)
    group = deliveries.get_many(["a", "b", "c"], META)
    resolve(deliveries, "a")
    assert not created

    assert group[1].event_id == "b"
    assert created == ["b"]


async def test_each_delivery_is_created_once_in_the_order_of_the_call(deliveries):
    group = deliveries.get_many(["a", "b", "c"], META)

    assert len(group) == 3
    assert [item.event_id for item in group] == ["a", "b", "c"]
    assert group[0] is group[-3] is group[:1][0] is next(iter(group))
    assert repr(group) == "<DeliveryBatch of 3 conversions>"
    with pytest.raises(IndexError):
        group[3]


async def test_a_delivery_has_the_outcomes_from_before_its_creation(deliveries):
    group = deliveries.get_many(["a", "b"], ("meta", "hubspot"))
    resolve(deliveries, "a", Status.WAITING, attempts=1, error="busy")
    resolve(deliveries, "a", Status.DELIVERED, attempts=2)
    resolve(deliveries, "a", Status.WAITING, attempts=3, error="a late word")
    resolve(deliveries, "a", Status.DEAD, "hubspot", error="refused")

    outcomes = group[0].report.outcomes

    assert outcomes["meta"].status is Status.DELIVERED
    assert outcomes["meta"].attempts == 2
    assert outcomes["hubspot"].error == "refused"
    assert group[0].done()
    assert not group[1].done()


async def test_a_delivery_outlives_its_batch(deliveries):
    group = deliveries.get_many(["a", "b"], META)
    delivery = group[0]
    del group
    gc.collect()

    resolve(deliveries, "a")

    assert delivery.done()


async def test_dropping_a_batch_leaves_nothing_behind(deliveries):
    group = deliveries.get_many(["a", "b"], META)
    assert group[0]
    del group
    gc.collect()

    assert not deliveries._references


async def test_dropping_a_batch_keeps_a_newer_delivery_of_its_id(deliveries):
    group = deliveries.get_many(["a", "b"], META)
    resolve(deliveries, "a")
    again = deliveries.get("a", META)
    assert again is not group[0]
    del group
    gc.collect()

    resolve(deliveries, "a")

    assert again.done()
    assert [*deliveries._references] == ["a"]


async def test_a_repeated_id_keeps_its_delivery(deliveries):
    group = deliveries.get_many(["a", "b"], META)
    single = deliveries.get("c", META)

    again = deliveries.get_many(["a", "c", "d"], META)

    assert deliveries.get("b", META) is group[1]
    assert again[0] is group[0]
    assert again[1] is single


async def test_a_repeated_single_id_keeps_its_delivery(deliveries):
    single = deliveries.get("c", META)

    assert deliveries.get_many(["b", "c"], META)[1] is single


async def test_an_id_that_occurs_twice_has_one_delivery(deliveries):
    twice = deliveries.get_many(["a", "a"], META)

    assert twice[0] is twice[1]


async def test_closing_fails_deliveries_created_later_unless_done(deliveries):
    group = deliveries.get_many(["a", "b"], META)
    resolve(deliveries, "a")

    await deliveries.fail(lambda one: UndeliveredError(one.event_id, {}))

    assert group[0].failure is None
    with pytest.raises(UndeliveredError, match="b"):
        await group[1]


async def test_closing_creates_no_deliveries(monkeypatch, deliveries):
    """A million of them would take seconds, in which nothing else runs."""
    group = deliveries.get_many(["a", "b", "c"], META)
    first = group[0]
    monkeypatch.setattr(module, "Delivery", lambda *_: 1 / 0)

    await deliveries.fail(lambda one: UndeliveredError(one.event_id, {}))

    assert str(first.failure) == "a"
    monkeypatch.undo()
    with pytest.raises(UndeliveredError, match="b"):
        await group[1]
    assert deliveries.get("c", META).failure is None
    assert str(group[2].failure) == "c"


async def test_deliveries_of_one_call_are_awaited_individually():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper, batch=1000))
    async with world.open():
        group = await world.submit(*sales(50))
        assert isinstance(group, DeliveryBatch)
        await world.until(lambda: world.sinks[0].busy)
        keeper.open()
        reports = [await delivery for delivery in group]

    assert len(reports) == 50
    assert all(report.delivered for report in reports)
