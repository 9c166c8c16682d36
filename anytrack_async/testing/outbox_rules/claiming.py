"""Rules about claims and leases."""

# ruff: noqa: D102, S101

from __future__ import annotations

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Outbox
from anytrack_async.testing.outbox_rules.base import (
    LEASE,
    Clock,
    Rules,
    back,
    deliver,
    orders,
    sale,
    sales,
    tried,
)


class Claiming(Rules):
    """What `claim` and `renew` promise."""

    async def test_claims_follow_the_log_and_never_overlap(self, outbox: Outbox) -> None:
        await outbox.append(sales(3, 1))
        await outbox.append(sales(2))

        first = await outbox.claim("alpha", 2, LEASE)
        second = await outbox.claim("alpha", 2, LEASE)

        assert (orders(first), orders(second)) == ([3, 1], [2])
        assert first.lease_id != second.lease_id
        assert [one.seq for one in first.entries] == sorted(one.seq for one in first.entries)

    async def test_an_entry_says_when_it_was_accepted(self, outbox: Outbox, clock: Clock) -> None:
        accepted = clock.now
        await outbox.append(sales(1))
        clock.advance(5)

        (entry,) = (await outbox.claim("alpha", 1, LEASE)).entries

        assert (entry.accepted_at, entry.attempts) == (accepted, 0)

    async def test_destinations_go_at_their_own_pace(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        assert await deliver(outbox, "alpha") == [1, 2]

        assert orders(await outbox.claim("beta", 1, LEASE)) == [1]

    async def test_an_empty_claim_has_no_lease(self, outbox: Outbox) -> None:
        claim = await outbox.claim("alpha", 10, LEASE)

        assert (claim.destination, claim.lease_id, len(claim.entries)) == ("alpha", 0, 0)
        assert claim.next_due is None

    async def test_an_unknown_destination_is_refused(self, outbox: Outbox) -> None:
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.claim("gamma", 10, LEASE)

    async def test_what_is_for_others_is_passed_over(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2), ["beta"])
        await outbox.append(sales(3))
        await outbox.append(sales(4), ["alpha", "beta"])
        await outbox.append(sales(5), [])

        assert orders(await outbox.claim("alpha", 1, LEASE)) == [3]
        assert orders(await outbox.claim("alpha", 9, LEASE)) == [4]
        assert orders(await outbox.claim("alpha", 9, LEASE)) == []
        assert orders(await outbox.claim("beta", 9, LEASE)) == [1, 2, 3, 4]

    async def test_a_claim_of_only_others_conversions_is_empty(self, outbox: Outbox) -> None:
        await outbox.append(sales(1), ["beta"])

        claim = await outbox.claim("alpha", 9, LEASE)

        assert (claim.lease_id, len(claim.entries), claim.next_due) == (0, 0, None)
        assert (await outbox.depths())["alpha"].waiting == 0

    async def test_names_that_contain_each_other_are_kept_apart(self, outbox: Outbox) -> None:
        await outbox.open(["alph", "alphabet"])
        await outbox.append(sales(1), ["alph"])
        await outbox.append(sales(2), ["alphabet"])

        assert await deliver(outbox, "alpha") == []
        assert await deliver(outbox, "alph") == [1]
        assert await deliver(outbox, "alphabet") == [2]

    async def test_what_is_leased_is_not_handed_out(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        await outbox.claim("alpha", 1, LEASE)

        again = await outbox.claim("alpha", 1, LEASE)

        assert (len(again.entries), again.next_due) == (0, clock.now + LEASE)

    async def test_a_lease_that_ended_counts_as_an_attempt(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        lost = await outbox.claim("alpha", 2, LEASE)
        clock.advance(LEASE)

        again = await outbox.claim("alpha", 2, LEASE)

        assert (orders(again), tried(again)) == ([1, 2], [1, 1])
        assert not await outbox.settle(lost, back(lost, 1))
        assert not await outbox.release(lost, due=clock.now, counts_as_attempt=True)
        assert not await outbox.renew(lost, LEASE)
        assert await outbox.settle(again)
        assert (await outbox.depths())["alpha"].dead == 0

    async def test_a_lease_that_ended_may_be_used_until_it_is_lost(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        clock.advance(LEASE + 1)

        assert await outbox.settle(claim)
        assert await deliver(outbox, "alpha") == []

    async def test_no_more_leases_are_ended_than_there_is_room_for(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        first = await outbox.claim("alpha", 2, LEASE)
        second = await outbox.claim("alpha", 2, LEASE + 1)
        clock.advance(2 * LEASE)

        assert orders(await outbox.claim("alpha", 2, LEASE)) == [1, 2]
        assert not await outbox.settle(first)
        assert await outbox.settle(second)

    async def test_renewing_keeps_a_lease(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        clock.advance(LEASE - 1)
        assert await outbox.renew(claim, LEASE)
        clock.advance(LEASE - 1)

        again = await outbox.claim("alpha", 1, LEASE)

        assert (len(again.entries), again.next_due) == (0, clock.now + 1)
        assert await outbox.settle(claim)

    async def test_a_lost_retry_comes_back_with_one_attempt_more(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)
        await outbox.settle(claim, back(claim, 1, due=clock.now))
        await outbox.claim("alpha", 2, LEASE)
        clock.advance(LEASE)

        again = await outbox.claim("alpha", 2, LEASE)

        assert (orders(again), tried(again)) == ([1], [2])

    async def test_one_claim_mixes_what_is_due_in_log_order(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(1, 10)))
        lost = await outbox.claim("alpha", 2, LEASE)
        released = await outbox.claim("alpha", 2, 2 * LEASE)
        settled = await outbox.claim("alpha", 2, LEASE)
        await outbox.settle(settled, back(settled, 6, due=clock.now))
        await outbox.release(released, due=clock.now, counts_as_attempt=False)
        clock.advance(LEASE)

        mixed = await outbox.claim("alpha", 7, LEASE)

        assert orders(mixed) == [1, 2, 3, 4, 6, 7, 8]
        assert tried(mixed) == [1, 1, 0, 0, 1, 0, 0]
        assert not await outbox.settle(lost)
        assert await outbox.settle(mixed)
        assert await deliver(outbox, "alpha") == [9]

    async def test_what_is_due_again_comes_before_what_is_new(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.append([sale(2)])
        await outbox.settle(claim, back(claim, 1, due=clock.now))

        assert orders(await outbox.claim("alpha", 1, LEASE)) == [1]
        assert orders(await outbox.claim("alpha", 1, LEASE)) == [2]

    async def test_a_claim_of_nothing_is_empty(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))

        assert not (await outbox.claim("alpha", 0, LEASE)).entries
        assert orders(await outbox.claim("alpha", 1, LEASE)) == [1]
