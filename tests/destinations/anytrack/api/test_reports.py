"""Attribution, affiliates and daily totals."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import httpx
import pytest

from anytrack_async.destinations.anytrack.api.reports import (
    Affiliates,
    Attributions,
    Reports,
)
from anytrack_async.errors import DecodeError, InvalidArgumentError, NotFoundError
from tests.destinations.anytrack.api.doubles import FakeApi

SHARED = {"model": "linear", "weights": {"touchpoint_1": 0.5, "touchpoint_2": "0.5"}}
RANGE = (date(2026, 1, 1), date(2026, 1, 31))
AFFILIATE = {
    "clicks": "100",
    "conversions": 5,
    "revenue": "99.50",
    "epc": 0.995,
    "conversion_rate": "0.05",
}
TOTALS = {
    "total_revenue": "120.50",
    "total_conversions": "3",
    "avg_order_value": 40.17,
    "by_source": {"google": "100.50", "meta": 20},
}


@pytest.mark.asyncio
class TestAttributions:
    """Attribution and touchpoints."""

    @pytest.mark.parametrize("body", [SHARED, {"data": SHARED}, {"data": [SHARED]}, [SHARED]])
    async def test_model_and_weights_are_read(self, body: dict[str, Any]):
        api = FakeApi(conversions__c1__attribution=body)
        attribution = await Attributions(api.session).calculate("c1")

        assert attribution.model == "linear"
        assert attribution.weights == {"touchpoint_1": 0.5, "touchpoint_2": 0.5}

    @pytest.mark.parametrize(
        "body", [{}, [], "text", {"model": "linear", "weights": {"a": "much"}}]
    )
    async def test_any_other_response_raises_decode_error(self, body: Any):
        with pytest.raises(DecodeError):
            await Attributions(
                FakeApi(conversions__c1__attribution=lambda _: body).session
            ).calculate("c1")

    async def test_an_object_of_another_type_is_named(self):
        api = FakeApi(conversions__c1__attribution={"model": "linear", "weights": [0.5, 0.5]})
        with pytest.raises(DecodeError, match=r"must be an object @ \$\.weights"):
            await Attributions(api.session).calculate("c1")

    async def test_no_list_is_an_empty_one(self):
        api = FakeApi(conversions__c1__touchpoints={"data": None})

        assert await Attributions(api.session).touchpoints("c1") == []

    async def test_touchpoints_are_in_order_of_time(self):
        journey = [
            {"type": "click", "source": "google", "timestamp": "2026-01-02T10:00:00"},
            {
                "type": "view",
                "source": "meta",
                "timestamp": "2026-01-01T10:00:00Z",
                "campaign_id": "7",
            },
            {"type": "click", "timestamp": "2026-01-02T10:30:00+01:00"},
            {"type": "click", "timestamp": "soon"},
        ]
        api = FakeApi(conversions__c1__touchpoints={"data": journey})
        touchpoints = await Attributions(api.session).touchpoints("c1")

        assert [touchpoint.source for touchpoint in touchpoints] == ["meta", None, "google"]
        assert touchpoints[0].campaign_id == "7"

    @pytest.mark.parametrize("method", ["calculate", "touchpoints"])
    async def test_an_unknown_id_is_not_found_and_an_impossible_id_is_not_sent(self, method: str):
        api = FakeApi()
        read = getattr(Attributions(api.session), method)

        with pytest.raises(NotFoundError):
            await read("c2")
        api.requests.clear()
        for id_ in ("", ".."):
            with pytest.raises(InvalidArgumentError, match=r"^conversion_id "):
                await read(id_)
        assert api.requests == []


@pytest.mark.asyncio
class TestAffiliates:
    """Affiliates."""

    async def test_performance_carries_the_requested_id(self):
        api = FakeApi(affiliates__performance={"data": [AFFILIATE]})
        affiliate = await Affiliates(api.session).performance("aff 1", RANGE)

        assert (affiliate.affiliate_id, affiliate.clicks, affiliate.conversions) == (
            "aff 1",
            100,
            5,
        )
        assert (affiliate.revenue, affiliate.epc) == (Decimal("99.50"), Decimal("0.995"))
        assert affiliate.conversion_rate == 0.05
        assert api.params == {
            "affiliate_id": "aff 1",
            "date_from": "2026-01-01T00:00:00+00:00",
            "date_to": "2026-01-31T23:59:59.999999+00:00",
        }

    async def test_missing_numbers_are_zero(self):
        api = FakeApi(affiliates__performance={"data": {"clicks": None}})
        affiliate = await Affiliates(api.session).performance("a")

        assert (affiliate.clicks, affiliate.revenue, affiliate.conversion_rate) == (
            0,
            Decimal(0),
            0.0,
        )

    @pytest.mark.parametrize("body", [{}, {"data": []}, {"data": {"clicks": "many"}}, []])
    async def test_any_other_response_raises_decode_error(self, body: Any):
        with pytest.raises(DecodeError):
            await Affiliates(FakeApi(affiliates__performance=lambda _: body).session).performance(
                "a"
            )

    @pytest.mark.parametrize("id_", ["", " ", None])
    async def test_an_affiliate_needs_an_id(self, id_: Any):
        with pytest.raises(InvalidArgumentError, match=r"^affiliate_id "):
            await Affiliates(FakeApi().session).performance(id_)

    async def test_an_unreadable_affiliate_is_left_out(self, caplog: pytest.LogCaptureFixture):
        records = [{"affiliate_id": "a1", "clicks": "many"}, {"affiliate_id": "a2"}]
        affiliates = await Affiliates(FakeApi(affiliates__top={"data": records}).session).top()

        assert [affiliate.affiliate_id for affiliate in affiliates] == ["a2"]
        assert "record 1 of 2 (id a1): AffiliatePerformance: must be a number" in caplog.text

    async def test_the_best_come_first_and_no_more_than_the_limit(self):
        records = [
            {"affiliate_id": "a", "revenue": "5", "clicks": 9},
            {"affiliate_id": "b", "revenue": "70.5", "clicks": 1},
            {"clicks": 3},
            {"affiliate_id": "c", "revenue": 12, "clicks": 5},
        ]
        api = FakeApi(affiliates__top={"data": records})
        affiliates = await Affiliates(api.session).top(limit=2, date_range=RANGE)

        assert [affiliate.affiliate_id for affiliate in affiliates] == ["b", "c"]
        assert api.params["sort_by"] == "revenue"
        assert api.params["limit"] == "2"
        assert api.params["date_from"] == "2026-01-01T00:00:00+00:00"

    @pytest.mark.parametrize("metric", ["revenue", "conversions", "epc", "conversion_rate"])
    async def test_affiliates_can_be_ranked_by_every_metric(self, metric: Any):
        records = [{"affiliate_id": str(number), metric: number} for number in (1, 3, 2)]
        api = FakeApi(affiliates__top={"data": records})
        affiliates = await Affiliates(api.session).top(metric)

        assert [affiliate.affiliate_id for affiliate in affiliates] == ["3", "2", "1"]
        assert api.params["sort_by"] == metric
        assert api.params["limit"] == "10"

    @pytest.mark.parametrize(
        ("options", "name"),
        [({"metric": "clicks"}, "metric"), ({"limit": 0}, "limit"), ({"limit": "5"}, "limit")],
    )
    async def test_invalid_arguments_are_not_sent(self, options: dict[str, Any], name: str):
        api = FakeApi()
        with pytest.raises(InvalidArgumentError, match=rf"^{name} "):
            await Affiliates(api.session).top(**options)

        assert api.requests == []


@pytest.mark.asyncio
class TestReports:
    """Daily totals."""

    @pytest.mark.parametrize("body", [TOTALS, {"data": TOTALS}])
    async def test_a_days_totals_are_read(self, body: dict[str, Any]):
        api = FakeApi(reports__daily=body)
        report = await Reports(api.session).daily(date(2026, 1, 1))

        assert report.date == date(2026, 1, 1)
        assert (report.total_revenue, report.total_conversions) == (Decimal("120.50"), 3)
        assert report.by_source == {"google": Decimal("100.50"), "meta": Decimal(20)}
        assert report.by_campaign == {}
        assert api.params == {"date": "2026-01-01"}

    async def test_the_default_is_today_in_utc(self):
        before = datetime.now(UTC).date()
        report = await Reports(FakeApi(reports__daily=TOTALS).session).daily()

        assert before <= report.date <= datetime.now(UTC).date()

    async def test_a_time_means_its_utc_day(self):
        api = FakeApi(reports__daily=TOTALS)
        west = timezone(timedelta(hours=-8))
        await Reports(api.session).daily(datetime(2026, 1, 1, 20, tzinfo=west))

        assert api.params == {"date": "2026-01-02"}

    @pytest.mark.parametrize("day", [datetime(2026, 1, 1), "2026-01-01", 7])
    async def test_anything_but_a_day_is_an_invalid_argument(self, day: Any):
        with pytest.raises(InvalidArgumentError, match=r"^day ") as caught:
            await Reports(FakeApi().session).daily(day)
        assert type(caught.value) is InvalidArgumentError  # not a conversion's field

    @pytest.mark.parametrize("body", [[], "text", {"total_revenue": "much"}])
    async def test_any_other_response_raises_decode_error(self, body: Any):
        with pytest.raises(DecodeError):
            await Reports(FakeApi(reports__daily=lambda _: body).session).daily()

    async def test_days_are_in_order(self):
        def totals(request: httpx.Request) -> dict[str, Any]:
            return {"total_conversions": request.url.params["date"][-2:]}

        api = FakeApi(reports__daily=totals)
        days = Reports(api.session).days((date(2026, 1, 30), date(2026, 2, 3)), concurrency=2)
        totals_by_day = [(day.date.isoformat(), day.total_conversions) async for day in days]

        assert totals_by_day == [
            ("2026-01-30", 30),
            ("2026-01-31", 31),
            ("2026-02-01", 1),
            ("2026-02-02", 2),
            ("2026-02-03", 3),
        ]

    async def test_the_default_range_is_thirty_days(self):
        api = FakeApi(reports__daily=TOTALS)

        assert len([day async for day in Reports(api.session).days()]) == 31

    @pytest.mark.parametrize(
        ("options", "name"),
        [({"concurrency": 0}, "concurrency"), ({"date_range": 1}, "date_range")],
    )
    async def test_invalid_arguments_are_raised_at_once(self, options: dict[str, Any], name: str):
        with pytest.raises(InvalidArgumentError, match=rf"^{name} "):
            Reports(FakeApi().session).days(**options)
