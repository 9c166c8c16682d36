"""The storage form: exact, versioned, and trusted by its digest; what `load` refuses."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytrack_async.codec import storage
from anytrack_async.codec.converter import load
from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import DecodeError
from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import ARGUMENTS, Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaCustomData, MetaFields
from tests.examples import examples
from tests.models.strategies import NASTY, conversions, json_values

SECRET = "jane@example.com"
many = settings(max_examples=examples(80))

SALE = Conversion.sale(
    revenue="49.90",
    currency="EUR",
    order_id="1001",
    timestamp=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    customer=Customer(email=[SECRET]),
    custom_data={"plan": "pro"},
)


FULL = attrs.evolve(
    SALE,
    id="c1",
    click_id="k1",
    sub_ids={"b": "2", "a": "1"},
    source="google",
    custom_data={"plan": "pro", "a": [1, 2.5, None, True]},
    customer=Customer(email=[SECRET], phone=49, fbc="fb.1.1.x"),
    items=[LineItem(id="p1", price="9.90", quantity=2)],
    meta=MetaFields(opt_out=True, custom_data=MetaCustomData(net_revenue=Decimal("1.50"))),
)


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


# Trusted


def spy_on_load(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that collects the event ids of validated conversions."""
    validated: list[str] = []

    def spy(data: Any, cls: Any) -> Any:
        if cls is Conversion:
            validated.append(data["event_id"])
        return load(data, cls)

    monkeypatch.setattr(storage, "load", spy)
    return validated


@given(conversions)
@many
def test_decoding_with_a_digest_returns_the_same_conversion(conversion: Conversion):
    stored = encode(conversion)
    again, validated = decode(*stored), decode(stored.payload)

    assert again == conversion
    assert attrs.asdict(again) == attrs.asdict(validated)
    assert repr(again) == repr(validated)
    assert again.timestamp.tzinfo is UTC
    assert type(again.conversion_type) is ConversionType
    assert {type(value) for value in attrs.astuple(again, recurse=False)} == {
        type(value) for value in attrs.astuple(conversion, recurse=False)
    }


@given(st.builds(Customer, email=st.text("ab ", min_size=1), phone=st.integers(), fbp=st.just("x")))
@many
def test_decoding_with_a_digest_returns_the_same_customer(customer: Customer):
    conversion = Conversion.lead(customer=customer)

    assert decode(*encode(conversion)).customer == customer


def test_a_private_address_from_an_older_outbox_is_left_out():
    sale = Conversion.sale(revenue=1, order_id="1", ip_address="203.0.113.9")
    object.__setattr__(sale, "ip_address", "192.168.0.7")
    payload, earlier_digest = encode(sale).payload, bytes(16)

    assert decode(payload, earlier_digest).ip_address is None
    assert decode(payload).ip_address is None


def test_two_decoded_conversions_share_no_mapping():
    stored = encode(Conversion.lead())
    one, other = decode(*stored), decode(*stored)

    assert one.custom_data is not other.custom_data
    assert one.sub_ids is not other.sub_ids


def test_a_record_that_matches_its_digest_is_not_validated(monkeypatch: pytest.MonkeyPatch):
    validated = spy_on_load(monkeypatch)

    assert decode(*encode(SALE)) == SALE
    assert decode(*encode(FULL)) == FULL
    assert validated == []


def test_a_record_that_a_later_rule_forbids_is_validated_despite_its_digest(
    monkeypatch: pytest.MonkeyPatch,
):
    validated = spy_on_load(monkeypatch)
    payload = encode(SALE).payload.replace(b'"sale"', b'"gone"')

    with pytest.raises(DecodeError, match="conversion_type"):
        decode(payload, storage.digest_of(payload))
    assert validated == ["sale:1001"]


@pytest.mark.parametrize(
    ("original", "damaged"),
    [
        (b'"EUR"', b'"EU"'),
        (b'"sale:1001"', b'""'),
        (b'"sale"', b'"sold"'),
        (b'"revenue":"49.90"', b'"revenue":"-1"'),
        (b'"revenue":"49.90"', b'"revenue":"NaN"'),
        (b'"revenue":"49.90"', b'"revenue":"x"'),
        (b'"revenue":"49.90"', b'"revenue":[]'),
        (b"2026-01-02T", b"2026-13-02T"),
        (b'"price":"9.90"', b'"price":"-1"'),
        (b'"opt_out":true', b'"opt_out":"maybe"'),
        (b'"content":{', b'"content":{"customer":5,'),
        (b'"revenue":"49.90"', b'"currency":5'),
    ],
)
def test_a_changed_record_is_validated_despite_its_digest(original: bytes, damaged: bytes):
    payload, digest = encode(attrs.evolve(FULL, id=None))
    assert original in payload

    changed = payload.replace(original, damaged, 1)

    assert result(changed, digest) == result(changed, None)


def result(payload: bytes, digest: bytes | None) -> Conversion | str:
    try:
        return decode(payload, digest)
    except DecodeError as exc:
        return str(exc)


@given(st.data())
@many
def test_a_byte_that_was_changed_reads_the_same_with_and_without_digest(
    data: st.DataObject,
):
    payload, digest = encode(attrs.evolve(FULL, id=None))
    position = data.draw(st.integers(0, len(payload) - 1))
    byte = data.draw(st.binary(min_size=1, max_size=1))
    broken = payload[:position] + byte + payload[position + 1 :]

    assert result(broken, digest) == result(broken, None)


def test_a_timestamp_that_was_changed_is_read_as_it_is():
    payload, digest = encode(SALE)
    zoned = payload.replace(b"+00:00", b"+02:00")

    assert decode(zoned, digest).timestamp == SALE.timestamp - timedelta(hours=2)
    assert decode(zoned, digest).timestamp.tzinfo is UTC


# Digests


CHANGES: dict[str, Any] = {
    "conversion_type": "lead",
    "click_id": "c1",
    "revenue": "49.9",
    "currency": "USD",
    "timestamp": SALE.timestamp + timedelta(microseconds=1),
    "id": "c1",
    "order_id": "1002",
    "event_name": "x",
    "event_id": "mine",
    "source": "s",
    "campaign_id": "c",
    "ad_id": "a",
    "sub_ids": {"s": "1"},
    "ip_address": "2606:4700::1",
    "user_agent": "u",
    "page_url": "p",
    "custom_data": {"plan": "free"},
    "items": [LineItem(id="a")],
    "customer": Customer(email=SECRET, phone="1"),
    "meta": MetaFields(opt_out=True),
    "clicks": {"gclid": "Cj0"},
    "consent": Consent(ad_user_data=False),
}


def test_the_changes_cover_every_field():
    assert set(ARGUMENTS) == set(CHANGES)


@pytest.mark.parametrize("field", CHANGES)
def test_the_digest_covers_every_field(field: str):
    assert encode(attrs.evolve(SALE, **{field: CHANGES[field]})).digest != encode(SALE).digest


# load


def test_load_names_the_class_when_the_data_is_not_an_object():
    with pytest.raises(DecodeError, match=r"^Conversion: "):
        load(5, Conversion)
