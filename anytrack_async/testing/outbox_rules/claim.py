"""Rules about claiming and leases."""

# ruff: noqa: D102, S101

from __future__ import annotations

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.history import (
    LEASE_LOST_CODE,
    LEASE_LOST_ERROR,
    KeepsHistory,
    PastAttempt,
)
from anytrack_async.testing.outbox_rules.base import (
    LEASE,
    Clock,
    Rules,
    attempts,
    deliver,
    failures,
    orders,
    reopen,
    sale,
    sales,
)


class ClaimRules(Rules):
    """Tests of `claim` and `renew`."""

    # Claiming new conversions

    async def test_claims_follow_the_log_and_never_overlap(self, outbox: Outbox) -> None:
        await outbox.append(sales(3, 1))
        await outbox.append(sales(2))

        first = await outbox.claim("alpha", 2, LEASE)
        second = await outbox.claim("alpha", 2, LEASE)

        assert (orders(first), orders(second)) == ([3, 1], [2])
        assert first.lease_id != second.lease_id
        assert list(first.entries.seqs) == sorted(first.entries.seqs)

    async def test_an_entry_contains_the_time_of_acceptance(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        accepted_at = clock.now
        await outbox.append(sales(1))
        clock.advance(5)

        (entry,) = (await outbox.claim("alpha", 1, LEASE)).entries

        assert (entry.accepted_at, entry.attempts) == (accepted_at, 0)

    async def test_destinations_do_not_wait_for_each_other(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        assert await deliver(outbox, "alpha") == [1, 2]

        assert orders(await outbox.claim("beta", 1, LEASE)) == [1]

    async def test_an_empty_claim_has_no_lease(self, outbox: Outbox) -> None:
        claim = await outbox.claim("alpha", 10, LEASE)

        assert (claim.destination, claim.lease_id, len(claim.entries)) == ("alpha", 0, 0)
        assert claim.next_due is None

    async def test_a_limit_of_0_claims_nothing(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))

        assert not (await outbox.claim("alpha", 0, LEASE)).entries
        assert orders(await outbox.claim("alpha", 1, LEASE)) == [1]

    async def test_claiming_for_an_unknown_destination_raises(self, outbox: Outbox) -> None:
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.claim("gamma", 10, LEASE)

    # Conversions addressed to other destinations

    async def test_conversions_of_other_destinations_are_skipped(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2), ["beta"])
        await outbox.append(sales(3))
        await outbox.append(sales(4), ["alpha", "beta"])
        await outbox.append(sales(5), [])

        assert orders(await outbox.claim("alpha", 1, LEASE)) == [3]
        assert orders(await outbox.claim("alpha", 9, LEASE)) == [4]
        assert orders(await outbox.claim("alpha", 9, LEASE)) == []
        assert orders(await outbox.claim("beta", 9, LEASE)) == [1, 2, 3, 4]

    async def test_a_claim_is_empty_if_all_are_for_other_destinations(self, outbox: Outbox) -> None:
        await outbox.append(sales(1), ["beta"])

        claim = await outbox.claim("alpha", 9, LEASE)

        assert (claim.lease_id, len(claim.entries), claim.next_due) == (0, 0, None)
        assert (await outbox.depths())["alpha"].waiting == 0

    async def test_names_that_contain_each_other_are_distinguished(self, outbox: Outbox) -> None:
        await reopen(outbox, ["alph", "alphabet"])
        await outbox.append(sales(1), ["alph"])
        await outbox.append(sales(2), ["alphabet"])

        assert await deliver(outbox, "alpha") == []
        assert await deliver(outbox, "alph") == [1]
        assert await deliver(outbox, "alphabet") == [2]

    # Leases

    async def test_leased_conversions_are_not_claimed_again(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        await outbox.claim("alpha", 1, LEASE)

        again = await outbox.claim("alpha", 1, LEASE)

        assert (len(again.entries), again.next_due) == (0, clock.now + LEASE)

    async def test_an_expired_lease_counts_as_an_attempt(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        lost = await outbox.claim("alpha", 2, LEASE)
        clock.advance(LEASE)

        again = await outbox.claim("alpha", 2, LEASE)

        assert (orders(again), attempts(again)) == ([1, 2], [1, 1])
        assert not await outbox.settle(lost, failures(lost, 1))
        assert not await outbox.release(lost, due=clock.now, counts_as_attempt=True)
        assert not await outbox.renew(lost, LEASE)
        assert await outbox.settle(again)
        assert (await outbox.depths())["alpha"].dead == 0

    async def test_an_attempt_whose_lease_expired_is_in_the_history(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        if not isinstance(outbox, KeepsHistory):
            pytest.skip("optional: the outbox keeps no history")
        await outbox.append(sales(1, 2, 3))
        first = await outbox.claim("alpha", 3, LEASE)
        await outbox.settle(first, failures(first, 2, due=clock.now))
        await outbox.append(sales(4, 5))
        assert orders(await outbox.claim("alpha", 3, LEASE)) == [2, 4, 5]
        clock.advance(2 * LEASE)
        await deliver(outbox, "alpha")

        for order, number in ((2, 2), (4, 1), (5, 1)):
            *_, lost, delivered = await outbox.attempts(f"sale:{order}")
            assert lost == _lost_attempt(number, at=clock.now)
            assert (delivered.status, delivered.number) == (Status.DELIVERED, number + 1)
        assert await outbox.attempts("sale:1") == []
        counts = await outbox.outcome_counts(since=0.0, destination="alpha")
        lost_counts = [
            (item.status, item.count, item.seconds)
            for item in counts
            if item.code == LEASE_LOST_CODE
        ]
        assert lost_counts == [(Status.WAITING, 3, 3 * 2 * LEASE)]

    async def test_an_expired_lease_is_valid_until_another_worker_claims(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        clock.advance(LEASE + 1)

        assert await outbox.settle(claim)
        assert await deliver(outbox, "alpha") == []

    async def test_only_as_many_leases_expire_as_the_limit_needs(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        first = await outbox.claim("alpha", 2, LEASE)
        second = await outbox.claim("alpha", 2, LEASE + 1)
        clock.advance(2 * LEASE)

        assert orders(await outbox.claim("alpha", 2, LEASE)) == [1, 2]
        assert not await outbox.settle(first)
        assert await outbox.settle(second)

    async def test_renewing_extends_a_lease(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        clock.advance(LEASE - 1)
        assert await outbox.renew(claim, LEASE)
        clock.advance(LEASE - 1)

        again = await outbox.claim("alpha", 1, LEASE)

        assert (len(again.entries), again.next_due) == (0, clock.now + 1)
        assert await outbox.settle(claim)

    async def test_a_retry_in_an_expired_lease_has_one_more_attempt(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)
        await outbox.settle(claim, failures(claim, 1, due=clock.now))
        await outbox.claim("alpha", 2, LEASE)
        clock.advance(LEASE)

        again = await outbox.claim("alpha", 2, LEASE)

        assert (orders(again), attempts(again)) == ([1], [2])

    # Conversions that may have ended the process that sent them

    async def test_a_conversion_that_lost_two_leases_is_claimed_alone(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await self.lose_leases(outbox, clock, 2, 1, 2, 3)
        await outbox.append(sales(4))

        first = await outbox.claim("alpha", 9, LEASE)
        other_claim = await outbox.claim("alpha", 9, LEASE)
        waiting = await outbox.claim("alpha", 9, LEASE)
        assert await outbox.settle(first)
        second = await outbox.claim("alpha", 9, LEASE)

        assert [orders(claim) for claim in (first, other_claim, waiting, second)] == [
            [1],
            [4],
            [],
            [2],
        ]
        assert first.lost_leases == {first.entries.seqs[0]: 2}
        assert other_claim.lost_leases == {}
        assert waiting.next_due is not None
        assert clock.now < waiting.next_due < clock.now + 1

    async def test_an_isolated_conversion_that_fails_is_no_longer_isolated(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await self.lose_leases(outbox, clock, 2, 1, 2)
        for order in (1, 2):
            claim = await outbox.claim("alpha", 9, LEASE)
            await outbox.settle(claim, failures(claim, order, due=clock.now))

        again = await outbox.claim("alpha", 9, LEASE)

        assert (orders(again), attempts(again), again.lost_leases) == ([1, 2], [3, 3], {})

    async def test_a_replayed_dead_letter_is_not_isolated(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await self.lose_leases(outbox, clock, 2, 1, 2)
        for order in (1, 2):
            claim = await outbox.claim("alpha", 9, LEASE)
            await outbox.settle(claim, failures(claim, order))
        await outbox.replay("alpha")

        assert orders(await outbox.claim("alpha", 9, LEASE)) == [1, 2]

    @staticmethod
    async def lose_leases(outbox: Outbox, clock: Clock, leases: int, *order_numbers: int) -> None:
        """Append conversions that lose several leases."""
        if not outbox.shared:
            pytest.skip("its workers end only together with the outbox")
        await outbox.append(sales(*order_numbers))
        for _ in range(leases):
            claim = await outbox.claim("alpha", len(order_numbers), LEASE)
            assert orders(claim) == list(order_numbers)
            clock.advance(LEASE)
        isolated = await outbox.claim("alpha", 1, LEASE)
        await outbox.release(isolated, due=clock.now, counts_as_attempt=False)

    # The order of due conversions

    async def test_the_retries_due_longest_are_claimed_first(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4, 5))
        claim = await outbox.claim("alpha", 5, LEASE)
        due = {1: 4.0, 2: 2.0, 3: 5.0, 4: 1.0, 5: 3.0}
        await outbox.settle(
            claim,
            [
                failure
                for order, seconds in due.items()
                for failure in failures(claim, order, due=clock.now + seconds)
            ],
        )
        clock.advance(9)

        claims = [await outbox.claim("alpha", limit, LEASE) for limit in (1, 1, 2, 2)]

        assert [orders(claim) for claim in claims] == [[4], [2], [1, 5], [3]]

    async def test_the_limit_applies_to_due_retries(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(*range(6)))
        claim = await outbox.claim("alpha", 6, LEASE)
        await outbox.settle(claim, failures(claim, *range(6), due=clock.now))

        claims = [await outbox.claim("alpha", 4, LEASE) for _ in range(3)]

        assert [orders(claim) for claim in claims] == [[0, 1, 2, 3], [4, 5], []]

    async def test_retries_are_claimed_before_new_conversions(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.append([sale(2)])
        await outbox.settle(claim, failures(claim, 1, due=clock.now))

        assert orders(await outbox.claim("alpha", 1, LEASE)) == [1]
        assert orders(await outbox.claim("alpha", 1, LEASE)) == [2]

    async def test_a_claim_of_retries_spans_and_new_conversions_is_in_log_order(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(1, 10)))
        lost = await outbox.claim("alpha", 2, LEASE)
        released = await outbox.claim("alpha", 2, 2 * LEASE)
        settled = await outbox.claim("alpha", 2, LEASE)
        await outbox.settle(settled, failures(settled, 6, due=clock.now))
        await outbox.release(released, due=clock.now, counts_as_attempt=False)
        clock.advance(LEASE)

        mixed = await outbox.claim("alpha", 7, LEASE)

        assert orders(mixed) == [1, 2, 3, 4, 6, 7, 8]
        assert attempts(mixed) == [1, 1, 0, 0, 1, 0, 0]
        assert not await outbox.settle(lost)
        assert await outbox.settle(mixed)
        assert await deliver(outbox, "alpha") == [9]


def _lost_attempt(number: int, *, at: float) -> PastAttempt:
    return PastAttempt(
        destination="alpha",
        at=at,
        number=number,
        status=Status.WAITING,
        code=LEASE_LOST_CODE,
        error=LEASE_LOST_ERROR,
    )
