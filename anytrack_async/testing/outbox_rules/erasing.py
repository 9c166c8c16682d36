"""Rules about erasing a person's data, for outboxes that can."""

# ruff: noqa: D102, S101

from __future__ import annotations

from typing import Any

import attrs
import pytest

from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.erasure import Person, without_person
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Appended, Depth, Outbox
from anytrack_async.outbox.capabilities import (
    EmptiesReasons,
    ErasedConversion,
    ErasesCustomers,
    Erasure,
)
from anytrack_async.outbox.history import KeepsHistory
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    HOUR,
    LEASE,
    Clock,
    Rules,
    dead_letter,
    deliver,
    failures,
    orders,
    sale,
    sales,
)

JANE = Person(email="jane@example.com")


def janes(*order_numbers: int) -> list[Conversion]:
    """Return sales of one customer, with everything that may identify her."""
    return [
        sale(
            order,
            customer=Customer(email="Jane@Example.com "),
            ip_address="203.0.113.5",
            clicks={"gclid": "G"},
            custom_data={"note": "for Jane"},
        )
        for order in order_numbers
    ]


async def erase(outbox: Outbox) -> Erasure:
    """Erase Jane from *outbox*; skip the test if it cannot."""
    if not isinstance(outbox, ErasesCustomers):
        pytest.skip("optional: the outbox does not erase")

    def replacement(conversion: Conversion) -> Conversion | None:
        return without_person(conversion, forgotten=True) if JANE.matches(conversion) else None

    return await outbox.erase(replacement)


def erased(*order_numbers: int, **fields: Any) -> tuple[ErasedConversion, ...]:
    """Return the part of the result of `erase` that is about some orders."""
    return tuple(
        ErasedConversion(event_id=f"sale:{order}", order_id=f"{order}", **fields)
        for order in order_numbers
    )


async def empty_reasons(outbox: Outbox) -> int:
    """Empty the reasons that quote Jane; skip the test if *outbox* cannot."""
    if not isinstance(outbox, EmptiesReasons):
        pytest.skip("optional: the outbox does not empty reasons")
    return await outbox.empty_reasons(JANE.is_quoted_in)


async def fail(outbox: Outbox, error: str, *order_numbers: int, due: float | None = None) -> None:
    """Settle everything that "alpha" can claim now: some orders fail with *error*."""
    claim = await outbox.claim("alpha", CAPACITY, LEASE)
    failed = [attrs.evolve(item, error=error) for item in failures(claim, *order_numbers, due=due)]
    assert await outbox.settle(claim, failed)


async def past_errors(outbox: Outbox, order: int) -> list[str]:
    """Return the reasons of the attempts at an order; skip the test if they are not kept."""
    if not isinstance(outbox, KeepsHistory):
        pytest.skip("optional: the outbox keeps no history")
    return [attempt.error for attempt in await outbox.attempts(f"sale:{order}")]


class ReasonRules(Rules):
    """Tests of `EmptiesReasons.empty_reasons`."""

    async def test_attempts_whose_conversion_is_gone_lose_reasons_that_quote_the_customer(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(janes(1, 2))
        await fail(outbox, "refused JANE@example.com", 1, 2, due=clock.now)
        await fail(outbox, "timed out", 1, 2, due=clock.now)
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=HOUR)
        before = await past_errors(outbox, 1)

        assert (await erase(outbox)).conversions == ()
        assert await empty_reasons(outbox) == 2

        assert before == ["refused JANE@example.com", "timed out", ""]
        for order in (1, 2):
            assert await past_errors(outbox, order) == ["", "timed out", ""]
        assert await empty_reasons(outbox) == 0

    async def test_reasons_at_conversions_of_others_are_emptied_too(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2, 3))
        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        words = ("with jane@example.com", "with Jane%40example.com", "with joe@x.example")
        failed = [
            attrs.evolve(item, error=error)
            for item, error in zip(failures(claim, 1, 2, 3), words, strict=True)
        ]
        assert await outbox.settle(claim, failed)
        await outbox.discard("alpha", ["sale:2"])

        assert await empty_reasons(outbox) >= 2

        assert [letter.error for letter in await outbox.dead_letters()] == ["", words[2]]
        event_ids = ["sale:1", "sale:2", "sale:3"]
        reports = await outbox.reports(event_ids)
        outcomes = [reports[event_id].outcomes["alpha"] for event_id in event_ids]
        reasons = [(outcome.code, outcome.error) for outcome in outcomes]
        assert reasons == [("E1", None), ("E1", None), ("E1", words[2])]

    async def test_many_reasons_are_all_looked_at(self, outbox: Outbox, clock: Clock) -> None:
        numbers = range(1, 91)
        await outbox.append(janes(*numbers))
        for error in ("busy", "busy", "refused jane@example.com", "busy"):
            await fail(outbox, error, *numbers, due=clock.now)

        assert await empty_reasons(outbox) == 90
        assert await past_errors(outbox, 90) == ["busy", "busy", "", "busy"]


class ErasingRules(ReasonRules):
    """Tests of `ErasesCustomers.erase` and `EmptiesReasons.empty_reasons`."""

    async def test_a_waiting_conversion_loses_its_customer_and_stays_in_its_place(
        self, outbox: Outbox
    ) -> None:
        await outbox.append([*sales(1), *janes(2, 3), *sales(4)])

        assert (await erase(outbox)).conversions == erased(2, 3)

        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        assert orders(claim) == [1, 2, 3, 4]
        for entry in claim.entries[1:3]:
            expected = sale(int(entry.conversion.order_id or 0), consent=Consent(forgotten=True))
            assert entry.conversion == expected
        assert claim.entries[0].conversion == sale(1)
        assert (await erase(outbox)).conversions == ()

    async def test_nothing_is_counted_in_another_way(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append([*janes(1, 2), *sales(3)])
        await outbox.append(janes(4), ["beta"])
        claim = await outbox.claim("alpha", 2, LEASE)
        await outbox.settle(claim, failures(claim, 1) + failures(claim, 2, due=clock.now + 5))
        before = await outbox.depths()

        await erase(outbox)

        assert await outbox.depths() == before
        clock.advance(5)
        assert await deliver(outbox, "alpha", "beta") == [2, 3, 1, 2, 3, 4]
        assert await outbox.depths() == {"alpha": Depth(dead=1), "beta": Depth()}

    async def test_retries_and_dead_letters_are_erased_with_their_reasons(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(janes(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)
        await outbox.settle(claim, failures(claim, 1) + failures(claim, 2, due=clock.now))

        await erase(outbox)

        (letter,) = await outbox.dead_letters()
        assert letter.conversion.customer is None
        assert letter.error == ""
        (retry,) = (await outbox.claim("alpha", 2, LEASE)).entries
        assert (retry.conversion.customer, retry.attempts) == (None, 1)

    async def test_a_conversion_in_flight_is_named_and_erased_for_its_next_attempt(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(janes(1, 2))
        claim = await outbox.claim("alpha", 1, LEASE)

        first, second = (await erase(outbox)).conversions

        assert (first.in_flight, second.in_flight) == (("alpha",), ())
        await outbox.release(claim, due=clock.now, counts_as_attempt=True)
        again = await outbox.claim("alpha", 2, LEASE)
        assert [entry.conversion.customer for entry in again.entries] == [None, None]

    async def test_delivered_conversions_are_erased_as_long_as_they_are_stored(
        self, outbox: Outbox
    ) -> None:
        await outbox.append(janes(1))
        await deliver(outbox, "alpha")
        await dead_letter(outbox, "beta", 1)

        assert (await erase(outbox)).conversions == erased(1)

        (letter,) = await outbox.dead_letters()
        assert letter.conversion.customer is None
        outcomes = (await outbox.reports(["sale:1"]))["sale:1"].outcomes
        assert {name: outcome.status for name, outcome in outcomes.items()} == {
            "alpha": Status.DELIVERED,
            "beta": Status.DEAD,
        }

    async def test_a_repeat_of_an_erased_conversion_stores_nothing(self, outbox: Outbox) -> None:
        await outbox.append(janes(1))
        await erase(outbox)

        assert list(await outbox.append(janes(1))) == [Appended.REPEAT]

        (entry,) = (await outbox.claim("alpha", 2, LEASE)).entries
        assert entry.conversion.customer is None

    async def test_a_dead_letter_behind_the_log_is_erased(self, outbox: Outbox) -> None:
        await outbox.append([*janes(1), *sales(2, 3)])
        await dead_letter(outbox, "alpha", 1)
        await deliver(outbox, "beta")
        await outbox.prune(remember=HOUR)

        assert (await erase(outbox)).conversions == erased(1)

        (letter,) = await outbox.dead_letters()
        assert letter.conversion.customer is None
        assert await outbox.replay("alpha") == 1
        assert await deliver(outbox, "alpha") == [1]

    async def test_many_conversions_are_all_looked_at(self, outbox: Outbox) -> None:
        for start in range(0, 90, 30):
            await outbox.append([*sales(*range(start, start + 29)), *janes(start + 29)])

        assert (await erase(outbox)).conversions == erased(29, 59, 89)
