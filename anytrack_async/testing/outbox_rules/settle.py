"""Rules about the end of a claim: settling and releasing."""

# ruff: noqa: D102, S101

from __future__ import annotations

from typing import Any

import attrs
import pytest

from anytrack_async.errors import InvalidArgumentError, OutboxError
from anytrack_async.outbox.base import FailedEntry, Outbox
from anytrack_async.outbox.capabilities import KeepsRemoteIds
from anytrack_async.testing.outbox_rules.base import (
    LEASE,
    Clock,
    Rules,
    attempts,
    deliver,
    failures,
    orders,
    sales,
)

_HUGE: Any = 10**400


class SettleRules(Rules):
    """Tests of `settle` and `release`."""

    # Settling

    async def test_a_settled_claim_is_final(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)

        assert await outbox.settle(claim)
        clock.advance(9 * LEASE)
        assert await deliver(outbox, "alpha") == []
        assert not await outbox.settle(claim)

    async def test_only_failed_entries_are_claimed_again_once_due(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        claim = await outbox.claim("alpha", 3, LEASE)
        await outbox.settle(claim, failures(claim, 2, due=clock.now + 10))

        early = await outbox.claim("alpha", 3, LEASE)
        clock.advance(10)
        again = await outbox.claim("alpha", 3, LEASE)

        assert (len(early.entries), early.next_due) == (0, clock.now)
        assert (orders(again), attempts(again)) == ([2], [1])

    async def test_a_retry_can_fail_again(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        for failed in range(3):
            claim = await outbox.claim("alpha", 1, LEASE)
            assert attempts(claim) == [failed]
            await outbox.settle(claim, failures(claim, 1, due=clock.now))

        assert await deliver(outbox, "alpha") == [1]
        assert await deliver(outbox, "alpha") == []

    async def test_failures_outside_the_claim_are_refused(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 1, LEASE)

        with pytest.raises(OutboxError, match="not in the claim"):
            await outbox.settle(
                claim, [FailedEntry(seq=claim.entries[0].seq + 1, attempts=1, error="")]
            )

        assert await outbox.settle(claim)

    async def test_the_last_failure_of_an_entry_counts(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.settle(claim, failures(claim, 1, due=clock.now) + failures(claim, 1))

        assert await deliver(outbox, "alpha") == []
        depth = (await outbox.depths())["alpha"]
        assert (depth.waiting, depth.dead) == (0, 1)

    async def test_settling_for_one_destination_does_not_affect_another(
        self, outbox: Outbox
    ) -> None:
        await outbox.append(sales(1))
        alpha = await outbox.claim("alpha", 1, LEASE)
        beta = await outbox.claim("beta", 1, LEASE)

        assert await outbox.settle(alpha, failures(alpha, 1))
        assert await outbox.settle(beta)
        assert [letter.destination for letter in await outbox.dead_letters()] == ["alpha"]

    # Releasing

    @pytest.mark.parametrize("counts", [True, False])
    async def test_released_conversions_are_claimed_again_once_due(
        self, outbox: Outbox, clock: Clock, counts: bool
    ) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)
        assert await outbox.release(claim, due=clock.now + 10, counts_as_attempt=counts)

        early = await outbox.claim("alpha", 2, LEASE)
        clock.advance(10)
        again = await outbox.claim("alpha", 2, LEASE)

        assert (len(early.entries), early.next_due) == (0, clock.now)
        assert (orders(again), attempts(again)) == ([1, 2], [counts, counts])
        assert not await outbox.settle(claim)

    async def test_a_released_span_can_be_claimed_in_parts(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4, 5))
        claim = await outbox.claim("alpha", 5, LEASE)
        await outbox.release(claim, due=clock.now, counts_as_attempt=True)

        probe = await outbox.claim("alpha", 1, LEASE)
        assert orders(probe) == [1]
        await outbox.release(probe, due=clock.now + 5, counts_as_attempt=True)
        remaining = await outbox.claim("alpha", 9, LEASE)
        assert (orders(remaining), attempts(remaining)) == ([2, 3, 4, 5], [1] * 4)
        await outbox.settle(remaining)
        clock.advance(5)
        again = await outbox.claim("alpha", 9, LEASE)
        assert (orders(again), attempts(again)) == ([1], [2])

    async def test_released_spans_are_claimed_in_log_order_up_to_the_limit(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(6)))
        first, second = [await outbox.claim("alpha", 2, LEASE) for _ in range(2)]
        await outbox.release(second, due=clock.now, counts_as_attempt=True)
        await outbox.release(first, due=clock.now, counts_as_attempt=False)

        third = await outbox.claim("alpha", 2, LEASE)
        fourth = await outbox.claim("alpha", 3, LEASE)

        assert (orders(third), attempts(third)) == ([0, 1], [0, 0])
        assert (orders(fourth), attempts(fourth)) == ([2, 3, 4], [1, 1, 0])

    async def test_a_split_span_skips_other_destinations(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        for order in range(6):
            await outbox.append(sales(order), ["alpha"] if order % 2 else ["beta"])
        claim = await outbox.claim("alpha", 9, LEASE)
        await outbox.release(claim, due=clock.now, counts_as_attempt=False)

        assert orders(await outbox.claim("alpha", 2, LEASE)) == [1, 3]
        assert orders(await outbox.claim("alpha", 2, LEASE)) == [5]
        assert (await outbox.depths())["alpha"].waiting == 3

    async def test_retries_are_released_with_spans(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.settle(claim, failures(claim, 1, due=clock.now))
        mixed = await outbox.claim("alpha", 2, LEASE)
        await outbox.release(mixed, due=clock.now, counts_as_attempt=True)

        again = await outbox.claim("alpha", 2, LEASE)

        assert (orders(again), attempts(again)) == ([1, 2], [2, 1])

    # Arguments

    @pytest.mark.parametrize("value", [_HUGE, "\ud800", b"x", None, [], float("nan")])
    async def test_no_call_on_a_claim_takes_what_is_no_number(
        self, outbox: Outbox, value: Any
    ) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        calls = {
            "lease": outbox.renew(claim, value),
            "due": outbox.release(claim, due=value, counts_as_attempt=True),
            "counts_as_attempt": outbox.release(claim, due=0.0, counts_as_attempt=value),
            "claim": outbox.renew(value, LEASE),
        }
        for argument, call in calls.items():
            with pytest.raises(InvalidArgumentError, match=rf"^{argument} must be"):
                await call
        for changes in ({"lease_id": _HUGE}, {"destination": "\ud800"}):
            with pytest.raises(InvalidArgumentError, match=r"^claim must be"):
                await outbox.settle(attrs.evolve(claim, **changes))
        assert await outbox.settle(claim), "the claim is as it was"

    @pytest.mark.parametrize(
        "changes",
        [
            *({"attempts": _HUGE}, {"attempts": "1"}, {"seq": _HUGE}, {"due": _HUGE}),
            *({"due": "1"}, {"error": "\ud800"}, {"error": None}, {"code": "\ud800"}),
            *({"code": 5}, {"http_status": _HUGE}),
        ],
    )
    async def test_no_failure_has_a_value_that_cannot_be_stored(
        self, outbox: Outbox, changes: dict[str, Any]
    ) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        failed = [attrs.evolve(failure, **changes) for failure in failures(claim, 1)]

        with pytest.raises(InvalidArgumentError, match=rf"^failed: {next(iter(changes))} must be"):
            await outbox.settle(claim, failed)
        assert await outbox.settle(claim), "the claim is as it was"

    @pytest.mark.parametrize("remote_id", [_HUGE, 5, "\ud800", b"x"])
    async def test_the_id_of_a_destination_is_text(self, outbox: Outbox, remote_id: Any) -> None:
        if not isinstance(outbox, KeepsRemoteIds):
            pytest.skip("optional: the outbox keeps no ids of destinations")
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)

        with pytest.raises(InvalidArgumentError, match=r"^remote_ids must be"):
            await outbox.settle_with_ids(claim, [], [remote_id])
