"""The storage form: exact, versioned, and trusted by its digest; what `load` refuses."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.codec import storage
from anytrack_async.codec.converter import load
from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaCustomData, MetaFields
from tests.codec.records import FULL, SALE, SECRET, many
from tests.models.strategies import NASTY, conversions, json_values


def as_sorted_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


# Exact


@given(conversions)
@many
def test_decoding_returns_the_conversion_that_was_encoded(conversion: Conversion):
    again = decode(encode(conversion).payload)

    assert again == conversion
    assert attrs.asdict(again) == attrs.asdict(conversion)
    assert str(again.revenue) == str(conversion.revenue)
    assert [str(item.price) for item in again.items] == [
        str(item.price) for item in conversion.items
    ]
    assert type(again.timestamp) is datetime
    assert again.timestamp.tzinfo is UTC


@pytest.mark.parametrize("amount", ["0", "0.00", "0.10", "1E-7", "1E+14", "1E-999999", "0E-50"])
def test_amounts_keep_their_digits(amount: str):
    conversion = Conversion.sale(revenue=amount, items=[LineItem(id="a", price=amount)])

    again = decode(encode(conversion).payload)

    assert (str(again.revenue), str(again.items[0].price)) == (amount, amount)


@pytest.mark.parametrize("text", NASTY)
def test_text_cannot_change_the_structure_of_the_record(text: str):
    conversion = Conversion.lead(
        source=text,
        custom_data={text: text, "v": 9, "content": text},
        customer=Customer(email=text),
    )

    assert decode(encode(conversion).payload) == conversion


@given(json_values)
@many
def test_custom_data_keeps_its_types(value: Any):
    conversion = Conversion.lead(custom_data={"value": value})

    again = decode(encode(conversion).payload)

    assert as_sorted_json(again.custom_data) == as_sorted_json(conversion.custom_data)


def test_the_deepest_custom_data_is_decoded():
    deep: Any = []
    for _ in range(62):
        deep = [deep]
    conversion = Conversion.lead(custom_data={"a": deep}, meta=MetaFields(extra={"a": deep}))

    assert decode(encode(conversion).payload) == conversion


# Versioned


def test_a_record_carries_its_version():
    assert orjson.loads(encode(SALE).payload)["v"] == 1


def test_a_derived_event_id_is_stored():
    assert orjson.loads(encode(SALE).payload)["content"]["event_id"] == "sale:1001"


def test_a_record_of_the_first_release_is_readable():
    """Written by the first release; must never be edited."""
    payload = (
        b'{"v":1,"timestamp":"2026-01-02T03:04:05.678901+00:00","id":"c1","content":{'
        b'"conversion_type":"sale","currency":"EUR","customer":{"email":["jane@example.com"]},'
        b'"custom_data":{"plan":"pro"},"event_id":"sale:1001","items":[{"id":"p1","price":"9.90"}],'
        b'"meta":{"custom_data":{"net_revenue":"1.50"},"opt_out":true},'
        b'"order_id":"1001","revenue":"49.90"}}'
    )

    assert decode(payload) == attrs.evolve(
        SALE,
        id="c1",
        items=[LineItem(id="p1", price="9.90")],
        meta=MetaFields(opt_out=True, custom_data=MetaCustomData(net_revenue=Decimal("1.50"))),
    )


def test_a_record_of_the_first_release_with_exact_amounts_beside_its_content_is_readable():
    """Written by the first release, with its digest; must never be edited."""
    payload = (
        b'{"v":1,"timestamp":"2026-01-02T03:04:05.678901+00:00","revenue":"49.90",'
        b'"items":[{"id":"p1","quantity":2,"price":"9.90"}],"content":{"conversion_type":"sale",'
        b'"currency":"EUR","custom_data":{"plan":"pro"},"customer":{"email":["jane@example.com"]},'
        b'"event_id":"sale:1001","items":[{"id":"p1","price":"9.9","quantity":2}],'
        b'"order_id":"1001","revenue":"49.9"}}'
    )

    for digest in (None, bytes.fromhex("3bb4c34127afbbf9136d0070a17e80f2")):
        again = decode(payload, digest)
        assert again == attrs.evolve(SALE, items=[LineItem(id="p1", quantity=2, price="9.90")])
        assert (str(again.revenue), str(again.items[0].price)) == ("49.90", "9.90")


def test_a_record_says_each_thing_once():
    record = orjson.loads(encode(FULL).payload)

    assert list(record) == ["v", "timestamp", "id", "content"]
    assert record["content"]["revenue"] == "49.90"
    assert [item["price"] for item in record["content"]["items"]] == ["9.90"]


def test_the_error_for_a_record_of_a_later_release_says_upgrade():
    payload = orjson.dumps({**orjson.loads(encode(SALE).payload), "v": 2})

    with pytest.raises(
        DecodeError, match=r"format version 2; .* reads up to version 1: upgrade anytrack_async"
    ):
        decode(payload)


def test_an_older_record_goes_through_every_upgrade(monkeypatch: pytest.MonkeyPatch):
    def from_1(record: dict[str, Any]) -> dict[str, Any]:
        return record | {"steps": [1]}

    def from_2(record: dict[str, Any]) -> dict[str, Any]:
        assert record.pop("steps") == [1]
        record["content"]["order_id"] = "upgraded"
        return record

    old = encode(SALE).payload
    monkeypatch.setattr(storage, "_VERSION", 3)
    monkeypatch.setattr(storage, "_UPGRADES", {1: from_1, 2: from_2})

    assert decode(old).order_id == "upgraded"


def test_records_older_than_the_first_upgrade_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage, "_VERSION", 3)
    monkeypatch.setattr(storage, "_UPGRADES", {2: lambda record: record})

    with pytest.raises(DecodeError, match="not a record of this library"):
        decode(encode(SALE).payload.replace(b'"v":3', b'"v":1'))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"5",
        b"[]",
        b"{}",
        b"\xff",
        b'"text"',
        b'{"v":"1"}',
        b'{"v":null}',
        b'{"v":true,"content":{}}',
        b'{"v":0,"content":{}}',
        b'{"v":-1}',
        b'{"v":1}',
        b'{"v":1,"content":[]}',
        b'{"v":1,"content":{}}',
        b'{"v":1,"content":{"conversion_type":"sale","revenue":"NaN"}}',
        b'{"v":1,"content":{"conversion_type":"sale","revenue":{}}}',
        b'{"v":1,"content":{"conversion_type":"sale"},"timestamp":5e99}',
        encode(SALE).payload[:-20],
        encode(SALE).payload.replace(b'"timestamp"', b'"timestamq"'),
        encode(SALE).payload.replace(b'"event_id"', b'"event_ie"'),
        encode(SALE).payload.replace(b'"v":1', b'"v":true'),
        encode(SALE).payload.replace(b'"v":1', b'"v":1.0'),
    ],
)
def test_a_damaged_record_is_a_decode_error(payload: bytes):
    with pytest.raises(DecodeError):
        decode(payload)


@given(st.binary(max_size=60))
@many
def test_arbitrary_bytes_raise_nothing_but_a_decode_error(payload: bytes):
    with pytest.raises(DecodeError):
        decode(payload)


def test_neither_message_nor_traceback_quotes_a_damaged_record():
    record = orjson.loads(encode(SALE).payload)
    record["revenue"] = record["content"]["customer"]["email"] = SECRET
    record["content"]["custom_data"] = [SECRET]

    with pytest.raises(DecodeError) as caught:
        decode(orjson.dumps(record))

    shown = "".join(traceback.format_exception(caught.value))
    assert "$.revenue" in str(caught.value)
    assert SECRET not in shown
    assert caught.value.__cause__ is None


# load


def test_load_names_the_class_when_the_data_is_not_an_object():
    with pytest.raises(DecodeError, match=r"^Conversion: "):
        load(5, Conversion)
