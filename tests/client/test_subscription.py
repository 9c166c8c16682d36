"""`client.subscribe` tells outcomes, never slows a lane, and says what it lost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import Any

import pytest

from anytrack_async import (
    AnyTrackClient,
    ConfigurationError,
    Conversion,
    DeadLettered,
    Delivered,
    DeliveryUpdate,
    MemoryOutbox,
    Outcome,
    SinkLimits,
    Skipped,
    Status,
)
from anytrack_async.client.subscription import Subscription
from anytrack_async.observers import Observers

pytestmark = pytest.mark.asyncio


class Picky:
    """Rejects event ids that begin with ``bad``."""

    limits = SinkLimits()

    def __init__(self, name: str = "shop") -> None:
        self.name = name

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        return [
            Outcome.rejected("too old", code="7")
            if item.event_id.startswith("bad")
            else Outcome.delivered()
            for item in batch
        ]


def client(*sinks: Any, **options: Any) -> AnyTrackClient:
    return AnyTrackClient("k", "a", sinks=sinks, log=False, **options)


def lead(event_id: str) -> Conversion:
    return Conversion.lead(event_id=event_id)


def update(event_id: str, status: Status = Status.DELIVERED, **fields: Any) -> DeliveryUpdate:
    return DeliveryUpdate(event_id=event_id, destination="shop", status=status, **fields)


async def test_outcomes_come_one_by_one_until_the_client_closes():
    async with client(Picky()) as tracker:
        updates = tracker.subscribe()
        for event_id in ("one", "bad", "two"):
            await (await tracker.submit(lead(event_id), to=["shop"]))

    assert [item async for item in updates] == [
        update("one"),
        update("bad", Status.DEAD, reason="too old", code="7"),
        update("two"),
    ]
    assert updates.dropped == 0


async def test_destinations_and_statuses_are_filtered():
    async with client(Picky(), Picky("other")) as tracker:
        dead = tracker.subscribe(destinations=["shop"], statuses=["dead"])
        for event_id in ("good", "bad"):
            await (await tracker.submit(lead(event_id), to=["shop", "other"]))

    assert [(item.event_id, item.destination) async for item in dead] == [("bad", "shop")]


async def test_it_waits_for_the_next_outcome():
    async with client(Picky()) as tracker:
        async with tracker.subscribe() as updates:
            first = asyncio.ensure_future(anext(updates))
            await asyncio.sleep(0)
            assert not first.done()
            await tracker.submit(lead("one"), to=["shop"])
            assert await first == update("one")
            second = asyncio.ensure_future(anext(updates))
            await asyncio.sleep(0)
        with pytest.raises(StopAsyncIteration):
            await second


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many():
    observers = Observers([])
    updates = Subscription(observers, None, frozenset(Status), buffer=100)

    for start, size in ((0, 60), (60, 70), (130, 1)):
        ids = [str(number) for number in range(start, start + size)]
        observers.notify(Delivered(destination="shop", event_ids=ids, seconds=0.1))
    first = await anext(updates)
    await updates.aclose()

    assert first == update("31", dropped=31)
    assert updates.dropped == 31
    assert [item async for item in updates] == []


async def test_what_is_dropped_is_told_once():
    observers = Observers([])
    updates = Subscription(observers, ["shop"], frozenset(Status), buffer=2)
    for number in range(5):
        dead = DeadLettered(destination="shop", event_id=str(number), reason="r", code=None)
        observers.notify(dead)
    updates._end()

    assert [(item.event_id, item.dropped) async for item in updates] == [("3", 3), ("4", 0)]


async def test_a_lane_never_waits_for_a_subscriber():
    async with client(Picky(), outbox=MemoryOutbox(capacity=10_000)) as tracker:
        updates = tracker.subscribe(buffer=10)
        deliveries = await tracker.submit_many([lead(str(n)) for n in range(2_000)], to=["shop"])
        for delivery in deliveries:
            await delivery

    left = [item async for item in updates]
    assert updates.dropped >= 1_000
    assert updates.dropped + len(left) == 2_000
    assert sum(item.dropped for item in left) == updates.dropped


async def test_a_forgotten_subscription_costs_nothing_and_others_stay():
    observers = Observers([])
    forgotten = Subscription(observers, None, frozenset(Status), buffer=2)
    kept = Subscription(observers, None, frozenset(Status), buffer=2)

    del forgotten
    gc.collect()
    observers.notify(Delivered(destination="shop", event_ids=["1"], seconds=0.1))

    assert len(observers._observers) == 1
    assert await anext(kept) == update("1")


async def test_skipped_conversions_are_told():
    observers = Observers([])
    updates = Subscription(observers, None, frozenset({Status.SKIPPED}), buffer=2)

    observers.notify(Delivered(destination="shop", event_ids=["1"], seconds=0.1))
    observers.notify(Skipped(destination="shop", event_ids=["2"], reason="no consent"))

    assert await anext(updates) == update("2", Status.SKIPPED, reason="no consent")


async def test_wrong_arguments_are_named():
    tracker = client(Picky())
    for wrong in (
        {"destinations": ["pigeon"]},
        *({"statuses": statuses} for statuses in ("dead", ["waiting"], [["dead"]], 5)),
    ):
        with pytest.raises(ConfigurationError):
            tracker.subscribe(**wrong)
    for buffer in (0, 1.5, True):
        with pytest.raises(ConfigurationError, match="buffer"):
            tracker.subscribe(buffer=buffer)
