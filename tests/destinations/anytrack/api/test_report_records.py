"""Records of reports: what is read, and what is left out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from anytrack_async.destinations.anytrack.api.conversions import read_conversion
from anytrack_async.destinations.anytrack.api.reports import (
    read_affiliate,
    read_attribution,
    read_daily_report,
    read_touchpoint,
)
from anytrack_async.errors import DecodeError
from anytrack_async.models.answers import Touchpoint


class TestRecords:
    """Single records."""

    @pytest.mark.parametrize("record", [None, 5, "x", [], [{}]])
    def test_anything_but_an_object_raises_decode_error(self, record: Any):
        for read in (
            read_conversion,
            read_touchpoint,
            read_attribution,
            read_affiliate,
            read_daily_report,
        ):
            with pytest.raises(DecodeError, match="expected an object, got "):
                read(record)

    def test_a_touchpoint_is_read(self):
        touchpoint = read_touchpoint(
            {"type": "click", "source": "google", "timestamp": "2026-01-01T00:00:00", "more": 1}
        )

        assert touchpoint == Touchpoint(
            type="click", source="google", timestamp=datetime(2026, 1, 1, tzinfo=UTC)
        )

    def test_a_touchpoint_needs_a_time(self):
        with pytest.raises(DecodeError, match=r"'timestamp' is missing"):
            read_touchpoint({"type": "click"})

    def test_a_touchpoint_of_an_unknown_type_or_without_one_is_read(self):
        fields = {"timestamp": 1767225600, "source": "s" * 5000, "campaign_id": 7, "more": [1]}
        for kind in ("swipe", None, 5):
            touchpoint = read_touchpoint({**fields, "type": kind})

            assert touchpoint.type == ("unknown" if kind is None else str(kind))
            assert (touchpoint.source, touchpoint.campaign_id) == ("s" * 5000, "7")
            assert touchpoint.timestamp == datetime(2026, 1, 1, tzinfo=UTC)

    def test_an_attribution_is_read(self):
        attribution = read_attribution(
            {"model": "time_decay", "weights": {"a": "0.25", "b": 0.75, "c": 0, "d": None}}
        )

        assert attribution.model == "time_decay"
        assert attribution.weights == {"a": 0.25, "b": 0.75, "c": 0.0}
        assert read_attribution({"model": "linear", "weights": []}).weights == {}

    def test_an_odd_attribution_is_read(self):
        weights = {"a": -0.5, "b": "1e2", "c": float("nan"), "": 3}
        attribution = read_attribution({"model": None, "weights": weights, "more": {}})

        assert attribution.model == "unknown"
        assert attribution.weights == {"a": -0.5, "b": 100.0, "": 3.0}
        assert read_attribution({"model": "shapley"}).model == "shapley"

    def test_an_affiliate_is_read(self):
        affiliate = read_affiliate(
            {
                "affiliate_id": 17,
                "clicks": "100",
                "conversions": 3.0,
                "revenue": "12.50",
                "epc": 0.125,
                "conversion_rate": "0.03",
            }
        )

        assert (affiliate.affiliate_id, affiliate.clicks, affiliate.conversions) == ("17", 100, 3)
        assert (affiliate.revenue, affiliate.epc, affiliate.conversion_rate) == (
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
            {"conversion_rate": "NaN"},
            {"affiliate_id": None},
            {"affiliate_id": True},
        ],
        ids=repr,
    )
    def test_a_number_that_is_out_of_range_raises_decode_error(self, change: dict[str, Any]):
        with pytest.raises(DecodeError, match=next(iter(change))):
            read_affiliate({"affiliate_id": "a", **change})

    def test_an_odd_affiliate_is_read(self):
        affiliate = read_affiliate(
            {
                "affiliate_id": "a" * 500,
                "clicks": -3,
                "conversions": "-1.0",
                "revenue": "-123456789012345678901.50",
                "epc": float("inf"),
                "conversion_rate": float("nan"),
                "level": "gold",
            }
        )

        assert (affiliate.affiliate_id, affiliate.clicks, affiliate.conversions) == (
            "a" * 500,
            -3,
            -1,
        )
        assert affiliate.revenue == Decimal("-123456789012345678901.50")
        assert (affiliate.epc, affiliate.conversion_rate) == (Decimal(0), 0.0)

    def test_an_odd_daily_report_is_read(self):
        report = read_daily_report(
            {
                "date": "2026-01-02",
                "total_revenue": "-100.50",
                "total_conversions": "-4.0",
                "avg_order_value": float("nan"),
                "by_source": {"google": -60.5, "": "1E+2", "other": float("nan"), "x" * 500: 1},
                "by_campaign": None,
                "by_hour": [1],
            }
        )

        assert (report.total_revenue, report.total_conversions) == (Decimal("-100.50"), -4)
        assert report.avg_order_value == 0
        assert report.by_source == {"google": Decimal("-60.5"), "": 100, "x" * 500: 1}
        assert report.by_campaign == {}

    def test_a_daily_report_is_read(self):
        report = read_daily_report(
            {
                "date": "2026-01-02",
                "total_revenue": "100.50",
                "total_conversions": "4",
                "avg_order_value": 25.125,
                "by_source": {"google": "60.5", "meta": 40, "other": None},
                "by_campaign": [],
            }
        )

        assert (report.date, report.total_revenue, report.total_conversions) == (
            date(2026, 1, 2),
            Decimal("100.50"),
            4,
        )
        assert report.by_source == {"google": Decimal("60.5"), "meta": Decimal(40)}
        assert report.by_campaign == {}
        assert read_daily_report({"date": "2026-01-02T00:00:00"}).by_source == {}
