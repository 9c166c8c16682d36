from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from anytrack_async import InvalidConversionError
from anytrack_async.codec.plain import to_conversion

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def sale(**fields) -> dict:
    return {"conversion_type": "sale", "order_id": "7", **fields}


def test_an_object_becomes_a_conversion():
    record = sale(
        revenue="12.50",
        currency="EUR",
        ago=90,
        customer={"email": "a@example.com"},
        items=[{"id": "sku", "quantity": 2}],
        note="for people",
    )

    conversion = to_conversion(record, now=NOW)

    assert conversion.event_id == "sale:7"
    assert conversion.revenue == Decimal("12.50")
    assert conversion.timestamp == NOW - timedelta(minutes=90)
    assert conversion.customer.email == ("a@example.com",)
    assert conversion.items[0].quantity == 2


def test_a_timestamp_is_read_from_iso_8601():
    conversion = to_conversion(sale(timestamp="2026-01-02T03:04:05Z"))

    assert conversion.timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_an_object_without_a_time_happened_now():
    before = datetime.now(UTC)

    assert before <= to_conversion({"conversion_type": "lead"}).timestamp <= datetime.now(UTC)


def test_null_counts_as_not_given():
    nulls = dict.fromkeys(
        ("currency", "event_id", "timestamp", "customer", "items", "meta", "source", "sub_ids")
    )
    conversion = to_conversion(sale(revenue=1, **nulls))

    assert (conversion.currency, conversion.event_id) == ("USD", "sale:7")


@pytest.mark.parametrize("gap", [None, "", " ", float("nan")])
def test_only_a_sale_needs_an_amount(gap):
    record = {"conversion_type": "lead", "revenue": gap, "customer": gap}

    assert to_conversion(record).revenue == 0
    with pytest.raises(InvalidConversionError, match="revenue"):
        to_conversion(sale(revenue=gap))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (sale(revenue="-1"), "revenue must not be negative"),
        (sale(amount=1), "amount is not a field of Conversion"),
        (sale(customer={"mail": "x"}), "customer.mail is not a field of Customer"),
        (sale(customer={"email": 5.5}), "customer.email must be text, got float"),
        (sale(customer="x"), "customer must be an object"),
        (sale(items={"id": "x"}), "items must be a list"),
        (sale(items=["x"]), "items must be an object"),
        (sale(items=[{"quantity": 1}]), "items.id is missing"),
        (sale(ago="soon"), "ago must be a number of minutes"),
        (sale(ago=True), "ago must be a number of minutes"),
        (sale(ago=1e300), "ago must be a number of minutes"),
        (sale(timestamp="yesterday"), "timestamp must be an ISO 8601 time"),
        ({"order_id": "7"}, "conversion_type is missing"),
    ],
)
def test_an_invalid_field_is_named(record, message):
    with pytest.raises(InvalidConversionError) as caught:
        to_conversion(record, now=NOW)

    assert str(caught.value) == message
