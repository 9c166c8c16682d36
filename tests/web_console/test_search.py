"""Pages that look at a part of a large outbox, and go on when they are asked to."""

from __future__ import annotations

import re
from html import unescape

import pytest
import pytest_asyncio

from anytrack_async import SQLiteOutbox, console
from anytrack_async.testing.outbox_rules.base import LEASE, failures, sale
from tests.web_console.conftest import anna, browser

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def app(tmp_path, monkeypatch):
    """Return a console whose pages look at 10 records, and of an outbox with 40."""
    for module in ("selection", "history"):
        monkeypatch.setattr(f"anytrack_async.web_console.{module}.FIRST_PART", 10)
        monkeypatch.setattr(f"anytrack_async.web_console.{module}.NEXT_PART", 20)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.history.outbox.SEARCHED_PER_STEP", 10)
    outbox = SQLiteOutbox(tmp_path / "outbox.db")
    await outbox.open(["meta"])
    await outbox.append([sale(number, click_id=f"click-{number}") for number in range(40)])
    claim = await outbox.claim("meta", 40, LEASE)
    await outbox.settle(claim, failures(claim, *range(40)))
    yield console(outbox, admin=anna)
    await outbox.aclose()


async def test_a_filter_goes_on_until_everything_was_looked_at(app):
    async with browser(app) as http:
        address, parts = "/dead-letters?text=unheard", []
        while address:
            page = (await http.get(address)).text
            parts.append("looked at so far" in page)
            link = re.search(r'<a href="([^"]+)">Search on', page)
            address = link and f"/{unescape(link[1])}"
        complete = (await http.get("/dead-letters?text=no+thanks")).text

    assert parts == [True, True, False]
    assert "No dead letter matches" in page
    assert complete.count('type="checkbox"') == 10
    assert "all that match among the dead letters looked at so far" in complete


async def test_a_confirmation_counts_what_it_has_looked_at(app):
    async with browser(app) as http:
        fields = {"scope": "all", "text": "no thanks"}
        page = (await http.post("/discard", data=fields)).text

    assert "At least 20 dead letters" in page
    assert "Discard all that match" in page


async def test_a_search_for_an_id_goes_on(app):
    async with browser(app) as http:
        first = await http.post("/find", data={"q": "click-3"})
        before = re.search(r'name="before" value="(\d+)"', first.text)
        second = await http.post("/find", data={"q": "click-3", "before": before[1]})
        before = re.search(r'name="before" value="(\d+)"', second.text)
        fields = {"q": "click-3", "before": before[1]}
        third = await http.post("/find", data=fields)
        by_script = await http.post("/find", data=fields, headers={"hx-request": "true"})

    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 303)
    assert third.headers["location"] == "conversion?event_id=sale%3A3"
    assert (by_script.status_code, by_script.headers["hx-redirect"]) == (
        200,
        third.headers["location"],
    )


async def test_an_event_id_is_found_at_once(app):
    async with browser(app) as http:
        response = await http.post("/find", data={"q": "sale:3"})
        order = await http.post("/find", data={"q": "3"})

    assert response.headers["location"] == order.headers["location"]
