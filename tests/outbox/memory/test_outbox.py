"""`MemoryOutbox` beyond the contract: it limits its size by itself."""

import pytest

from anytrack_async.outbox.base import Appended, FailedEntry
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.testing.outbox_contract import LEASE, Clock, sales
from anytrack_async.testing.outbox_rules.base import reopen

pytestmark = pytest.mark.asyncio

HOUR = 3600.0


async def opened(**settings):
    outbox = MemoryOutbox(clock=Clock(), **settings)
    await outbox.open(["alpha"])
    return outbox


async def deliver(outbox):
    while (claim := await outbox.claim("alpha", 500, LEASE)).entries:
        await outbox.settle(claim)


async def test_it_is_neither_durable_nor_shared():
    outbox = MemoryOutbox()

    assert (outbox.durable, outbox.shared, outbox.capacity) == (False, False, 10_000)


async def test_it_stays_small_without_pruning():
    outbox = await opened(capacity=50)
    for start in range(0, 5000, 50):
        await outbox.append(sales(*range(start, start + 50)))
        await deliver(outbox)

    assert outbox._log.stored < 1200
    assert list(await outbox.append(sales(1))) == [Appended.REPEAT]


async def test_it_stays_small_while_a_destination_accepts_nothing():
    outbox = await opened(capacity=50)
    await reopen(outbox, ["stuck"])
    await outbox.append(sales(*range(50)))
    released = await outbox.claim("stuck", 7, LEASE)
    await outbox.release(released, due=outbox._clock() + 5, counts_as_attempt=True)
    await deliver(outbox)
    for start in range(50, 5000, 50):
        await outbox.append(sales(*range(start, start + 50)), ["alpha"])
        await deliver(outbox)

    assert outbox._log.stored < 1200
    depth = (await outbox.depths())["stuck"]
    assert (depth.waiting, depth.in_flight, depth.dead) == (50, 0, 0)
    outbox._clock.advance(5)
    claim = await outbox.claim("stuck", 500, LEASE)
    assert [int(id_.removeprefix("sale:")) for id_ in claim.entries.event_ids] == [*range(50)]
    assert list(claim.entries.attempts) == [1] * 7 + [0] * 43
    await outbox.settle(claim)
    await deliver(outbox)
    assert (await outbox.reports(["sale:3"]))["sale:3"].delivered


async def test_delivered_retries_are_dropped_without_pruning():
    outbox = await opened(capacity=50)
    await outbox.append(sales(0))
    claim = await outbox.claim("alpha", 1, LEASE)
    retry = FailedEntry(seq=1, attempts=1, error="", due=outbox._clock() + 5)
    await outbox.settle(claim, [retry])
    for start in range(1, 2000, 49):
        await outbox.append(sales(*range(start, start + 49)))
        await deliver(outbox)
    assert set(outbox._log._retained) == {1}

    outbox._clock.advance(5)
    await deliver(outbox)
    for start in range(2000, 3000, 50):
        await outbox.append(sales(*range(start, start + 50)))
        await deliver(outbox)

    assert not outbox._log._retained
    assert list(await outbox.append(sales(0))) == [Appended.REPEAT]


async def test_it_remembers_a_limited_number_of_ids():
    outbox = await opened(remember_ids=3)
    await outbox.append(sales(*range(5)))
    await deliver(outbox)
    await outbox.prune(remember=HOUR)

    assert len(outbox._log.positions) == 3
    assert set(await outbox.reports([f"sale:{n}" for n in range(5)])) == {
        "sale:2",
        "sale:3",
        "sale:4",
    }


async def test_pruning_a_lot_lets_other_tasks_run(monkeypatch):
    outbox = await opened()
    await outbox.append(sales(*range(35)))
    await deliver(outbox)
    monkeypatch.setattr("anytrack_async.outbox.memory.outbox._DROPPED_PER_STEP", 10)
    pauses = []

    async def checkpoint():
        pauses.append(1)

    monkeypatch.setattr("anytrack_async.outbox.memory.outbox.checkpoint", checkpoint)

    assert await outbox.prune(remember=HOUR) == 35
    assert len(pauses) >= 3


async def test_its_methods_do_not_yield_to_the_event_loop():
    outbox = await opened()
    calls = [
        outbox.append(sales(1)),
        outbox.claim("alpha", 1, LEASE),
        outbox.reports(["sale:1"]),
        outbox.depths(),
    ]
    for call in calls:
        with pytest.raises(StopIteration):
            call.send(None)


async def test_it_returns_the_objects_that_were_appended():
    outbox = await opened()
    (conversion,) = sales(1)
    await outbox.append([conversion])

    assert (await outbox.claim("alpha", 1, LEASE)).entries[0].conversion is conversion
