"""Rules about ending claims."""

# ruff: noqa: D102, S101

from __future__ import annotations

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import FailedEntry, Outbox
from anytrack_async.testing.outbox_rules.base import (
    LEASE,
    Clock,
    Rules,
    back,
    deliver,
    orders,
    sales,
    tried,
)


class GivingBack(Rules):
    """What `settle` and `release` promise."""

    async def test_what_was_settled_never_comes_again(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)

        assert await outbox.settle(claim)
        clock.advance(9 * LEASE)
        assert await deliver(outbox, "alpha") == []
        assert not await outbox.settle(claim)

    async def test_only_what_failed_comes_again_when_due(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        claim = await outbox.claim("alpha", 3, LEASE)
        await outbox.settle(claim, back(claim, 2, due=clock.now + 10))

        early = await outbox.claim("alpha", 3, LEASE)
        clock.advance(10)
        again = await outbox.claim("alpha", 3, LEASE)

        assert (len(early.entries), early.next_due) == (0, clock.now)
        assert (orders(again), tried(again)) == ([2], [1])

    async def test_a_retry_can_fail_again(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        for attempts in range(3):
            claim = await outbox.claim("alpha", 1, LEASE)
            assert tried(claim) == [attempts]
            await outbox.settle(claim, back(claim, 1, due=clock.now))

        assert await deliver(outbox, "alpha") == [1]
        assert await deliver(outbox, "alpha") == []

    async def test_setbacks_of_others_are_refused(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 1, LEASE)

        with pytest.raises(OutboxError, match="not in the claim"):
            await outbox.settle(
                claim, [FailedEntry(seq=claim.entries[0].seq + 1, attempts=1, error="")]
            )

        assert await outbox.settle(claim)

    async def test_the_last_setback_of_an_entry_counts(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.settle(claim, back(claim, 1, due=clock.now) + back(claim, 1))

        assert await deliver(outbox, "alpha") == []
        depth = (await outbox.depths())["alpha"]
        assert (depth.waiting, depth.dead) == (0, 1)

    @pytest.mark.parametrize("attempt", [True, False])
    async def test_what_is_released_comes_again_when_due(
        self, outbox: Outbox, clock: Clock, attempt: bool
    ) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)
        assert await outbox.release(claim, due=clock.now + 10, counts_as_attempt=attempt)

        early = await outbox.claim("alpha", 2, LEASE)
        clock.advance(10)
        again = await outbox.claim("alpha", 2, LEASE)

        assert (len(early.entries), early.next_due) == (0, clock.now)
        assert (orders(again), tried(again)) == ([1, 2], [attempt, attempt])
        assert not await outbox.settle(claim)

    async def test_a_released_range_can_be_probed_with_one(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4, 5))
        await outbox.release(
            await outbox.claim("alpha", 5, LEASE), due=clock.now, counts_as_attempt=True
        )

        probe = await outbox.claim("alpha", 1, LEASE)
        assert orders(probe) == [1]
        await outbox.release(probe, due=clock.now + 5, counts_as_attempt=True)
        rest = await outbox.claim("alpha", 9, LEASE)
        assert (orders(rest), tried(rest)) == ([2, 3, 4, 5], [1] * 4)
        await outbox.settle(rest)
        clock.advance(5)
        again = await outbox.claim("alpha", 9, LEASE)
        assert (orders(again), tried(again)) == ([1], [2])

    async def test_released_ranges_come_in_log_order_up_to_the_limit(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(6)))
        first, second = [await outbox.claim("alpha", 2, LEASE) for _ in range(2)]
        await outbox.release(second, due=clock.now, counts_as_attempt=True)
        await outbox.release(first, due=clock.now, counts_as_attempt=False)

        one = await outbox.claim("alpha", 2, LEASE)
        two = await outbox.claim("alpha", 3, LEASE)

        assert (orders(one), tried(one)) == ([0, 1], [0, 0])
        assert (orders(two), tried(two)) == ([2, 3, 4], [1, 1, 0])

    async def test_a_split_range_skips_what_is_for_others(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        for number in range(6):
            await outbox.append(sales(number), ["alpha"] if number % 2 else ["beta"])
        await outbox.release(
            await outbox.claim("alpha", 9, LEASE), due=clock.now, counts_as_attempt=False
        )

        assert orders(await outbox.claim("alpha", 2, LEASE)) == [1, 3]
        assert orders(await outbox.claim("alpha", 2, LEASE)) == [5]
        assert (await outbox.depths())["alpha"].waiting == 3

    async def test_retries_are_released_with_their_ranges(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.settle(claim, back(claim, 1, due=clock.now))
        both = await outbox.claim("alpha", 2, LEASE)
        await outbox.release(both, due=clock.now, counts_as_attempt=True)

        again = await outbox.claim("alpha", 2, LEASE)

        assert (orders(again), tried(again)) == ([1, 2], [2, 1])

    async def test_a_claim_of_one_destination_is_nothing_to_another(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        alpha = await outbox.claim("alpha", 1, LEASE)
        beta = await outbox.claim("beta", 1, LEASE)

        assert await outbox.settle(alpha, back(alpha, 1))
        assert await outbox.settle(beta)
        assert [letter.destination for letter in await outbox.dead_letters()] == ["alpha"]
