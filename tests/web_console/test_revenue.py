"""Conversions of a day beside the same weekday before, and what AnyTrack says of it."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest

from anytrack_async import console
from anytrack_async.web_console.revenue import compare
from tests.client.service import Service
from tests.web_console.conftest import browser

pytestmark = pytest.mark.asyncio


def count(source: str, number: int, value: str) -> SimpleNamespace:
    return SimpleNamespace(source=source, count=number, value=Decimal(value))


async def test_rows_have_both_days_the_highest_value_first():
    today = [count("ads", 2, "20"), count("mail", 1, "99.90"), count("ads", 1, "10")]
    rows = compare(today, [count("ads", 4, "40"), count("old", 1, "5")], lambda item: item.source)

    assert [(row.name, row.number, row.value, row.number_before) for row in rows] == [
        ("mail", 1, Decimal("99.90"), 0),
        ("ads", 3, Decimal(30), 4),
        ("old", 0, Decimal(0), 1),
    ]
    assert [row.change for row in rows] == ["new", "-25 %", "-100 %"]


async def test_more_than_twenty_rows_end_with_the_others():
    today = [count(f"source {number:02}", 1, str(100 - number)) for number in range(30)]
    rows = compare(today, [], lambda item: item.source)

    assert len(rows) == 21
    assert (rows[-1].name, rows[-1].number) == ("10 others", 10)
    assert sum(row.value for row in rows) == sum(item.value for item in today)


async def test_anytrack_is_asked_only_on_request():
    service = Service()
    report = {"total_revenue": "149.70", "total_conversions": 3, "by_source": {"ads": "149.70"}}
    service.answer("/v1/reports/daily", report)
    service.answer("/v1/affiliates/top", {"data": [{"affiliate_id": "aff-1", "revenue": "9.90"}]})
    async with service.client() as client:
        async with browser(console(client)) as http:
            await http.get("/conversions")
            asked = len(service.requests)
            page = (await http.get("/conversions?day=2026-11-20&anytrack=1")).text

    assert asked == 0
    assert "149.70" in page
    assert "aff-1" in page
    assert "2026-11-13, the same weekday before" in page


async def test_an_answer_that_fails_is_told(path, monkeypatch):
    for name in ("ANYTRACK_API_KEY", "ANYTRACK_ACCOUNT_ID", "ANYTRACK_COLLECT_URL"):
        monkeypatch.delenv(name, raising=False)
    app = console(path)
    async with browser(app) as http:
        page = await http.get("/conversions?anytrack=1")
        wrong = await http.get("/conversions?day=yesterday")
        for day in ("0001-01-01", "1970-01-01", "9999-12-31"):
            assert (await http.get(f"/conversions?day={day}")).status_code == 200
    await app.aclose()

    assert page.status_code == 200
    assert "ANYTRACK_API_KEY" in page.text
    assert wrong.status_code == 400
