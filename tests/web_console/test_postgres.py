"""The console on an outbox in PostgreSQL shows its history, while no client runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from anytrack_async import Conversion, PostgresOutbox, console
from anytrack_async.outbox.history import ReleaseReason
from anytrack_async.testing.outbox_rules.base import LEASE, deliver
from tests.web_console.conftest import browser


@pytest.mark.asyncio
async def test_pages_show_the_history_of_a_database(postgres_dsn, postgres_schema, monkeypatch):
    monkeypatch.setenv("ANYTRACK_OUTBOX_SCHEMA", postgres_schema)
    outbox = PostgresOutbox(postgres_dsn, schema=postgres_schema)
    await outbox.open(["meta", "hubspot"])
    orders = {"source": "newsletter", "currency": "EUR", "revenue": "49.90"}
    await outbox.append(
        [
            Conversion.sale(order_id=str(number), click_id=f"click-{number}", **orders)
            for number in (1, 2)
        ]
    )
    claim = await outbox.claim("meta", 2, LEASE)
    reason = ReleaseReason(error="the service answered 503", code="down")
    await outbox.release_with_reason(claim, due=time.time(), counts_as_attempt=True, reason=reason)
    await deliver(outbox, "meta")
    await outbox.aclose()

    app = console(postgres_dsn)
    async with browser(app) as http:
        overview, conversion, days = [
            (await http.get(address)).text
            for address in (
                "/",
                "/conversion?event_id=sale:1",
                f"/conversions?day={datetime.now(UTC).date()}",
            )
        ]
        found = await http.post("/find", data={"q": "click-2"})
    await app.aclose()

    assert "2 × <code>down</code>" in overview
    timeline = conversion[conversion.index('id="timeline"') : conversion.index('id="fields"')]
    assert timeline.index("the service answered 503") < timeline.index("delivered")
    assert "newsletter" in days
    assert "99.80" in days
    assert found.headers["location"] == "conversion?event_id=sale%3A2"
