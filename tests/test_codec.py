"""The two written forms: storage is exact and versioned, the wire is read tolerantly."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytrack_async.codec import storage
from anytrack_async.codec.converter import load
from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaCustomData, MetaFields
from tests.models.strategies import NASTY, conversions, json_values

SECRET = "jane@example.com"
many = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)

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


# Storage: exact


@given(conversions)
@many
def test_every_conversion_comes_back_as_it_was(conversion: Conversion):
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
def test_amounts_come_back_to_the_digit(amount: str):
    conversion = Conversion.sale(revenue=amount, items=[LineItem(id="a", price=amount)])

    again = decode(encode(conversion).payload)

    assert (str(again.revenue), str(again.items[0].price)) == (amount, amount)


@pytest.mark.parametrize("text", NASTY)
def test_no_text_breaks_out_of_its_field(text: str):
    conversion = Conversion.lead(
        source=text,
        custom_data={text: text, "v": 9, "content": text},
        customer=Customer(email=text),
    )

    assert decode(encode(conversion).payload) == conversion


@given(json_values)
@many
def test_custom_data_comes_back_with_its_types(value: Any):
    conversion = Conversion.lead(custom_data={"value": value})

    again = decode(encode(conversion).payload)

    assert as_sorted_json(again.custom_data) == as_sorted_json(conversion.custom_data)


def test_the_deepest_custom_data_comes_back():
    deep: Any = []
    for _ in range(62):
        deep = [deep]
    conversion = Conversion.lead(custom_data={"a": deep}, meta=MetaFields(extra={"a": deep}))

    assert decode(encode(conversion).payload) == conversion


# Storage: versioned


def test_a_record_carries_its_version():
    assert orjson.loads(encode(SALE).payload)["v"] == 1


def test_a_file_does_not_depend_on_how_ids_are_made_today():
    assert orjson.loads(encode(SALE).payload)["content"]["event_id"] == "sale:1001"


def test_a_record_of_today_stays_readable():
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


def test_what_counts_stands_in_the_content_and_its_digits_in_the_head():
    record = orjson.loads(encode(FULL).payload)

    assert list(record) == ["v", "timestamp", "id", "revenue", "items", "meta", "content"]
    assert (record["revenue"], record["content"]["revenue"]) == ("49.90", "49.9")
    assert [item["price"] for item in record["items"]] == ["9.90"]
    assert [item["price"] for item in record["content"]["items"]] == ["9.9"]


def test_a_head_without_news_has_none():
    plain = Conversion.lead(items=[LineItem(id="a", price=5)], meta=MetaFields(opt_out=True))

    assert list(orjson.loads(encode(plain).payload)) == ["v", "timestamp", "content"]


def test_a_later_release_is_told_to_upgrade():
    payload = orjson.dumps({**orjson.loads(encode(SALE).payload), "v": 2})

    with pytest.raises(DecodeError, match=r"form 2 by a later release.*reads up to 1: upgrade"):
        decode(payload)


def test_older_records_go_through_every_upgrade(monkeypatch: pytest.MonkeyPatch):
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
def test_no_bytes_are_anything_but_a_decode_error(payload: bytes):
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


# Storage: proven


def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note of which conversions each field is looked at."""
    seen: list[str] = []

    def noting(data: Any, cls: Any) -> Any:
        seen.append(data["event_id"])
        return load(data, cls)

    monkeypatch.setattr(storage, "load", noting)
    return seen


@given(conversions)
@many
def test_with_its_digest_every_conversion_comes_back_as_it_was(conversion: Conversion):
    stored = encode(conversion)
    again, looked_at = decode(*stored), decode(stored.payload)

    assert again == conversion
    assert attrs.asdict(again) == attrs.asdict(looked_at)
    assert repr(again) == repr(looked_at)
    assert again.timestamp.tzinfo is UTC
    assert type(again.conversion_type) is ConversionType
    assert {type(one) for one in attrs.astuple(again, recurse=False)} == {
        type(one) for one in attrs.astuple(conversion, recurse=False)
    }


@given(st.builds(Customer, email=st.text("ab ", min_size=1), phone=st.integers(), fbp=st.just("x")))
@many
def test_with_its_digest_every_customer_comes_back_as_it_was(customer: Customer):
    conversion = Conversion.lead(customer=customer)

    assert decode(*encode(conversion)).customer == customer


def test_two_that_come_back_share_no_mapping():
    stored = encode(Conversion.lead())
    one, other = decode(*stored), decode(*stored)

    assert one.custom_data is not other.custom_data
    assert one.sub_ids is not other.sub_ids


def test_what_its_digest_proves_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch):
    seen = looks(monkeypatch)

    assert decode(*encode(SALE)) == SALE
    assert decode(*encode(attrs.evolve(FULL, id=None))) == attrs.evolve(FULL, id=None)
    assert seen == []
    assert decode(*encode(FULL)) == FULL
    assert seen == ["sale:1001"]


@pytest.mark.parametrize(
    ("given", "damaged"),
    [
        (b'"EUR"', b'"EU"'),
        (b'"sale:1001"', b'""'),
        (b'"sale"', b'"sold"'),
        (b'"revenue":"49.9"', b'"revenue":"-1"'),
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
def test_a_digest_proves_nothing_that_was_changed(given: bytes, damaged: bytes):
    payload, digest = encode(attrs.evolve(FULL, id=None))
    assert given in payload

    changed = payload.replace(given, damaged, 1)

    assert outcome(changed, digest) == outcome(changed, None)


def outcome(payload: bytes, digest: bytes | None) -> Conversion | str:
    try:
        return decode(payload, digest)
    except DecodeError as exc:
        return str(exc)


@given(st.data())
@many
def test_whatever_breaks_a_digest_makes_no_difference_to_what_is_read(data: st.DataObject):
    payload, digest = encode(attrs.evolve(FULL, id=None))
    at = data.draw(st.integers(0, len(payload) - 1))
    byte = data.draw(st.binary(min_size=1, max_size=1))
    broken = payload[:at] + byte + payload[at + 1 :]

    assert outcome(broken, digest) == outcome(broken, None)


def test_another_time_of_the_same_conversion_is_told_apart():
    payload, digest = encode(SALE)
    zoned = payload.replace(b"+00:00", b"+02:00")

    assert decode(zoned, digest).timestamp == SALE.timestamp - timedelta(hours=2)
    assert decode(zoned, digest).timestamp.tzinfo is UTC


# Storage: digests


def content(conversion: Conversion) -> Any:
    """What the digest stands for: everything but time and id, mappings as JSON has them."""
    plain = attrs.asdict(conversion, filter=lambda field, _: field.name not in ("timestamp", "id"))
    mappings = {name: plain.pop(name) for name in ("custom_data", "sub_ids")}
    extras = []
    if (meta := plain["meta"]) is not None:
        extras = [meta.pop("extra", None), meta.get("user_data", {}).pop("extra", None)]
    return plain, as_sorted_json([mappings, extras])


@given(conversions, conversions)
@many
def test_digests_are_equal_if_and_only_if_the_content_is(one: Conversion, other: Conversion):
    other = attrs.evolve(other, event_id=one.event_id)
    twin = attrs.evolve(one, id="other", timestamp=one.timestamp + timedelta(seconds=1))

    assert encode(twin).digest == encode(one).digest
    assert (encode(one).digest == encode(other).digest) == (content(one) == content(other))


CHANGES: dict[str, Any] = {
    "conversion_type": "lead",
    "click_id": "c1",
    "revenue": "49.91",
    "currency": "USD",
    "order_id": "1002",
    "event_name": "x",
    "event_id": "mine",
    "source": "s",
    "campaign_id": "c",
    "ad_id": "a",
    "sub_ids": {"s": "1"},
    "ip_address": "::1",
    "user_agent": "u",
    "page_url": "p",
    "custom_data": {"plan": "free"},
    "items": [LineItem(id="a")],
    "customer": Customer(email=SECRET, phone="1"),
    "meta": MetaFields(opt_out=True),
}


def test_the_changes_below_are_all_there_are():
    names = {field.name for field in attrs.fields(Conversion)}
    assert names - {"timestamp", "id"} == set(CHANGES)


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_field_changes_the_digest(field: str):
    assert encode(attrs.evolve(SALE, **{field: CHANGES[field]})).digest != encode(SALE).digest


@pytest.mark.parametrize(
    ("one", "other"), [("49.90", "49.9"), ("100", "1E+2"), ("0.00", "0"), ("1E-7", "0.0000001")]
)
def test_the_same_money_written_otherwise_is_the_same_content(one: str, other: str):
    digests = {
        encode(
            Conversion.sale(
                revenue=amount,
                order_id="1",
                items=[LineItem(id="a", price=amount)],
                meta=MetaFields(custom_data=MetaCustomData(net_revenue=Decimal(amount))),
            )
        ).digest
        for amount in (one, other)
    }

    assert len(digests) == 1


def test_the_order_of_keys_is_no_content():
    one = Conversion.lead(event_id="e", custom_data={"a": 1, "b": {"c": 1, "d": 2}})
    other = Conversion.lead(event_id="e", custom_data={"b": {"d": 2, "c": 1}, "a": 1})

    assert encode(one).digest == encode(other).digest


def test_digits_beyond_the_usual_precision_count():
    long = "1." + "0" * 40
    one, other = (Conversion.sale(revenue=long + end, order_id="1") for end in "12")

    assert encode(one).digest != encode(other).digest


@pytest.mark.parametrize(
    ("conversion", "digest"),
    [
        (SALE, "8d6ec50306a30921f2e6194faffbea8b"),
        (
            attrs.evolve(FULL, items=[*FULL.items, LineItem(id="p2")]),
            "afdb554b2084929d7691f2b55661631c",
        ),
        (Conversion.lead(event_id="e1"), "bd12e71078e2490038b66eeb48e22757"),
    ],
)
def test_digests_are_those_that_older_files_hold(conversion: Conversion, digest: str):
    """Made by the first release; must never be edited."""
    assert encode(conversion).digest.hex() == digest


def test_load_says_what_is_wrong_with_something_else_altogether():
    with pytest.raises(DecodeError, match=r"^Conversion: "):
        load(5, Conversion)
