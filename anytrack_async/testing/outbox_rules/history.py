"""Rules about the history, for outboxes that keep one."""

# ruff: noqa: D102, S101

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from anytrack_async.errors import QueueFullError
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import SKIPPED_CODE, Status
from anytrack_async.outbox.base import Claim, FailedEntry, Outbox
from anytrack_async.outbox.capabilities import ErasesCustomers
from anytrack_async.outbox.history import (
    COUNTS_KEPT_FOR,
    NAMES_PER_DAY,
    OTHER,
    KeepsHistory,
    PastAttempt,
    ReleaseReason,
)
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    HOUR,
    LEASE,
    Clock,
    Rules,
    deliver,
    failures,
    reopen,
    sale,
    sales,
)

FAR = 1e12
"""Seconds after which nothing is forgotten."""


def history(outbox: Outbox) -> KeepsHistory:
    """Return *outbox*, of which the test needs the history; skip the test if it keeps none."""
    if not isinstance(outbox, KeepsHistory):
        pytest.skip("optional: the outbox keeps no history")
    return outbox


async def last_attempt(outbox: Outbox, order: int) -> PastAttempt:
    """Return the last attempt at an order."""
    return (await history(outbox).attempts(f"sale:{order}"))[-1]


async def accepted(outbox: Outbox) -> dict[tuple[str, ...], tuple[int, Decimal]]:
    """Return (type, currency, source, campaign) → number and value of accepted conversions."""
    return {
        (item.conversion_type, item.currency, item.source, item.campaign): (item.count, item.value)
        for item in await history(outbox).accepted_counts(since=0)
    }


async def outcomes(outbox: Outbox) -> dict[tuple[str, str, str], tuple[int, float]]:
    """Return (destination, status, code) → number of outcomes and their seconds."""
    return {
        (item.destination, str(item.status), item.code): (item.count, item.seconds)
        for item in await history(outbox).outcome_counts(since=0)
    }


async def fail(
    outbox: Outbox, *orders: int, error: str, due: float | None = None, status: int | None = None
) -> Claim:
    """Settle a claim of alpha in which some orders failed with the code E1."""
    claim = await outbox.claim("alpha", CAPACITY, LEASE)
    failed = [
        attrs.evolve(failure, error=error, code="E1", due=due, http_status=status)
        for failure in failures(claim, *orders)
    ]
    assert await outbox.settle(claim, failed)
    return claim


class CountRules(Rules):
    """Tests of the counts of `KeepsHistory`."""

    async def test_accepted_conversions_are_counted_by_kind(self, outbox: Outbox) -> None:
        await outbox.append([sale(1, revenue="0.10"), sale(2, revenue="0.20")])
        ad = sale(3, revenue=5, currency="EUR", source="ads", campaign_id="spring")
        await outbox.append([ad, sale(1, revenue="0.10")])  # one of them is a repeat

        assert await accepted(outbox) == {
            ("sale", "USD", "", ""): (2, Decimal("0.30")),
            ("sale", "EUR", "ads", "spring"): (1, Decimal(5)),
        }

    async def test_what_was_not_accepted_is_not_counted(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        with pytest.raises(QueueFullError):
            await outbox.append(sales(*range(2, CAPACITY + 2)))

        assert await accepted(outbox) == {("sale", "USD", "", ""): (1, Decimal(1))}

    async def test_counts_have_the_hour_of_the_acceptance(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        start = clock.now
        for order in (1, 2, 3):
            await outbox.append(sales(order))
            clock.advance(HOUR)
        counts = history(outbox)
        all_counts = await counts.accepted_counts(since=0)
        middle = await counts.accepted_counts(since=start + HOUR, until=all_counts[2].hour)

        assert [item.hour for item in all_counts] == [
            (start + hours * HOUR) // HOUR * HOUR for hours in range(3)
        ]
        assert middle == [all_counts[1]]

    async def test_names_beyond_the_limit_of_a_day_are_counted_together(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        numbers = range(NAMES_PER_DAY + 20)
        for start in range(0, len(numbers), 20):
            part = numbers[start : start + 20]
            await outbox.append([sale(number, campaign_id=f"c{number}") for number in part])
            await deliver(outbox, "alpha", "beta")
            await outbox.prune(remember=FAR)
            clock.advance(2.0)
        await outbox.append([sale(9_000, campaign_id="c1")])  # known, so it has its own count

        counts = await accepted(outbox)
        by_name = {names[-2:]: count for names, (count, _) in counts.items()}
        assert by_name.pop((OTHER, OTHER)) == 20
        assert by_name.pop(("", "c1")) == 2
        assert (len(by_name), {*by_name.values()}) == (NAMES_PER_DAY - 1, {1})

    async def test_outcomes_are_counted_with_the_time_since_the_acceptance(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        clock.advance(10.0)
        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        skipped, dead, retry = claim.entries.seqs[1:]
        failed = [
            FailedEntry(seq=skipped, attempts=1, error="no consent", code=SKIPPED_CODE),
            FailedEntry(seq=dead, attempts=1, error="refused"),
            FailedEntry(seq=retry, attempts=1, error="later", code="E1", due=clock.now),
        ]
        await outbox.settle(claim, failed)
        clock.advance(20.0)
        await deliver(outbox, "alpha")

        assert await outcomes(outbox) == {
            ("alpha", "delivered", "delivered"): (2, 40.0),
            ("alpha", "skipped", SKIPPED_CODE): (1, 10.0),
            ("alpha", "dead", ""): (1, 10.0),
            ("alpha", "waiting", "E1"): (1, 10.0),
        }

    async def test_outcomes_can_be_read_by_destination_and_period(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        for order in (1, 2):
            await outbox.append(sales(order))
            await deliver(outbox, "alpha", "beta")
            clock.advance(60.0)
        counts = history(outbox)
        first, second = await counts.outcome_counts(since=0, destination="beta")

        assert (first.destination, first.count, second.minute) == ("beta", 1, first.minute + 60)
        assert [first] == await counts.outcome_counts(
            since=first.minute + 59, until=second.minute, destination="beta"
        )

    async def test_counts_are_there_after_reopening(self, outbox: Outbox, clock: Clock) -> None:
        for _ in range(2):
            await outbox.append(sales(int(clock.now)))
            await deliver(outbox, "alpha")
            clock.advance(0.25)
            await reopen(outbox, self.destinations)
            clock.advance(0.75)

        ((count, _),) = (await accepted(outbox)).values()
        assert count == 2
        assert (await outcomes(outbox))["alpha", "delivered", "delivered"][0] == 2

    async def test_old_counts_are_forgotten(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=0)
        assert await accepted(outbox)
        clock.advance(COUNTS_KEPT_FOR + 2 * HOUR)
        await outbox.prune(remember=0)

        assert not await accepted(outbox)
        assert not await outcomes(outbox)


class AttemptRules(Rules):
    """Tests of the attempts and times of delivery of `KeepsHistory`."""

    async def test_a_conversion_that_was_delivered_at_once_has_a_time_and_no_attempts(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        clock.advance(5.0)
        await deliver(outbox, "alpha")

        assert await history(outbox).delivered_at("sale:2") == {"alpha": clock.now}
        assert await history(outbox).attempts("sale:2") == []
        assert await history(outbox).delivered_at("unknown") == {}
        assert await history(outbox).attempts("unknown") == []

    async def test_batches_have_times_of_their_own(self, outbox: Outbox, clock: Clock) -> None:
        start = clock.now
        await outbox.append(sales(1, 2, 3, 4))
        late, early = [await outbox.claim("alpha", 2, LEASE) for _ in range(2)]
        for claim in (early, late):
            clock.advance(1.0)
            await outbox.settle(claim)

        times = [await history(outbox).delivered_at(f"sale:{order}") for order in (1, 2, 3, 4)]
        assert [time["alpha"] - start for time in times] == [2.0, 2.0, 1.0, 1.0]

    async def test_failed_attempts_are_kept_until_the_delivery_and_after_it(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        start = clock.now
        await outbox.append(sales(1, 2, 3))
        await fail(outbox, 2, error="try later", due=start + 30, status=503)
        clock.advance(30.0)
        await fail(outbox, 2, error="once more", due=clock.now)
        clock.advance(1.0)
        await deliver(outbox, "alpha")

        common = {"destination": "alpha", "status": Status.WAITING, "code": "E1"}
        first = PastAttempt(
            **common,  # type: ignore[arg-type]
            at=start,
            number=1,
            error="try later",
            http_status=503,
            due=start + 30,
        )
        second = PastAttempt(
            **common,  # type: ignore[arg-type]
            at=start + 30,
            number=2,
            error="once more",
            due=start + 30,
        )
        third = PastAttempt(destination="alpha", at=clock.now, number=3, status=Status.DELIVERED)
        assert await history(outbox).attempts("sale:2") == [first, second, third]
        assert await history(outbox).delivered_at("sale:2") == {"alpha": clock.now}
        assert await history(outbox).delivered_at("sale:3") == {"alpha": start}

    async def test_a_dead_letter_has_no_time_of_delivery(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        await fail(outbox, 1, error="refused")
        await outbox.discard("alpha", ["sale:1"])

        (attempt,) = await history(outbox).attempts("sale:1")
        assert (attempt.status, attempt.error, attempt.due) == (Status.DEAD, "refused", None)
        assert await history(outbox).delivered_at("sale:1") == {}
        assert await history(outbox).delivered_at("sale:2") == {"alpha": clock.now}

    async def test_a_failed_batch_is_an_attempt_of_each_of_its_conversions(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        await fail(outbox, 1, error="once", due=clock.now)
        await outbox.append(sales(4, 5))
        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        reason = ReleaseReason(error="down", code="E2", http_status=502)
        due = clock.now + 60
        options = {"due": due, "counts_as_attempt": True, "reason": reason}

        assert await history(outbox).release_with_reason(claim, **options)  # type: ignore[arg-type]
        assert not await history(outbox).release_with_reason(claim, **options)  # type: ignore[arg-type]

        for order, number in ((1, 2), (4, 1), (5, 1)):
            attempt = await last_attempt(outbox, order)
            failure = (attempt.error, attempt.code, attempt.http_status)
            assert (*failure, attempt.number, attempt.due) == ("down", "E2", 502, number, due)
        assert await history(outbox).attempts("sale:2") == []
        assert (await outcomes(outbox))["alpha", "waiting", "E2"][0] == 3
        clock.now = due
        assert await deliver(outbox, "alpha") == [1, 4, 5]
        for order, number in ((1, 3), (4, 2)):
            attempt = await last_attempt(outbox, order)
            assert (attempt.status, attempt.number, attempt.at) == (Status.DELIVERED, number, due)

    async def test_a_probe_is_an_attempt_of_the_conversion_that_was_sent(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        await history(outbox).release_with_reason(
            claim,
            due=clock.now,
            counts_as_attempt=False,
            reason=ReleaseReason(error="no access", sent=1),
        )

        attempts_of_each = [await history(outbox).attempts(f"sale:{order}") for order in (1, 2, 3)]
        assert [len(attempts) for attempts in attempts_of_each] == [0, 1, 0]
        assert (await outcomes(outbox))["alpha", "waiting", ""][0] == 1

    async def test_attempts_are_forgotten_with_the_id(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2))
        await fail(outbox, 1, error="once", due=clock.now)
        await deliver(outbox, "alpha", "beta")
        await outbox.append(sales(3))
        await outbox.prune(remember=HOUR)
        assert len(await history(outbox).attempts("sale:1")) == 2
        clock.advance(2 * HOUR)
        await outbox.prune(remember=HOUR)
        await outbox.append(sales(1, 2))

        assert await history(outbox).attempts("sale:1") == []
        assert await history(outbox).delivered_at("sale:2") == {}

    async def test_a_destination_is_forgotten_with_its_attempts_and_keeps_its_counts(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        await fail(outbox, 1, error="once", due=clock.now)
        await outbox.forget("alpha")
        await reopen(outbox, self.destinations, from_start=["alpha"])

        assert await history(outbox).attempts("sale:1") == []
        assert await history(outbox).delivered_at("sale:2") == {}
        assert len(await outcomes(outbox)) == 2

    async def test_erasing_a_customer_empties_the_words_of_the_attempts(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        if not isinstance(outbox, ErasesCustomers):
            pytest.skip("optional: the outbox does not erase")
        customer = Customer(email="jane@example.com")
        await outbox.append([sale(order, customer=customer) for order in (1, 2)])
        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        reason = ReleaseReason(error="down: jane@example.com")
        options = {"due": clock.now, "counts_as_attempt": True, "reason": reason}
        await history(outbox).release_with_reason(claim, **options)  # type: ignore[arg-type]
        await fail(outbox, 1, error="refused jane@example.com")
        await outbox.erase(lambda conversion: sale(int(conversion.order_id or "")))

        attempts = await history(outbox).attempts("sale:1")
        assert [(attempt.error, attempt.code) for attempt in attempts] == [("", None), ("", "E1")]


class FindRules(Rules):
    """Tests of `KeepsHistory.find` and `KeepsHistory.recent`."""

    async def test_a_conversion_is_found_by_each_of_its_ids(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        own = sale(2, event_id="pixel-7", click_id="click/ä", order_id="A-2")
        await outbox.append([own], ["beta"])
        past = history(outbox)

        for ids in ({"event_id": "pixel-7"}, {"order_id": "A-2"}, {"click_id": "click/ä"}):
            (remembered,) = await past.find(**ids)  # type: ignore[arg-type]
            assert remembered.conversion == own
            assert (remembered.event_id, remembered.summary) == ("pixel-7", "sale 2 USD")
            assert (remembered.destinations, remembered.accepted_at) == (("beta",), clock.now)
        (first,) = await past.find(order_id="1")
        assert (first.event_id, first.destinations) == ("sale:1", None)
        conversions = await past.find(event_id="sale:1", click_id="click/ä")
        assert [item.event_id for item in conversions] == ["pixel-7", "sale:1"]
        assert await past.find(event_id="A-2", order_id="pixel-7", click_id="A-2") == []

    async def test_an_order_is_found_after_its_conversion_was_dropped(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=FAR)

        (remembered,) = await history(outbox).find(order_id="1")
        assert (remembered.seq, remembered.event_id, remembered.conversion) == (1, "sale:1", None)
        assert (remembered.summary, remembered.accepted_at) == ("sale 1 USD", None)

    async def test_the_newest_conversions_are_listed_in_pages(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=FAR)
        await outbox.append(sales(3, 4, 5))
        pages, before = [], None
        while page := await history(outbox).recent(before=before, limit=2):
            pages.append([item.event_id for item in page])
            before = page[-1].seq

        assert pages == [["sale:5", "sale:4"], ["sale:3", "sale:2"], ["sale:1"]]


class HistoryRules(CountRules, AttemptRules, FindRules):
    """Every rule about a history."""
