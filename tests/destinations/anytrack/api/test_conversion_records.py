"""Reading a conversion from AnyTrack's record: every form, and what cannot be read."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from anytrack_async.destinations.anytrack.api.conversions import read_conversion
from anytrack_async.errors import (
    DecodeError,
)
from anytrack_async.models.conversion import Conversion, ConversionType
from tests.destinations.anytrack.api.doubles import (
    RECORD,
    record,
)

SECRET = "jane@example.com"


UNREADABLE = [
    {"revenue": SECRET},
    {"revenue": "NaN"},
    {"revenue": "1E+999999999"},
    {"revenue": True},
    {"timestamp": SECRET},
    {"timestamp": 1e300},
    {"timestamp": "0001-01-01T00:00:00+14:00"},
    {"timestamp": True},
    {"timestamp": "Fri, 32 Jan 2026 03:04:05 GMT"},
    {"timestamp": "1 Xyz 2026 0"},
    {"currency": [SECRET]},
    {"sub_ids": SECRET},
    {"sub_ids": {"s1": [SECRET]}},
    {"order_id": {"a": SECRET}},
    {"custom_data": SECRET},
    {"conversion_type": {"a": SECRET}},
    {"conversion_type": True},
]


ODD = {
    "revenue": ["-49.90", "123456789012345678901.5", "0.00000001"],
    "currency": ["USDT", "eur", "€", "x" * 500],
    "event_id": ["x" * 500, "a\nb"],
    "id": ["i" * 300],
    "order_id": ["o" * 500, "a\tb", "1003.0"],
    "event_name": ["Completed the onboarding questionnaire and booked a demo call"],
    "click_id": ["k" * 2000, "a\x00b"],
    "source": ["s" * 5000],
    "campaign_id": ["c" * 5000],
    "ad_id": ["a" * 5000, "\ufffd"],
    "ip_address": ["10.0.0.7", "127.0.0.1", "fe80::1", "unknown", "203.0.113.5, 10.0.0.7"],
    "user_agent": ["u" * 5000, "a\x1bb"],
    "page_url": ["https://shop.example/?q=" + "x" * 5000],
    "sub_ids": [{"s" * 500: "v" * 5000}],
    "custom_data": [{"n": 2**70, "deep": {"a": [{"b": [None, -1.5]}]}, "": "\ufffd"}],
}


class TestRecord:
    """Single records."""

    def test_all_fields_are_read(self):
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
            *((unix, "2026-01-02T03:04:05+00:00") for unix in ("1767323045", 1767323045000)),
            ("1767323045500", "2026-01-02T03:04:05.500000+00:00"),
            (1767323045500000, "2026-01-02T03:04:05.500000+00:00"),
            ("1767323045500000000", "2026-01-02T03:04:05.500000+00:00"),
            ("Fri, 02 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05+00:00"),
            ("2 Jan 2026 03:04:05 +0200", "2026-01-02T01:04:05+00:00"),
            ("2026-01-02 03:04:05 UTC", "2026-01-02T03:04:05+00:00"),
        ],
    )
    def test_a_time_without_zone_is_utc(self, timestamp: Any, expected: str):
        assert read_conversion(record(timestamp=timestamp)).timestamp.isoformat() == expected

    @pytest.mark.parametrize(
        ("revenue", "expected"),
        [("49.90", "49.90"), (49.9, "49.9"), (50, "50"), (" 5 ", "5"), (None, "0")],
    )
    def test_a_number_may_be_text(self, revenue: Any, expected: str):
        assert str(read_conversion(record(revenue=revenue)).revenue) == expected

    def test_an_id_may_be_a_number(self):
        conversion = read_conversion(record(id=17, campaign_id=42, sub_ids={"s1": 5}))

        assert (conversion.id, conversion.campaign_id, conversion.sub_ids) == (
            "17",
            "42",
            {"s1": "5"},
        )
        assert conversion.event_id == "anytrack:17"

    @pytest.mark.parametrize("empty", [None, "", " ", [], {}])
    def test_empty_fields_count_as_missing(self, empty: Any):
        optional = (
            "click_id",
            "revenue",
            "source",
            "campaign_id",
            "ad_id",
            "sub_ids",
            "custom_data",
        )

        conversion = read_conversion(record(**dict.fromkeys(optional, empty)))

        assert (
            conversion.click_id,
            conversion.revenue,
            conversion.sub_ids,
            conversion.custom_data,
        ) == (
            None,
            Decimal(0),
            {},
            {},
        )

    def test_unknown_fields_are_ignored(self):
        unknown = {"items": "x", "customer": [1], "meta": 5, "score": {"a": []}, "v": 2, "": None}

        assert read_conversion(RECORD | unknown) == read_conversion(RECORD)

    def test_null_sub_ids_are_left_out(self):
        sub_ids = {"s1": None, "s2": "b", "s3": True, "s4": 1.5}

        assert read_conversion(record(sub_ids=sub_ids)).sub_ids == {
            "s2": "b",
            "s3": "true",
            "s4": "1.5",
        }

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("refund", "refund"),
            (" Chargeback ", "Chargeback"),
            ("x" * 80, "x" * 80),
            (5, "5"),
            (None, "unknown"),
        ],
    )
    def test_an_unknown_type_becomes_a_custom_event_of_that_name(self, kind: Any, name: str):
        conversion = read_conversion(record(conversion_type=kind))

        assert (conversion.conversion_type, conversion.event_name) == (ConversionType.CUSTOM, name)

    def test_types_are_case_insensitive(self):
        assert (
            read_conversion(record(conversion_type="SALE")).conversion_type is ConversionType.SALE
        )

    def test_event_id_and_name_are_those_that_were_sent(self):
        sent = {"event_id": "custom:Subscribed:1", "event_name": "Subscribed", "plan": "pro"}

        conversion = read_conversion(record(conversion_type="custom", custom_data=sent))

        assert (conversion.event_id, conversion.event_name) == ("custom:Subscribed:1", "Subscribed")
        assert conversion.custom_data == sent

    def test_without_an_event_id_it_is_made_from_the_id(self):
        assert read_conversion(record(custom_data={"plan": "pro"})).event_id == "anytrack:c1"
        assert read_conversion(record(event_id="e1")).event_id == "e1"

    def test_records_without_any_id_get_different_event_ids(self):
        without_id = {name: value for name, value in RECORD.items() if name != "id"}

        assert read_conversion(without_id).event_id != read_conversion(without_id).event_id

    def test_a_record_without_a_time_raises_decode_error(self):
        with pytest.raises(DecodeError, match="'timestamp' is missing"):
            read_conversion(record(timestamp=None))

    @pytest.mark.parametrize(
        ("name", "value"), [(name, value) for name, values in ODD.items() for value in values]
    )
    def test_a_value_that_could_not_be_sent_is_read_as_it_is(self, name: str, value: Any):
        conversion = read_conversion(record(**{name: value}))

        assert getattr(conversion, name) == (Decimal(value) if name == "revenue" else value)
        assert not isinstance(getattr(conversion, name), float)

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_nan_counts_as_missing(self, number: float):
        changes = {"revenue": number, "campaign_id": number, "sub_ids": {"s1": number, "s2": "b"}}
        conversion = read_conversion(record(**changes))

        assert (conversion.revenue, conversion.campaign_id) == (Decimal(0), None)
        assert conversion.sub_ids == {"s2": "b"}

    @pytest.mark.parametrize("event_id", [True, ["a"], {"a": 1}, 1.5, None, ""])
    def test_an_event_id_that_is_no_id_is_made_from_the_id(self, event_id: Any):
        conversion = read_conversion(record(custom_data={"event_id": event_id}))

        assert conversion.event_id == "anytrack:c1"

    def test_custom_data_that_json_lines_cannot_have_raises_decode_error(self):
        def nested(levels: int) -> Any:
            return orjson.loads('{"a":[' * (levels // 2) + "]}" * (levels // 2))

        assert read_conversion(record(custom_data=nested(200))).custom_data == nested(200)
        with pytest.raises(DecodeError, match=r"nested too deeply @ \$.custom_data"):
            read_conversion(record(custom_data=nested(202)))

    @pytest.mark.parametrize("change", UNREADABLE, ids=lambda change: repr(change)[:60])
    def test_the_error_names_the_field_but_not_its_value(self, change: dict[str, Any]):
        with pytest.raises(DecodeError) as caught:
            read_conversion(record(**change))

        shown = "".join(traceback.format_exception(caught.value))
        assert SECRET not in shown
        assert str(caught.value).startswith("RecordedConversion: ")
        assert f"$.{next(iter(change))}" in str(caught.value)
