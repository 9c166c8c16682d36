from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import httpx
import pytest

from anytrack_async.destinations.anytrack.api.reports import Reports
from anytrack_async.errors import DecodeError, InvalidArgumentError
from tests.destinations.anytrack.api.api import Api

pytestmark = pytest.mark.asyncio

TOTALS = {
    "total_revenue": "120.50",
    "total_conversions": "3",
    "avg_order_value": 40.17,
    "by_source": {"google": "100.50", "meta": 20},
}


@pytest.mark.parametrize("body", [TOTALS, {"data": TOTALS}])
async def test_a_days_totals_are_read(body: dict[str, Any]):
    api = Api(reports__daily=body)
    found = await Reports(api.session).daily(date(2026, 1, 1))

    assert found.date == date(2026, 1, 1)
    assert (found.total_revenue, found.total_conversions) == (Decimal("120.50"), 3)
    assert found.by_source == {"google": Decimal("100.50"), "meta": Decimal(20)}
    assert found.by_campaign == {}
    assert api.params == {"date": "2026-01-01"}


async def test_the_day_is_today_in_utc_unless_told():
    before = datetime.now(UTC).date()
    found = await Reports(Api(reports__daily=TOTALS).session).daily()

    assert before <= found.date <= datetime.now(UTC).date()


async def test_a_time_stands_for_its_utc_day():
    api = Api(reports__daily=TOTALS)
    west = timezone(timedelta(hours=-8))
    await Reports(api.session).daily(datetime(2026, 1, 1, 20, tzinfo=west))

    assert api.params == {"date": "2026-01-02"}


@pytest.mark.parametrize("day", [datetime(2026, 1, 1), "2026-01-01", 7])
async def test_what_is_no_day_is_refused(day: Any):
    with pytest.raises(InvalidArgumentError, match=r"^day ") as caught:
        await Reports(Api().session).daily(day)
    assert type(caught.value) is InvalidArgumentError  # not a conversion's field


@pytest.mark.parametrize("body", [[], "text", {"total_revenue": "much"}])
async def test_another_answer_is_a_decode_error(body: Any):
    with pytest.raises(DecodeError):
        await Reports(Api(reports__daily=lambda _: body).session).daily()


async def test_days_come_in_order():
    def totals(request: httpx.Request) -> dict[str, Any]:
        return {"total_conversions": request.url.params["date"][-2:]}

    api = Api(reports__daily=totals)
    days = Reports(api.session).days((date(2026, 1, 30), date(2026, 2, 3)), concurrency=2)
    found = [(one.date.isoformat(), one.total_conversions) async for one in days]

    assert found == [
        ("2026-01-30", 30),
        ("2026-01-31", 31),
        ("2026-02-01", 1),
        ("2026-02-02", 2),
        ("2026-02-03", 3),
    ]


async def test_days_cover_thirty_days_unless_told():
    api = Api(reports__daily=TOTALS)

    assert len([day async for day in Reports(api.session).days()]) == 31


@pytest.mark.parametrize(
    ("options", "name"), [({"concurrency": 0}, "concurrency"), ({"date_range": 1}, "date_range")]
)
async def test_arguments_are_checked_at_once(options: dict[str, Any], name: str):
    with pytest.raises(InvalidArgumentError, match=rf"^{name} "):
        Reports(Api().session).days(**options)
