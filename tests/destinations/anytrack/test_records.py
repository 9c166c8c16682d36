"""AnyTrack's records: read tolerantly, and errors never quote a value."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

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
from anytrack_async.models.conversion import Conversion, ConversionType

SECRET = "jane@example.com"

# Conversions

RECORD = {
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


def with_changes(**changes: Any) -> dict[str, Any]:
    return RECORD | changes


def test_every_field_of_a_conversion_is_read():
    assert read_conversion(RECORD) == Conversion(
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
def test_a_time_without_time_zone_is_utc(timestamp: Any, expected: str):
    assert read_conversion(with_changes(timestamp=timestamp)).timestamp.isoformat() == expected


@pytest.mark.parametrize(
    ("revenue", "text"), [("49.90", "49.90"), (49.9, "49.9"), (50, "50"), (" 5 ", "5"), (None, "0")]
)
def test_numbers_may_come_as_text(revenue: Any, text: str):
    assert str(read_conversion(with_changes(revenue=revenue)).revenue) == text


def test_ids_may_come_as_numbers():
    read = read_conversion(with_changes(id=17, campaign_id=42, sub_ids={"s1": 5}))

    assert (read.id, read.campaign_id, read.sub_ids) == ("17", "42", {"s1": "5"})
    assert read.event_id == "anytrack:17"


@pytest.mark.parametrize("nothing", [None, "", " ", [], {}])
def test_empty_fields_read_as_missing(nothing: Any):
    optional = ("click_id", "revenue", "source", "campaign_id", "ad_id", "sub_ids", "custom_data")

    read = read_conversion(with_changes(**dict.fromkeys(optional, nothing)))

    assert (read.click_id, read.revenue, read.sub_ids, read.custom_data) == (
        None,
        Decimal(0),
        {},
        {},
    )


def test_unknown_fields_are_ignored():
    unknown = {"items": "x", "customer": [1], "meta": 5, "score": {"a": []}, "v": 2, "": None}

    assert read_conversion(RECORD | unknown) == read_conversion(RECORD)


def test_null_sub_ids_are_left_out():
    assert read_conversion(with_changes(sub_ids={"s1": None, "s2": "b"})).sub_ids == {"s2": "b"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("refund", "refund"), (" Chargeback ", "Chargeback"), ("x" * 80, "x" * 50), (None, "unknown")],
)
def test_an_unknown_type_is_a_custom_event_of_that_name(kind: Any, name: str):
    read = read_conversion(with_changes(conversion_type=kind))

    assert (read.conversion_type, read.event_name) == (ConversionType.CUSTOM, name)


def test_types_are_case_insensitive():
    assert (
        read_conversion(with_changes(conversion_type="SALE")).conversion_type is ConversionType.SALE
    )


def test_an_event_of_ours_keeps_its_event_id_and_name():
    sent = {"event_id": "custom:Subscribed:1", "event_name": "Subscribed", "plan": "pro"}

    read = read_conversion(with_changes(conversion_type="custom", custom_data=sent))

    assert (read.event_id, read.event_name) == ("custom:Subscribed:1", "Subscribed")
    assert read.custom_data == sent


def test_without_our_event_id_it_is_derived_from_anytracks_id():
    assert read_conversion(with_changes(custom_data={"plan": "pro"})).event_id == "anytrack:c1"
    assert read_conversion(with_changes(event_id="e1")).event_id == "e1"


def test_records_without_any_id_have_different_event_ids():
    record = {name: value for name, value in RECORD.items() if name != "id"}

    assert read_conversion(record).event_id != read_conversion(record).event_id


def test_a_record_without_a_timestamp_is_an_error():
    with pytest.raises(DecodeError, match="'timestamp' is missing"):
        read_conversion(with_changes(timestamp=None))


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
def test_the_error_for_an_invalid_value_does_not_quote_it(change: dict[str, Any]):
    with pytest.raises(DecodeError) as caught:
        read_conversion(with_changes(**change))

    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert str(caught.value).startswith("Conversion: ")


@pytest.mark.parametrize("record", [None, 5, "x", [], [RECORD]])
def test_a_record_that_is_no_object_is_an_error(record: Any):
    for read in (
        read_conversion,
        read_touchpoint,
        read_attribution,
        read_affiliate,
        read_daily_report,
    ):
        with pytest.raises(DecodeError, match="expected an object, got "):
            read(record)


# Lists


def test_an_invalid_record_is_left_out_of_the_list(caplog: pytest.LogCaptureFixture):
    records = [RECORD, with_changes(revenue=SECRET), "x", with_changes(id="c2")]

    with caplog.at_level(logging.WARNING, "anytrack_async"):
        good = read_list(records, read_conversion)

    assert [conversion.id for conversion in good] == ["c1", "c2"]
    assert [entry.getMessage() for entry in caplog.records] == [
        "left out record 2 of 4: Conversion: invalid value (ValueError) @ $.revenue",
        "left out record 3 of 4: expected an object, got str",
    ]
    assert SECRET not in caplog.text


def test_many_invalid_records_do_not_flood_the_log(caplog: pytest.LogCaptureFixture):
    assert read_list(["x"] * 1000, read_conversion) == []

    assert len(caplog.records) == 6
    assert caplog.messages[-1] == "left out 1000 records of 1000"


@pytest.mark.parametrize("records", [None, {}, "x", 5])
def test_records_that_are_no_list_are_an_error(records: Any):
    with pytest.raises(DecodeError, match="expected a list of records, got "):
        read_list(records, read_conversion)


# Other records


def test_a_touchpoint_is_read():
    read = read_touchpoint(
        {"type": "click", "source": "google", "timestamp": "2026-01-01T00:00:00", "more": 1}
    )

    assert read == Touchpoint(
        type="click", source="google", timestamp=datetime(2026, 1, 1, tzinfo=UTC)
    )


def test_a_touchpoint_without_type_or_time_is_refused():
    with pytest.raises(DecodeError, match=r"'type' is missing.*'timestamp' is missing"):
        read_touchpoint({"type": None})


def test_an_attribution_is_read():
    read = read_attribution(
        {"model": "time_decay", "weights": {"a": "0.25", "b": 0.75, "c": 0, "d": None}}
    )

    assert read.model == "time_decay"
    assert read.weights == {"a": 0.25, "b": 0.75, "c": 0.0}
    assert read_attribution({"model": "linear", "weights": []}).weights == {}


def test_an_affiliate_is_read():
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
def test_a_number_out_of_range_is_an_error(change: dict[str, Any]):
    with pytest.raises(DecodeError, match=next(iter(change))):
        read_affiliate({"affiliate_id": "a", **change})


def test_a_daily_report_is_read():
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
