"""The two written forms: storage is exact and versioned, the wire is read tolerantly."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, date, datetime, timedelta
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
from anytrack_async.destinations.anytrack.records import (
    read_affiliate,
    read_attribution,
    read_conversion,
    read_daily_report,
    read_list,
    read_touchpoint,
)
from anytrack_async.errors import DecodeError
from anytrack_async.models.answers import Touchpoint
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


# Wire: conversions

WIRE = {
    "id": "c1",
    "click_id": "k1",
    "conversion_type": "sale",
    "revenue": "49.90",
    "currency": "EUR",
    "source": "google",
    "campaign_id": "42",
    "ad_id": "7",
    "timestamp": "2026-01-02T03:04:05",
    "sub_ids": {"s1": "a"},
    "ip_address": "203.0.113.9",
    "user_agent": "Mozilla/5.0",
}


def wire(**changes: Any) -> dict[str, Any]:
    return WIRE | changes


def test_a_conversion_is_read_whole():
    assert read_conversion(WIRE) == Conversion(
        event_id="anytrack:c1",
        id="c1",
        click_id="k1",
        conversion_type="sale",
        revenue="49.90",
        currency="EUR",
        source="google",
        campaign_id="42",
        ad_id="7",
        timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        sub_ids={"s1": "a"},
        ip_address="203.0.113.9",
        user_agent="Mozilla/5.0",
    )


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02 03:04:05.123456", "2026-01-02T03:04:05.123456+00:00"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05+00:00"),
        (" 2026-01-02T03:04:05Z ", "2026-01-02T03:04:05+00:00"),
        (1767323045, "2026-01-02T03:04:05+00:00"),
        (1767323045.5, "2026-01-02T03:04:05.500000+00:00"),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(timestamp: Any, expected: str):
    assert read_conversion(wire(timestamp=timestamp)).timestamp.isoformat() == expected


@pytest.mark.parametrize(
    ("revenue", "kept"), [("49.90", "49.90"), (49.9, "49.9"), (50, "50"), (" 5 ", "5"), (None, "0")]
)
def test_numbers_may_come_as_text(revenue: Any, kept: str):
    assert str(read_conversion(wire(revenue=revenue)).revenue) == kept


def test_ids_may_come_as_numbers():
    read = read_conversion(wire(id=17, campaign_id=42, sub_ids={"s1": 5}))

    assert (read.id, read.campaign_id, read.sub_ids) == ("17", "42", {"s1": "5"})
    assert read.event_id == "anytrack:17"


@pytest.mark.parametrize("nothing", [None, "", " ", [], {}])
def test_empty_fields_are_as_good_as_none(nothing: Any):
    optional = ("click_id", "revenue", "source", "campaign_id", "ad_id", "sub_ids", "custom_data")

    read = read_conversion(wire(**dict.fromkeys(optional, nothing)))

    assert (read.click_id, read.revenue, read.sub_ids, read.custom_data) == (
        None,
        Decimal(0),
        {},
        {},
    )


def test_what_we_do_not_know_is_ignored_whatever_it_is():
    unknown = {"items": "x", "customer": [1], "meta": 5, "score": {"a": []}, "v": 2, "": None}

    assert read_conversion(WIRE | unknown) == read_conversion(WIRE)


def test_null_sub_ids_are_left_out():
    assert read_conversion(wire(sub_ids={"s1": None, "s2": "b"})).sub_ids == {"s2": "b"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("refund", "refund"), (" Chargeback ", "Chargeback"), ("x" * 80, "x" * 50), (None, "unknown")],
)
def test_an_unknown_type_is_a_custom_event_of_that_name(kind: Any, name: str):
    read = read_conversion(wire(conversion_type=kind))

    assert (read.conversion_type, read.event_name) == (ConversionType.CUSTOM, name)


def test_types_are_known_in_any_case():
    assert read_conversion(wire(conversion_type="SALE")).conversion_type is ConversionType.SALE


def test_our_own_event_comes_back_under_its_id_and_name():
    sent = {"event_id": "custom:Subscribed:1", "event_name": "Subscribed", "plan": "pro"}

    read = read_conversion(wire(conversion_type="custom", custom_data=sent))

    assert (read.event_id, read.event_name) == ("custom:Subscribed:1", "Subscribed")
    assert read.custom_data == sent


def test_without_our_id_the_services_own_makes_the_event_id():
    assert read_conversion(wire(custom_data={"plan": "pro"})).event_id == "anytrack:c1"
    assert read_conversion(wire(event_id="e1")).event_id == "e1"


def test_records_without_any_id_are_not_one_event():
    record = {name: value for name, value in WIRE.items() if name != "id"}

    assert read_conversion(record).event_id != read_conversion(record).event_id


def test_a_record_without_its_time_is_not_dated_today():
    with pytest.raises(DecodeError, match="'timestamp' is missing"):
        read_conversion(wire(timestamp=None))


BAD = [
    {"revenue": SECRET},
    {"revenue": "NaN"},
    {"revenue": -5},
    {"revenue": "1E+999999999"},
    {"revenue": True},
    {"timestamp": SECRET},
    {"timestamp": 1e300},
    {"timestamp": True},
    {"currency": SECRET},
    {"sub_ids": SECRET},
    {"sub_ids": {"s1": [SECRET]}},
    {"click_id": {"a": SECRET}},
    {"click_id": SECRET * 200},
    {"custom_data": SECRET},
    {"conversion_type": "a\x00" + SECRET},
]


@pytest.mark.parametrize("change", BAD, ids=repr)
def test_what_does_not_fit_is_named_without_its_value(change: dict[str, Any]):
    with pytest.raises(DecodeError) as caught:
        read_conversion(wire(**change))

    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert str(caught.value).startswith("Conversion: ")


@pytest.mark.parametrize("record", [None, 5, "x", [], [WIRE]])
def test_what_is_no_object_is_refused(record: Any):
    for read in (
        read_conversion,
        read_touchpoint,
        read_attribution,
        read_affiliate,
        read_daily_report,
    ):
        with pytest.raises(DecodeError, match="expected an object, got "):
            read(record)


# Wire: lists


def test_one_bad_record_does_not_lose_the_list(caplog: pytest.LogCaptureFixture):
    records = [WIRE, wire(revenue=SECRET), "x", wire(id="c2")]

    with caplog.at_level(logging.WARNING, "anytrack_async"):
        good = read_list(records, read_conversion)

    assert [one.id for one in good] == ["c1", "c2"]
    assert [record.getMessage() for record in caplog.records] == [
        "left out record 2 of 4: Conversion: invalid value (ValueError) @ $.revenue",
        "left out record 3 of 4: expected an object, got str",
    ]
    assert SECRET not in caplog.text


def test_many_bad_records_do_not_flood_the_log(caplog: pytest.LogCaptureFixture):
    assert read_list(["x"] * 1000, read_conversion) == []

    assert len(caplog.records) == 6
    assert caplog.messages[-1] == "left out 1000 records of 1000"


@pytest.mark.parametrize("records", [None, {}, "x", 5])
def test_what_is_no_list_is_refused(records: Any):
    with pytest.raises(DecodeError, match="expected a list of records, got "):
        read_list(records, read_conversion)


# Wire: the others


def test_a_touchpoint():
    read = read_touchpoint(
        {"type": "click", "source": "google", "timestamp": "2026-01-01T00:00:00", "more": 1}
    )

    assert read == Touchpoint(
        type="click", source="google", timestamp=datetime(2026, 1, 1, tzinfo=UTC)
    )


def test_a_touchpoint_without_type_or_time_is_refused():
    with pytest.raises(DecodeError, match=r"'type' is missing.*'timestamp' is missing"):
        read_touchpoint({"type": None})


def test_an_attribution():
    read = read_attribution(
        {"model": "time_decay", "weights": {"a": "0.25", "b": 0.75, "c": 0, "d": None}}
    )

    assert read.model == "time_decay"
    assert read.weights == {"a": 0.25, "b": 0.75, "c": 0.0}
    assert read_attribution({"model": "linear", "weights": []}).weights == {}


def test_an_affiliate():
    read = read_affiliate(
        {
            "affiliate_id": 17,
            "clicks": "100",
            "conversions": 3.0,
            "revenue": "12.50",
            "epc": 0.125,
            "conversion_rate": "0.03",
        }
    )

    assert (read.affiliate_id, read.clicks, read.conversions) == ("17", 100, 3)
    assert (read.revenue, read.epc, read.conversion_rate) == (
        Decimal("12.50"),
        Decimal("0.125"),
        0.03,
    )
    assert read_affiliate({"affiliate_id": "a", "clicks": None, "revenue": ""}).clicks == 0


@pytest.mark.parametrize(
    "change",
    [
        {"clicks": "many"},
        {"clicks": 1.5},
        {"clicks": "1E+999999999"},
        {"revenue": "NaN"},
        {"revenue": "Infinity"},
        {"conversion_rate": float("nan")},
        {"affiliate_id": None},
        {"affiliate_id": True},
    ],
    ids=repr,
)
def test_what_is_no_number_of_a_usual_size_is_refused(change: dict[str, Any]):
    with pytest.raises(DecodeError, match=next(iter(change))):
        read_affiliate({"affiliate_id": "a", **change})


def test_a_daily_report():
    read = read_daily_report(
        {
            "date": "2026-01-02",
            "total_revenue": "100.50",
            "total_conversions": "4",
            "avg_order_value": 25.125,
            "by_source": {"google": "60.5", "meta": 40, "other": None},
            "by_campaign": [],
        }
    )

    assert (read.date, read.total_revenue, read.total_conversions) == (
        date(2026, 1, 2),
        Decimal("100.50"),
        4,
    )
    assert read.by_source == {"google": Decimal("60.5"), "meta": Decimal(40)}
    assert read.by_campaign == {}
    assert read_daily_report({"date": "2026-01-02T00:00:00"}).by_source == {}


def test_load_says_what_is_wrong_with_something_else_altogether():
    with pytest.raises(DecodeError, match=r"^Conversion: "):
        load(5, Conversion)
