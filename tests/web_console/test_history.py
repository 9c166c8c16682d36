"""Pages of an outbox that keeps a history: charts, timelines, the search, and days."""

from __future__ import annotations

import html
import json
import re
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import pytest_asyncio

from anytrack_async import Conversion, Customer, MemoryOutbox, Status, console
from anytrack_async.outbox.history import (
    DAY,
    HOUR,
    MINUTE,
    AcceptedCount,
    KeepsHistory,
    OutcomeCount,
    PastAttempt,
    RememberedConversion,
)
from anytrack_async.testing.outbox_rules.base import LEASE
from tests.web_console.conftest import anna, browser

pytestmark = pytest.mark.asyncio

NOW = int(time.time())
ORDER = Conversion.sale(
    order_id="1001",
    revenue="49.90",
    click_id="click-secret-1",
    source="newsletter",
    customer=Customer(email="jo@example.com"),
)


class RememberingOutbox(MemoryOutbox):
    """An outbox whose history is what the test needs."""

    outcomes = (("delivered", "delivered", 7), ("waiting", "503", 4), ("dead", "2804003", 3))

    async def outcome_counts(self, *, since, until=None, destination=None):
        return [
            OutcomeCount(
                destination="meta",
                minute=NOW // MINUTE * MINUTE,
                status=Status(status),
                code=code,
                count=count,
                seconds=1.0,
            )
            for status, code, count in self.outcomes
        ]

    async def accepted_counts(self, *, since, until=None):
        return [
            AcceptedCount(
                hour=NOW // HOUR * HOUR - days * DAY,
                conversion_type="sale",
                currency=currency,
                source="newsletter",
                campaign="",
                count=count,
                value=Decimal(value),
            )
            for days, currency, count, value in ((0, "EUR", 14, "699.30"), (7, "EUR", 7, "466.20"))
        ]

    async def attempts(self, event_id):
        reason = {"error": "answered 503", "http_status": 503, "code": "503"}
        return [
            PastAttempt(
                destination="meta", at=NOW - 60, number=1, status=Status.WAITING, due=NOW, **reason
            ),
            PastAttempt(destination="meta", at=NOW, number=2, status=Status.DELIVERED),
        ]

    async def delivered_at(self, event_id):
        return {"meta": float(NOW)}

    async def find(self, *, event_id=None, order_id=None, click_id=None, limit=20):
        ids = (ORDER.event_id, ORDER.order_id, ORDER.click_id)
        found = (event_id, order_id, click_id)
        return [remembered()] if any(map(lambda a, b: a == b, found, ids)) else []

    async def recent(self, *, before=None, limit=50):
        return [remembered()]

    async def release_with_reason(self, claim, *, due, counts_as_attempt, failure):
        raise NotImplementedError


def remembered() -> RememberedConversion:
    return RememberedConversion(
        seq=1,
        event_id=ORDER.event_id,
        summary="sale 49.90 EUR",
        accepted_at=NOW - 90.0,
        conversion=ORDER,
    )


@pytest_asyncio.fixture
async def outbox():
    outbox = RememberingOutbox()
    await outbox.open(["meta", "hubspot"])
    await outbox.append([ORDER])
    await outbox.settle(await outbox.claim("meta", 1, LEASE))
    assert isinstance(outbox, KeepsHistory)
    yield outbox
    await outbox.aclose()


async def read(app, address: str) -> str:
    async with browser(app) as http:
        response = await http.get(address)
    assert response.status_code == 200, response.text
    return response.text


async def test_the_overview_draws_what_it_has_in_its_tables(outbox):
    page = await read(console(outbox), "/")
    charts = [
        json.loads(html.unescape(chart)) for chart in re.findall(r'data-chart="([^"]+)"', page)
    ]

    assert [len(chart["times"]) for chart in charts] == [60, 96]
    meta = charts[0]["series"][0]
    assert (meta["name"], sum(meta["values"])) == ("meta", 7)
    assert charts[0]["series"][2]["name"] == "attempts that failed"
    assert page.count("<summary>The numbers</summary>") == 2
    assert "<code>2804003</code>" in page
    assert "4 × <code>503</code>" in page


async def test_the_charts_are_read_at_most_every_ten_seconds(outbox):
    app = console(outbox)
    before = await read(app, "/trends")
    outbox.outcomes = ()
    after = await read(app, "/trends")
    fresh = await read(console(outbox), "/trends")

    assert before == after != fresh
    assert "<html" not in before


async def test_a_conversion_has_its_timeline_and_when_it_was_delivered(outbox):
    page = await read(console(outbox), "/conversion?event_id=sale:1001")
    timeline = page[page.index('id="timeline"') : page.index('id="fields"')]

    assert timeline.index("retrying") < timeline.index("delivered")
    assert "answered 503" in timeline
    assert '<td data-label="Status" class="number">503</td>' in timeline
    assert page.index("accepted ") < page.index('id="timeline"')
    assert "newsletter" in page
    assert "jo@example.com" not in page


async def test_a_delivered_conversion_is_revealed_to_admins_only(outbox):
    async with browser(console(outbox, admin=anna)) as http:
        page = await http.post("/reveal", data={"event_id": "sale:1001"})

    assert "jo@example.com" in page.text


async def test_a_click_id_is_found_and_is_in_no_address(outbox):
    async with browser(console(outbox)) as http:
        answer = await http.post("/find", data={"q": "click-secret-1"})

    assert answer.headers["location"] == "conversion?event_id=sale%3A1001"


async def test_days_are_compared_with_the_same_weekday_before(outbox):
    day = datetime.fromtimestamp(NOW, UTC).date()
    page = await read(console(outbox), f"/conversions?day={day}")

    assert "+50 %" in page
    assert "699.30" in page
    assert "466.20" in page
    for heading in ("By type", "By source", "By campaign", "By day", "By currency"):
        assert heading in page
    assert "sale 49.90 EUR" in page  # among the latest
