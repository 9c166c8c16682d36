from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from anytrack_async.destinations.anytrack.api.affiliates import Affiliates
from anytrack_async.errors import DecodeError, InvalidArgumentError
from tests.destinations.anytrack.api.api import Api

pytestmark = pytest.mark.asyncio

RANGE = (date(2026, 1, 1), date(2026, 1, 31))
TOTALS = {
    "clicks": "100",
    "conversions": 5,
    "revenue": "99.50",
    "epc": 0.995,
    "conversion_rate": "0.05",
}


async def test_performance_is_read_with_the_id_asked_for():
    api = Api(affiliates__performance={"data": TOTALS})
    found = await Affiliates(api.session).performance("aff 1", RANGE)

    assert (found.affiliate_id, found.clicks, found.conversions) == ("aff 1", 100, 5)
    assert (found.revenue, found.epc) == (Decimal("99.50"), Decimal("0.995"))
    assert found.conversion_rate == 0.05
    assert api.params == {
        "affiliate_id": "aff 1",
        "date_from": "2026-01-01T00:00:00+00:00",
        "date_to": "2026-01-31T23:59:59.999999+00:00",
    }


async def test_an_affiliate_without_numbers_has_none():
    api = Api(affiliates__performance={"data": {"clicks": None}})
    found = await Affiliates(api.session).performance("a")

    assert (found.clicks, found.revenue, found.conversion_rate) == (0, Decimal(0), 0.0)


@pytest.mark.parametrize("body", [{}, {"data": []}, {"data": {"clicks": "many"}}, []])
async def test_another_answer_is_a_decode_error(body: Any):
    with pytest.raises(DecodeError):
        await Affiliates(Api(affiliates__performance=lambda _: body).session).performance("a")


@pytest.mark.parametrize("id_", ["", " ", None])
async def test_an_affiliate_needs_an_id(id_: Any):
    with pytest.raises(InvalidArgumentError, match=r"^affiliate_id "):
        await Affiliates(Api().session).performance(id_)


async def test_the_best_come_first_and_no_more_than_asked_for():
    records = [
        {"affiliate_id": "a", "revenue": "5", "clicks": 9},
        {"affiliate_id": "b", "revenue": "70.5", "clicks": 1},
        {"clicks": 3},
        {"affiliate_id": "c", "revenue": 12, "clicks": 5},
    ]
    api = Api(affiliates__top={"data": records})
    found = await Affiliates(api.session).top(limit=2, date_range=RANGE)

    assert [one.affiliate_id for one in found] == ["b", "c"]
    assert api.params["sort_by"] == "revenue"
    assert api.params["limit"] == "2"
    assert api.params["date_from"] == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("metric", ["revenue", "conversions", "epc", "conversion_rate"])
async def test_every_metric_ranks(metric: Any):
    records = [{"affiliate_id": str(number), metric: number} for number in (1, 3, 2)]
    api = Api(affiliates__top={"data": records})
    found = await Affiliates(api.session).top(metric)

    assert [one.affiliate_id for one in found] == ["3", "2", "1"]
    assert api.params["sort_by"] == metric
    assert api.params["limit"] == "10"


@pytest.mark.parametrize(
    ("options", "name"),
    [({"metric": "clicks"}, "metric"), ({"limit": 0}, "limit"), ({"limit": "5"}, "limit")],
)
async def test_arguments_are_checked(options: dict[str, Any], name: str):
    api = Api()
    with pytest.raises(InvalidArgumentError, match=rf"^{name} "):
        await Affiliates(api.session).top(**options)

    assert api.requests == []
