"""What only the memory outbox does: it bounds itself."""

import pytest

from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Appended, FailedEntry
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.testing.outbox_contract import LEASE, Clock, sales

pytestmark = pytest.mark.asyncio

HOUR = 3600.0


async def opened(**more):
    outbox = MemoryOutbox(clock=Clock(), **more)
    await outbox.open(["alpha"])
    return outbox


async def deliver(outbox):
    while (claim := await outbox.claim("alpha", 500, LEASE)).entries:
        await outbox.settle(claim)


async def test_what_it_says_of_itself():
    outbox = MemoryOutbox()

    assert (outbox.durable, outbox.shared, outbox.capacity) == (False, False, 10_000)


async def test_it_stays_small_though_nobody_prunes():
    outbox = await opened(capacity=50)
    for start in range(0, 5000, 50):
        await outbox.append(sales(*range(start, start + 50)))
        await deliver(outbox)

    assert len(outbox._log) < 1200
    assert list(await outbox.append(sales(1))) == [Appended.REPEAT]


async def test_retries_it_held_go_though_nobody_prunes():
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


async def test_it_remembers_so_many_ids_and_no_more():
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


async def test_pruning_much_lets_others_run(monkeypatch):
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


async def test_a_step_never_yields():
    outbox = await opened()
    steps = [
        outbox.append(sales(1)),
        outbox.claim("alpha", 1, LEASE),
        outbox.reports(["sale:1"]),
        outbox.depths(),
    ]
    for step in steps:
        with pytest.raises(StopIteration):
            step.send(None)


async def test_it_hands_out_the_very_objects_it_was_given():
    outbox = await opened()
    (given,) = sales(1)
    await outbox.append([given])

    assert (await outbox.claim("alpha", 1, LEASE)).entries[0].conversion is given


async def test_what_a_forgotten_destination_left_takes_no_room():
    outbox = await opened(capacity=2)
    await outbox.append(sales(1))
    claim = await outbox.claim("alpha", 1, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=1, attempts=1, error="refused")])
    await outbox.prune(remember=HOUR)
    await outbox.forget("alpha")

    assert list(await outbox.append(sales(2, 3))) == [Appended.NEW] * 2


async def test_what_went_is_not_taken_for_a_dead_letter_before_it():
    outbox = await opened()
    await outbox.append(sales(1, 2, 3))
    claim = await outbox.claim("alpha", 3, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=1, attempts=1, error="refused")])

    assert await outbox.prune(remember=HOUR) == 2
    reports = await outbox.reports(["sale:1", "sale:2", "sale:3"])
    found = [one.outcomes["alpha"].status for one in reports.values()]
    assert found == [Status.DEAD, Status.DELIVERED, Status.DELIVERED]
