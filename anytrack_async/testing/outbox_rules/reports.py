"""Rules about reports, depths, the backlog and arguments."""

# ruff: noqa: D102, S101

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.errors import InvalidArgumentError, OutboxError
from anytrack_async.models.outcome import Outcome, Report, Status
from anytrack_async.outbox.base import Depth, Outbox
from anytrack_async.outbox.capabilities import CountsDelivered, MeasuresAge
from anytrack_async.outbox.history import KeepsHistory
from anytrack_async.testing.outbox_rules.base import (
    HOUR,
    LEASE,
    Clock,
    Rules,
    dead_letter,
    deliver,
    failures,
    reopen,
    sales,
)

HUGE = pytest.param(10**5000, id="huge")


async def _outcomes(outbox: Outbox, order: int) -> dict[str, tuple[Status, int]]:
    """Return destination → status and attempts of an order."""
    report = (await outbox.reports([f"sale:{order}"]))[f"sale:{order}"]
    return {name: (outcome.status, outcome.attempts) for name, outcome in report.outcomes.items()}


class ReportRules(Rules):
    """Tests of `reports`, `depths` and `undelivered`, and of arguments that no outbox accepts."""

    # Reports

    async def test_a_report_follows_a_conversion(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        assert (await _outcomes(outbox, 1))["alpha"] == (Status.WAITING, 0)
        claim = await outbox.claim("alpha", 1, LEASE)
        assert (await _outcomes(outbox, 1))["alpha"] == (Status.WAITING, 0)
        await outbox.release(claim, due=clock.now, counts_as_attempt=True)
        assert (await _outcomes(outbox, 1))["alpha"] == (Status.WAITING, 1)
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.settle(claim, failures(claim, 1, due=clock.now))
        assert (await _outcomes(outbox, 1))["alpha"] == (Status.WAITING, 2)
        await dead_letter(outbox, "alpha", 1)
        assert (await _outcomes(outbox, 1))["alpha"] == (Status.DEAD, 3)
        await outbox.replay("alpha")
        assert (await _outcomes(outbox, 1))["alpha"] == (Status.WAITING, 0)
        await deliver(outbox, "alpha")
        assert (await _outcomes(outbox, 1))["alpha"][0] is Status.DELIVERED
        assert (await _outcomes(outbox, 1))["beta"] == (Status.WAITING, 0)

    async def test_a_report_contains_the_reason(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        await dead_letter(outbox, "alpha", 1)
        await deliver(outbox, "beta")

        assert await outbox.reports(["sale:1"]) == {
            "sale:1": Report(
                event_id="sale:1",
                outcomes={
                    "alpha": Outcome(
                        status=Status.DEAD, destination="alpha", error="no thanks", code="E1"
                    ),
                    "beta": Outcome(status=Status.DELIVERED, destination="beta"),
                },
            )
        }

    async def test_reports_skip_unknown_ids(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))

        assert set(await outbox.reports(["sale:1", "sale:2"])) == {"sale:1"}

    async def test_a_report_contains_only_addressed_destinations(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1), ["alpha"])
        await outbox.append(sales(2), ["beta"])
        assert set(await _outcomes(outbox, 1)) == {"alpha"}
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=HOUR)

        assert set(await _outcomes(outbox, 1)) == {"alpha"}
        clock.advance(1)
        await reopen(outbox, ["late", "later"], from_start=["later"])
        assert set(await _outcomes(outbox, 2)) == {"beta"}

    async def test_a_report_omits_destinations_registered_later_at_the_end(
        self, outbox: Outbox
    ) -> None:
        await outbox.append(sales(1))
        await reopen(outbox, ["late", "later"], from_start=["later"])

        assert set(await _outcomes(outbox, 1)) == {"alpha", "beta", "later"}

    async def test_pruned_conversions_are_reported_as_delivered(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=HOUR)

        report = (await outbox.reports(["sale:1"]))["sale:1"]

        assert set(report.outcomes) == {"alpha", "beta"}
        assert report.delivered

    async def test_pruning_around_a_dead_letter_changes_no_report(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2, 3))
        await dead_letter(outbox, "alpha", 1)
        await deliver(outbox, "beta")

        assert await outbox.prune(remember=HOUR) == 2
        reports = await outbox.reports(["sale:1", "sale:2", "sale:3"])
        statuses = [report.outcomes["alpha"].status for report in reports.values()]
        assert statuses == [Status.DEAD, Status.DELIVERED, Status.DELIVERED]

    async def test_a_conversion_in_an_expired_lease_is_waiting(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        await outbox.claim("alpha", 1, LEASE)
        clock.advance(LEASE)

        assert (await _outcomes(outbox, 1))["alpha"][0] is Status.WAITING

    async def test_a_claim_settled_before_an_earlier_one_is_delivered(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await outbox.claim("alpha", 1, LEASE)
        await outbox.settle(await outbox.claim("alpha", 1, LEASE))

        assert (await _outcomes(outbox, 1))["alpha"][0] is Status.WAITING
        assert (await _outcomes(outbox, 2))["alpha"][0] is Status.DELIVERED

    # Depths and backlog

    async def test_depths_count_every_conversion_once(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(*range(10)))
        first = await outbox.claim("alpha", 4, LEASE)
        await outbox.claim("alpha", 1, LEASE)
        assert (await outbox.depths())["alpha"] == Depth(waiting=10, in_flight=5)

        retries = failures(first, 1, 2, due=clock.now)
        await outbox.settle(first, failures(first, 0) + retries)
        assert (await outbox.depths())["alpha"] == Depth(waiting=8, in_flight=1, retrying=2, dead=1)
        retry = await outbox.claim("alpha", 1, LEASE)
        assert (await outbox.depths())["alpha"] == Depth(waiting=8, in_flight=2, retrying=1, dead=1)
        await outbox.release(retry, due=clock.now, counts_as_attempt=True)
        clock.advance(LEASE)
        assert (await outbox.depths())["alpha"] == Depth(waiting=8, in_flight=0, retrying=3, dead=1)
        assert (await outbox.depths())["beta"] == Depth(waiting=10)
        await deliver(outbox, "alpha")
        assert (await outbox.depths())["alpha"] == Depth(dead=1)

    async def test_conversions_released_without_an_attempt_are_not_retrying(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        for name, counts in (("alpha", False), ("beta", True)):
            claim = await outbox.claim(name, 2, LEASE)
            await outbox.release(claim, due=clock.now, counts_as_attempt=counts)

        depths = await outbox.depths()

        assert depths == {"alpha": Depth(waiting=2), "beta": Depth(waiting=2, retrying=2)}

    async def test_the_oldest_age_is_that_of_the_first_waiting_conversion(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        if not isinstance(outbox, MeasuresAge):
            pytest.skip("optional: the outbox does not measure ages")
        assert await outbox.oldest_ages() == {}

        for order in range(1, 6):
            await outbox.append(sales(order))
            clock.advance(10)
        assert await outbox.oldest_ages() == {"alpha": 50, "beta": 50}

        first = await outbox.claim("alpha", 2, LEASE)  # in flight counts as waiting
        assert (await outbox.oldest_ages())["alpha"] == 50
        await outbox.settle(first, failures(first, 1, due=clock.now + 5))
        assert (await outbox.oldest_ages())["alpha"] == 50

        clock.advance(5)
        retry = await outbox.claim("alpha", 1, LEASE)
        assert (await outbox.oldest_ages())["alpha"] == 55
        await outbox.settle(retry, failures(retry, 1))  # now a dead letter, which waits no more
        assert await outbox.oldest_ages() == {"alpha": 35, "beta": 55}

        await deliver(outbox, "alpha", "beta")
        assert await outbox.oldest_ages() == {}

    async def test_delivered_conversions_are_counted(self, outbox: Outbox, clock: Clock) -> None:
        if not isinstance(outbox, CountsDelivered):
            pytest.skip("optional: the outbox does not count")
        await outbox.append(sales(1, 2, 3, 4))
        await outbox.append(sales(5), ["beta"])
        assert await outbox.delivered_counts() == {"alpha": 0, "beta": 0}

        claim = await outbox.claim("alpha", 3, LEASE)
        await outbox.settle(claim, failures(claim, 1) + failures(claim, 2, due=clock.now))
        assert (await outbox.delivered_counts())["alpha"] == 1

        await deliver(outbox, "alpha", "beta")
        assert await outbox.delivered_counts() == {"alpha": 3, "beta": 5}

    async def test_undelivered_raises_for_an_unknown_destination(self, outbox: Outbox) -> None:
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.undelivered("gamma")

    async def test_undelivered_events_are_in_log_order(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(*range(4)))
        await outbox.append(sales(4), ["beta"])
        await outbox.append(sales(5, 6))
        first = await outbox.claim("alpha", 3, LEASE)
        await outbox.settle(first, failures(first, 0) + failures(first, 1, due=0.0))
        await outbox.claim("alpha", 2, LEASE)

        assert list(await outbox.undelivered("alpha")) == ["sale:1", "sale:3", "sale:5", "sale:6"]
        assert list(await outbox.undelivered("alpha", limit=2)) == ["sale:1", "sale:3"]
        await outbox.claim("alpha", 9, LEASE)
        assert len(await outbox.undelivered("alpha")) == 4
        clock.advance(LEASE)
        await deliver(outbox, "alpha")
        assert list(await outbox.undelivered("alpha")) == []

    # Arguments

    @pytest.mark.parametrize("event_id", ["\ud800", HUGE, b"sale:1", None])
    async def test_what_is_no_event_id_is_refused(self, outbox: Outbox, event_id: Any) -> None:
        calls = (
            outbox.reports([event_id]),
            outbox.dead_letters(event_ids=[event_id]),
            outbox.replay("alpha", [event_id]),
            outbox.discard("alpha", [event_id]),
        )
        for call in calls:
            with pytest.raises(InvalidArgumentError, match="event_ids must be"):
                await call

    @pytest.mark.parametrize("name", ["\ud800", HUGE, b"alpha"])
    async def test_what_is_no_name_is_no_destination(self, outbox: Outbox, name: Any) -> None:
        calls = (
            outbox.undelivered(name),
            outbox.dead_letters(name),
            outbox.replay(name),
            outbox.replay(name, ["sale:1"]),
            outbox.discard(name),
        )
        for call in calls:
            with pytest.raises(OutboxError, match="has no destination"):
                await call

    @pytest.mark.parametrize("value", ["\ud800", HUGE, b"x", True])
    async def test_the_history_refuses_what_is_no_time_or_text(
        self, outbox: Outbox, value: Any
    ) -> None:
        if not isinstance(outbox, KeepsHistory):
            pytest.skip("optional: the outbox keeps no history")
        calls = (
            outbox.outcome_counts(since=value),
            outbox.outcome_counts(since=0.0, until=value),
            outbox.outcome_counts(since=0.0, destination=value),
            outbox.accepted_counts(since=value),
            outbox.accepted_counts(since=0.0, until=value),
            outbox.find(event_id=value),
            outbox.find(order_id=value),
            outbox.find(click_id=value),
        )
        for call in calls:
            with pytest.raises(InvalidArgumentError, match="must be a"):
                await call

    @pytest.mark.parametrize("number", [2**63, HUGE, -1, 1.5, "1", None])
    async def test_what_is_no_number_is_refused(self, outbox: Outbox, number: Any) -> None:
        calls = {
            "limit": (
                outbox.undelivered("alpha", limit=number),
                outbox.dead_letters(limit=number),
            ),
            "after": (outbox.dead_letters(after=number),),
        }
        for argument in calls:
            for call in calls[argument]:
                with pytest.raises(InvalidArgumentError, match=rf"^{argument} must be"):
                    await call

    @pytest.mark.parametrize("seconds", [HUGE, -1, float("nan"), "1", None])
    async def test_what_is_no_time_is_refused(self, outbox: Outbox, seconds: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"^remember must be"):
            await outbox.prune(remember=seconds)
