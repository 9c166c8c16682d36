"""Rules about erasing a person's data, for outboxes that can."""

# ruff: noqa: D102, S101

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.erasure import Person, without_person
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Appended, Depth, Outbox
from anytrack_async.outbox.capabilities import ErasedConversion, ErasesCustomers, Erasure
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
    """Return what `erase` says of some orders."""
    return tuple(
        ErasedConversion(event_id=f"sale:{order}", order_id=f"{order}", **fields)
        for order in order_numbers
    )


class ErasingRules(Rules):
    """Tests of `ErasesCustomers.erase`."""

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
