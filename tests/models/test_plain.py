"""Conversions as plain data: dicts, JSON and records, written and read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytrack_async import Conversion, Customer, InvalidConversionError, LineItem, to_records
from anytrack_async.models.conversion import ARGUMENTS
from anytrack_async.models.plain import to_conversion
from tests.client.service import recorded_as
from tests.examples import examples
from tests.strategies import conversions, recent_conversions

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
        (sale(revenu=1), "revenu is not a field of Conversion; did you mean 'revenue'?"),
        (sale(_event_id="1"), "_event_id is not a field of Conversion; did you mean 'event_id'?"),
        (
            sale(items='[{"id": 1, "prize": 2}]'),
            "items.prize is not a field of LineItem; did you mean 'price'?",
        ),
        (sale(customer="{x"), "customer must be an object"),
        (
            sale(customer={"mail": "x"}),
            "customer.mail is not a field of Customer; did you mean 'email'?",
        ),
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


# Round trips

many = settings(max_examples=examples(150), deadline=None)
SALE = Conversion.sale(
    order_id="1001",
    revenue="49.90",
    currency="EUR",
    timestamp=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    customer=Customer(email=["a@example.com", "b@example.com"], postal_code=10115),
    items=[LineItem(id="sku", price="24.95", quantity=2)],
    custom_data={"plan": {"price": 0.1, "seats": [1, None, True]}},
    meta={"custom_data": {"predicted_ltv": "99.10"}},
)


def assert_same(again: Conversion, conversion: Conversion) -> None:
    assert again == conversion
    assert again.event_id == conversion.event_id
    assert str(again.revenue) == str(conversion.revenue)
    assert [str(item.price) for item in again.items] == [
        str(item.price) for item in conversion.items
    ]
    assert json.dumps(again.custom_data) == json.dumps(conversion.custom_data)
    assert again.timestamp.tzinfo is UTC


@given(conversions | recent_conversions)
@many
def test_a_dict_and_json_are_read_as_the_conversion_that_was_written(conversion: Conversion):
    record = conversion.to_dict()

    assert_same(Conversion.from_dict(record), conversion)
    assert_same(Conversion.from_dict(json.loads(json.dumps(record))), conversion)
    assert_same(Conversion.from_json(conversion.to_json()), conversion)


@given(st.lists(conversions, max_size=3))
@many
def test_records_are_read_as_the_conversions_that_were_written(several: list[Conversion]):
    for record, conversion in zip(to_records(several), several, strict=True):
        assert_same(Conversion.from_dict(record), conversion)


@given(conversions)
@many
def test_a_recorded_conversion_is_read_with_the_values_that_anytrack_has(conversion: Conversion):
    odd = {"revenue": Decimal("-5.10"), "currency": "USDT"}
    recorded = recorded_as(conversion, **odd, items=(), customer=None, meta=None)

    for again in (
        type(recorded).from_dict(recorded.to_dict()),
        type(recorded).from_json(recorded.to_json()),
    ):
        assert type(again) is type(recorded)
        assert_same(again, recorded)


def test_json_keeps_integers_of_any_size():
    recorded = recorded_as(Conversion.lead(), custom_data={"n": 2**70})

    assert type(recorded).from_json(recorded.to_json()) == recorded


def test_a_dict_has_the_fields_that_are_given_with_amounts_and_times_as_text():
    assert SALE.to_dict() == {
        "conversion_type": "sale",
        "revenue": "49.90",
        "currency": "EUR",
        "timestamp": "2026-01-02T03:04:05.678901+00:00",
        "order_id": "1001",
        "event_id": "sale:1001",
        "custom_data": {"plan": {"price": 0.1, "seats": [1, None, True]}},
        "items": [{"id": "sku", "quantity": 2, "price": "24.95"}],
        "customer": {"email": ["a@example.com", "b@example.com"], "postal_code": ["10115"]},
        "meta": {"custom_data": {"predicted_ltv": "99.10"}},
    }
    assert type(SALE.to_dict()["conversion_type"]) is str


def test_an_event_id_that_was_made_from_the_order_is_made_again_after_a_round_trip():
    again = Conversion.from_dict(SALE.to_dict())

    assert attrs.evolve(again, order_id="1002").event_id == "sale:1002"


# Records


def test_each_record_has_all_fields_with_the_same_types():
    with pytest.raises(TypeError, match="needs Conversion objects, got int"):
        to_records([5])
    first, second = to_records([SALE, Conversion.lead()])

    assert list(first) == list(second) == list(ARGUMENTS)
    assert (first["revenue"], first["timestamp"]) == (Decimal("49.90"), SALE.timestamp)
    assert json.loads(first["items"]) == SALE.to_dict()["items"]
    assert second["customer"] is None
    for record in (first, second):
        types = {
            type(value) for name, value in record.items() if name not in ("revenue", "timestamp")
        }
        assert types <= {str, type(None)}


def test_records_make_an_arrow_table_that_is_read_back():
    arrow = pytest.importorskip("pyarrow")
    sales = [SALE, Conversion.lead(custom_data={"plan": 5}), Conversion.sale(revenue="1234.5678")]

    table = arrow.Table.from_pylist(to_records(sales))

    assert table.column_names == list(ARGUMENTS)
    assert str(table.schema.field("timestamp").type) == "timestamp[us, tz=UTC]"
    assert arrow.types.is_decimal(table.schema.field("revenue").type)
    assert [Conversion.from_dict(record) for record in table.to_pylist()] == sales


def test_gaps_of_a_data_frame_are_not_given():
    record = {name: float("nan") for name in ARGUMENTS} | {"conversion_type": "lead"}

    assert Conversion.from_dict(record).to_dict().keys() == {
        *("conversion_type", "revenue", "currency", "timestamp", "event_id")
    }


@pytest.mark.parametrize("gap", ["nan", "NaT", "None", "null", "<NA>"])
def test_gaps_of_columns_that_became_text_are_not_given(gap: str):
    names = ("timestamp", "ago", "customer", "items", "meta", "clicks", "sub_ids", "custom_data")
    record = dict.fromkeys((*names, "consent"), gap) | {"conversion_type": "lead"}

    assert Conversion.from_dict(record).to_dict().keys() == {
        *("conversion_type", "revenue", "currency", "timestamp", "event_id")
    }


def test_objects_arrays_and_blanks_around_text_are_read():
    items = ({"id": 1}, None, LineItem(id=2))
    read = Conversion.from_dict(
        {
            "conversion_type": "lead",
            "items": items,
            "customer": Customer(email="a@b.example"),
            "timestamp": " 2026-01-01T00:00:00Z\u200b",
            "sub_ids": '\ufeff{"s1": 1}',
        }
    )

    assert [item.id for item in read.items] == ["1", "2"]
    assert read.customer == Customer(email="a@b.example")
    assert read.timestamp == datetime(2026, 1, 1, tzinfo=UTC)
    assert read.sub_ids == {"s1": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"jane@example.com', "conversion must be JSON: see line 1, column 2"),
        (b"\xff", "conversion must be JSON in UTF-8"),
        ("[" * 100_000, "conversion must be JSON in UTF-8"),
        ("[1]", "conversion must be an object, got list"),
        ("null", "conversion must be an object, got NoneType"),
        ("{}", "conversion_type is missing"),
    ],
)
def test_text_that_is_no_conversion_is_refused_without_quoting_it(text: str, message: str):
    with pytest.raises(InvalidConversionError) as caught:
        Conversion.from_json(text)

    assert str(caught.value) == message
    assert caught.value.__context__ is None
