"""Rules about appending conversions, repeats and capacity."""

# ruff: noqa: D102, S101

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest

from anytrack_async.errors import QueueFullError
from anytrack_async.models.consent import Consent
from anytrack_async.models.contradiction import Contradiction, find_contradiction, summary
from anytrack_async.models.conversion import ARGUMENTS, Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaFields
from anytrack_async.outbox.base import Appended, Outbox
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    HOUR,
    LEASE,
    Clock,
    Rules,
    deliver,
    failures,
    orders,
    sale,
    sales,
)

NEW, REPEAT = Appended.NEW, Appended.REPEAT

# Everything that the thank-you page and the shop's webhook may know differently.
HARMLESS: Mapping[str, Any] = {
    "timestamp": datetime(2020, 1, 1, tzinfo=UTC),
    "id": "given-by-anytrack",
    "order_id": "another",
    "event_name": "Purchased",
    "click_id": "c2",
    "source": "newsletter",
    "campaign_id": "7",
    "ad_id": "8",
    "sub_ids": {"a": "1"},
    "ip_address": "8.8.8.8",
    "user_agent": "Mozilla/5.0",
    "page_url": "https://example.com/thanks?fbclid=x",
    "custom_data": {"a": [1, {"b": None}]},
    "items": [LineItem(id="sku", price="1.50")],
    "customer": Customer(email="Jane@Example.com", fbc="fb.1.1700000000000.abc"),
    "meta": MetaFields(opt_out=True),
    "clicks": {"gclid": "another"},
    "consent": Consent(ad_user_data=False),
}

# Type, revenue and currency of the first conversion, then of the same event id again.
_Values = tuple[str, object, str]
EQUAL: Sequence[tuple[_Values, _Values]] = [
    (("sale", "49.90", "USD"), ("sale", 49.9, "usd")),
    (("sale", "100", "USD"), ("sale", Decimal("1E+2"), "USD")),
    (("lead", 0, "USD"), ("lead", "0.00", "EUR")),  # nothing has no currency
]
DIFFERENT: Sequence[tuple[_Values, _Values]] = [
    (("sale", "49.90", "USD"), ("sale", "49.91", "USD")),
    (("sale", "49.90", "USD"), ("sale", "49.90", "EUR")),
    (("sale", "49.90", "USD"), ("lead", "49.90", "USD")),
    (("lead", 0, "USD"), ("lead", 5, "USD")),
    (("sale", "1." + "0" * 40 + "1", "USD"), ("sale", "1." + "0" * 40 + "2", "USD")),
]


def with_values(values: _Values) -> Conversion:
    """Return a conversion with a type, revenue and currency, always with the same event id."""
    fields: dict[str, Any] = dict(
        zip(("conversion_type", "revenue", "currency"), values, strict=True)
    )
    return Conversion(event_id="e", order_id="1", **fields)


def contradiction(first: Conversion, repeat: Conversion) -> Contradiction:
    """Return the result that *repeat* has after *first*."""
    result = find_contradiction(first.event_id, summary(first), summary(repeat))
    assert result is not None
    return result


class AppendRules(Rules):
    """Tests of `append`."""

    async def test_new_conversions_are_accepted(self, outbox: Outbox) -> None:
        assert list(await outbox.append(sales(1, 2))) == [NEW, NEW]
        assert orders(await outbox.claim("alpha", 10, LEASE)) == [1, 2]

    async def test_an_empty_append_returns_nothing(self, outbox: Outbox) -> None:
        assert list(await outbox.append([])) == []

    async def test_every_field_is_stored(self, outbox: Outbox) -> None:
        conversion = Conversion.sale(
            revenue=Decimal("19.90"),
            currency="EUR",
            order_id="Ä-1",
            click_id="click",
            timestamp=datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC),
            sub_ids={"s1": "é"},
            custom_data={"deep": [{"a": 1.5, "b": None}], "product_id": "p"},
            items=[LineItem(id="sku", quantity=2, price=Decimal("9.95"))],
            customer=Customer(email="a@example.com", birth_date=date(1990, 1, 2)),
            clicks={"gclid": "Cj0", "ScCid": "snap"},
            consent=Consent(ad_storage=True, ad_user_data=False),
        )
        await outbox.append([conversion])

        (entry,) = (await outbox.claim("alpha", 10, LEASE)).entries

        assert entry.conversion == conversion

    # Repeats

    async def test_a_repeat_is_recognised_and_claimed_once(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))

        assert list(await outbox.append(sales(1, 2))) == [REPEAT, NEW]
        assert orders(await outbox.claim("alpha", 10, LEASE)) == [1, 2]

    async def test_the_fields_of_these_rules_are_all_fields(self) -> None:
        deciding = {"event_id", "conversion_type", "revenue", "currency"}

        assert ARGUMENTS.keys() == deciding | HARMLESS.keys()

    @pytest.mark.parametrize("field", HARMLESS)
    async def test_a_repeat_may_differ_in_any_other_field(self, outbox: Outbox, field: str) -> None:
        first = sale(1)
        again = attrs.evolve(first, event_id=first.event_id, **{field: HARMLESS[field]})
        await outbox.append([first])

        assert list(await outbox.append([again])) == [REPEAT]
        assert list(await outbox.append([attrs.evolve(again, revenue=2)])) == [
            contradiction(first, sale(1, revenue=2))
        ]
        (entry,) = (await outbox.claim("alpha", 10, LEASE)).entries
        assert entry.conversion == first

    @pytest.mark.parametrize("dropped", [False, True])
    @pytest.mark.parametrize(("first", "again"), EQUAL)
    async def test_an_equal_amount_is_a_repeat(
        self, outbox: Outbox, first: _Values, again: _Values, dropped: bool
    ) -> None:
        await self._accept(outbox, first, dropped=dropped)

        assert list(await outbox.append([with_values(again)])) == [REPEAT]

    @pytest.mark.parametrize("dropped", [False, True])
    @pytest.mark.parametrize(("first", "again"), DIFFERENT)
    async def test_another_type_amount_or_currency_is_a_contradiction(
        self, outbox: Outbox, first: _Values, again: _Values, dropped: bool
    ) -> None:
        await self._accept(outbox, first, dropped=dropped)

        (result,) = await outbox.append([with_values(again)])

        assert isinstance(result, Contradiction)
        assert result.event_id == "e"
        for summarised, (kind, revenue, currency) in [
            (result.first, first),
            (result.repeat, again),
        ]:
            assert summarised.conversion_type == kind
            assert summarised.revenue == Decimal(str(revenue))
            assert summarised.currency == currency
        assert list(await outbox.append([with_values(first)])) == [REPEAT]
        assert await deliver(outbox, "alpha") == ([] if dropped else [1])

    async def _accept(self, outbox: Outbox, values: _Values, *, dropped: bool) -> None:
        await outbox.append([with_values(values)])
        if dropped:
            await deliver(outbox, *self.destinations)
            assert await outbox.prune(remember=HOUR) == 1

    async def test_repeats_within_one_call_are_recognised(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        conversions = [sale(2), sale(1), sale(2), sale(2, revenue=9), sale(3)]

        assert list(await outbox.append(conversions)) == [
            *(NEW, REPEAT, REPEAT, contradiction(sale(2), sale(2, revenue=9)), NEW)
        ]
        assert await deliver(outbox, "alpha") == [1, 2, 3]

    async def test_a_delivered_conversion_is_still_a_repeat(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        await deliver(outbox, "alpha", "beta")

        other = sale(1, revenue=2)
        assert list(await outbox.append([sale(1), other])) == [
            *(REPEAT, contradiction(sale(1), other))
        ]
        assert await deliver(outbox, "alpha", "beta") == []

    async def test_a_pruned_conversion_is_still_a_repeat(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await deliver(outbox, "alpha", "beta")
        assert await outbox.prune(remember=HOUR) == 2

        other = sale(2, revenue=9)
        assert list(await outbox.append([sale(1), other])) == [
            *(REPEAT, contradiction(sale(2), other))
        ]
        assert await deliver(outbox, "alpha", "beta") == []

    # Capacity

    async def test_a_full_outbox_raises_and_accepts_nothing(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY - 1)))

        with pytest.raises(QueueFullError, match=str(CAPACITY)):
            await outbox.append(sales(1001, 1002))

        assert await outbox.reports(["sale:1001", "sale:1002"]) == {}
        assert list(await outbox.append(sales(1003))) == [NEW]

    async def test_a_full_outbox_recognises_repeats(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))

        other = sale(2, revenue=9)
        assert list(await outbox.append([sale(1), other])) == [
            *(REPEAT, contradiction(sale(2), other))
        ]

    async def test_repeats_need_no_space(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY - 1)))

        assert list(await outbox.append(sales(0, 1, 1001, 1001))) == [REPEAT, REPEAT, NEW, REPEAT]
        with pytest.raises(QueueFullError):
            await outbox.append(sales(0, 1002))

    async def test_the_slowest_destination_determines_the_space(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))
        await deliver(outbox, "alpha")
        with pytest.raises(QueueFullError, match="beta"):
            await outbox.append(sales(1001))

        await deliver(outbox, "beta")

        assert list(await outbox.append(sales(1001))) == [NEW]

    async def test_a_full_destination_takes_no_room_from_the_others(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)), ["beta"])

        for start in range(1000, 1000 + 3 * CAPACITY, CAPACITY):
            numbers = [*range(start, start + CAPACITY)]
            assert list(await outbox.append(sales(*numbers), ["alpha"])) == [NEW] * CAPACITY
            assert await deliver(outbox, "alpha") == numbers
        with pytest.raises(QueueFullError) as caught:
            await outbox.append(sales(5000))

        assert caught.value.waiting == {"beta": CAPACITY}
        assert await deliver(outbox, "beta") == [*range(CAPACITY)]

    async def test_conversions_for_others_take_no_room(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY - 1)), ["beta"])
        for start in range(1000, 1000 + 3 * CAPACITY, CAPACITY):
            await outbox.append(sales(*range(start, start + CAPACITY)), ["alpha"])
            await deliver(outbox, "alpha")

        assert list(await outbox.append(sales(5000))) == [NEW]
        with pytest.raises(QueueFullError) as caught:
            await outbox.append(sales(5001))
        assert caught.value.waiting == {"beta": CAPACITY}
        assert list(await outbox.append(sales(5001), ["alpha"])) == [NEW]
        assert await deliver(outbox, "beta") == [*range(CAPACITY - 1), 5000]

    async def test_every_destination_without_room_is_named(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))

        with pytest.raises(QueueFullError, match=r"'alpha'.*'beta'") as caught:
            await outbox.append(sales(1001))

        assert caught.value.waiting == {"alpha": CAPACITY, "beta": CAPACITY}

    async def test_retries_take_space(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(*range(CAPACITY)))
        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        await outbox.settle(claim, failures(claim, 1, 2, due=clock.now + 9))
        await deliver(outbox, "beta")

        with pytest.raises(QueueFullError):
            await outbox.append(sales(*range(1000, 1000 + CAPACITY - 1)))
        assert len(await outbox.append(sales(*range(1000, 1000 + CAPACITY - 2)))) == CAPACITY - 2

    async def test_leased_and_released_conversions_take_space(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(CAPACITY)))
        await deliver(outbox, "beta")
        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        with pytest.raises(QueueFullError):
            await outbox.append(sales(1001))

        await outbox.release(claim, due=clock.now, counts_as_attempt=True)

        with pytest.raises(QueueFullError):
            await outbox.append(sales(1001))

    async def test_dead_letters_take_no_space(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))
        for name in self.destinations:
            claim = await outbox.claim(name, CAPACITY, LEASE)
            await outbox.settle(claim, failures(claim, *range(CAPACITY)))

        assert list(await outbox.append(sales(1001))) == [NEW]
