"""Rules about outboxes that several processes have open."""

# ruff: noqa: D102, S101

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import anyio
import pytest
import pytest_asyncio

from anytrack_async.errors import QueueFullError
from anytrack_async.outbox.base import Appended, Claim, Outbox
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    LEASE,
    Clock,
    Rules,
    deliver,
    failures,
    orders,
    sale,
    sales,
)

_CLAIMS = 300


class SharingRules(Rules):
    """Tests with a second outbox object on the same store, as another process has it."""

    def make_again(self, folder: Path, clock: Clock, capacity: int) -> Outbox:
        """Return another outbox on the store of `make`, not open yet."""
        return self.make(folder, clock, capacity)

    @pytest_asyncio.fixture
    async def other(self, outbox: Outbox, tmp_path: Path, clock: Clock) -> AsyncIterator[Outbox]:
        """Return a second open outbox on the store of *outbox*."""
        other = self.make_again(tmp_path, clock, CAPACITY)
        await other.open(self.destinations)
        yield other
        await other.aclose()

    async def test_another_process_delivers_what_one_accepted(
        self, outbox: Outbox, other: Outbox
    ) -> None:
        await outbox.append(sales(1, 2))
        await other.append(sales(3))

        assert await deliver(other, "alpha") == [1, 2, 3]
        assert await deliver(outbox, "alpha", "beta") == [1, 2, 3]

    async def test_an_event_id_is_known_to_all_processes(
        self, outbox: Outbox, other: Outbox
    ) -> None:
        await outbox.append(sales(1))

        assert await other.append(sales(1, 2)) == [Appended.REPEAT, Appended.NEW]
        (contradiction,) = await other.append([sale(1, revenue=7)])
        assert contradiction is not Appended.REPEAT

    async def test_of_processes_that_append_the_same_one_is_first(
        self, outbox: Outbox, other: Outbox
    ) -> None:
        answers: list[object] = []

        async def append(target: Outbox, *numbers: int) -> None:
            answers.extend(await target.append(sales(*numbers)))

        async with anyio.create_task_group() as tg:
            # In opposite orders, in which careless locking ends in a deadlock.
            for _ in range(5):
                tg.start_soon(append, outbox, *range(1, 10))
                tg.start_soon(append, other, *range(9, 0, -1))

        assert Counter(answers) == {Appended.NEW: 9, Appended.REPEAT: 81}
        assert sorted(await deliver(outbox, "alpha")) == [*range(1, 10)]

    async def test_a_conversion_is_claimed_by_one_process_only(
        self, outbox: Outbox, other: Outbox
    ) -> None:
        random, delivered = Random(1), Counter[int]()
        appended, claims = 0, 0
        while claims < _CLAIMS:
            if random.random() < 0.2:
                await random.choice((outbox, other)).append(sales(appended))
                appended += 1
            claimed: list[Claim] = []

            async def claim(target: Outbox, into: list[Claim] = claimed) -> None:
                into.append(await target.claim("alpha", 2, LEASE))

            async with anyio.create_task_group() as tg:
                for target in (outbox, other, outbox):
                    tg.start_soon(claim, target)
            claims += 3
            for each in filter(lambda claim: claim.entries, claimed):
                delivered.update(orders(each))
                assert await random.choice((outbox, other)).settle(each)
        delivered.update(await deliver(outbox, "alpha"))

        assert delivered == Counter(range(appended))

    @pytest.mark.parametrize("answer", ["settle", "renew", "release"])
    async def test_a_worker_that_lost_its_lease_changes_nothing(
        self, outbox: Outbox, other: Outbox, clock: Clock, answer: str
    ) -> None:
        await outbox.append(sales(1, 2))
        late = await outbox.claim("alpha", 2, LEASE)
        clock.advance(LEASE + 1)
        taken_over = await other.claim("alpha", 2, LEASE)
        assert orders(taken_over) == [1, 2]

        assert not await end_late(outbox, late, answer)

        assert not (await outbox.claim("alpha", 2, LEASE)).entries
        assert not await outbox.dead_letters()
        assert await other.renew(taken_over, LEASE)
        assert await other.settle(taken_over)
        assert not await other.settle(taken_over)

    async def test_lease_ids_are_never_used_again(
        self, outbox: Outbox, other: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        lease_ids = []
        for number in range(30):
            target = (outbox, other)[number % 2]
            claim = await target.claim("alpha", 1, LEASE)
            lease_ids.append(claim.lease_id)
            if number % 3:
                await target.release(claim, due=clock.now, counts_as_attempt=False)
            else:
                clock.advance(LEASE + 1)

        assert len(set(lease_ids)) == 30

    async def test_the_capacity_is_that_of_the_store(self, outbox: Outbox, other: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))

        with pytest.raises(QueueFullError):
            await other.append(sales(CAPACITY))
        await deliver(outbox, "alpha", "beta")

    async def test_several_processes_open_an_empty_store_at_once(
        self, tmp_path: Path, clock: Clock
    ) -> None:
        outboxes = [self.make(tmp_path, clock, CAPACITY)]
        outboxes += [self.make_again(tmp_path, clock, CAPACITY) for _ in range(3)]
        async with anyio.create_task_group() as tg:
            for outbox in outboxes:
                tg.start_soon(outbox.open, self.destinations)
        for number, outbox in enumerate(outboxes):
            await outbox.append(sales(number))

        assert sorted(await deliver(outboxes[0], "alpha")) == [0, 1, 2, 3]
        for outbox in outboxes:
            await outbox.aclose()

    async def test_several_processes_prune_at_once(
        self, outbox: Outbox, other: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(50)))
        await deliver(outbox, "alpha", "beta")
        await outbox.append(sales(50))
        async with anyio.create_task_group() as tg:
            for target in (outbox, other, outbox, other):
                tg.start_soon(prune, target)

        assert await other.append(sales(1, 51)) == [Appended.REPEAT, Appended.NEW]
        assert await deliver(other, "beta") == [50, 51]

    async def test_depths_are_a_count_of_the_truth(
        self, outbox: Outbox, other: Outbox, clock: Clock
    ) -> None:
        random = Random(2)
        for number in range(60):
            target = random.choice((outbox, other))
            await target.append(sales(number), random.choice((None, ["alpha"])))
            claim = await target.claim("alpha", random.randrange(1, 4), LEASE)
            fate = random.choice(("settle", "fail", "retry", "release", "die"))
            await end_at_random(target, claim, fate, clock.now)
            clock.advance(LEASE / 4)
        clock.advance(2 * LEASE)
        depth = (await outbox.depths())["alpha"]

        assert await other.depths() == await outbox.depths()
        assert depth.waiting == len(await outbox.undelivered("alpha"))
        assert depth.dead == len(await other.dead_letters("alpha"))
        delivered = await deliver(other, "alpha")
        assert len(delivered) == depth.waiting
        assert (await outbox.depths())["alpha"].waiting == 0


async def end_late(outbox: Outbox, claim: Claim, answer: str) -> bool:
    """Settle, renew or release a claim; return whether that worked."""
    if answer == "settle":
        return await outbox.settle(claim, failures(claim, 1))
    if answer == "renew":
        return await outbox.renew(claim, 100 * LEASE)
    return await outbox.release(claim, due=0, counts_as_attempt=True)


async def end_at_random(outbox: Outbox, claim: Claim, fate: str, now: float) -> None:
    """End a claim: *fate* is ``"settle"``, ``"fail"``, ``"retry"``, ``"release"`` or ``"die"``."""
    if fate == "settle":
        await outbox.settle(claim)
    elif fate in ("fail", "retry") and claim.entries:
        due = now + LEASE if fate == "retry" else None
        await outbox.settle(claim, failures(claim, *orders(claim)[:1], due=due))
    elif fate == "release" and claim.entries:
        await outbox.release(claim, due=now, counts_as_attempt=True)


async def prune(outbox: Outbox) -> None:
    """Drop delivered conversions, and remember their ids."""
    await outbox.prune(remember=1e6)
