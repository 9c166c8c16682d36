"""Dead letters in the browser: filters, groups, pages, and what an admin may do with them."""

from __future__ import annotations

import json
import logging
import re

import pytest
import pytest_asyncio

from anytrack_async import Conversion, Customer, FailedEntry, MemoryOutbox, Status, console
from anytrack_async.testing.outbox_rules.base import LEASE, failures
from tests.web_console.conftest import anna, browser

pytestmark = pytest.mark.asyncio

ADDRESS = "jo@example.com"
PHONE = "+491701234567"


def order(number: int) -> Conversion:
    customer = Customer(email=ADDRESS, phone=PHONE, first_name="Joanna")
    return Conversion.sale(
        order_id=str(number), revenue="49.90", click_id="click-secret-1", customer=customer
    )


@pytest_asyncio.fixture
async def outbox():
    """Return an outbox: order 1001 is dead at Meta, 1002 at both, 1003 nowhere."""
    outbox = MemoryOutbox()
    await outbox.open(["meta", "hubspot"])
    await outbox.append([order(1001), order(1002), order(1003)])
    old = [("1001", "event 17 is too old", "2804003"), ("1002", "event 4 is too old", "2804003")]
    claim = await outbox.claim("meta", 3, LEASE)
    await outbox.settle(claim, [failed(claim, *reason) for reason in old])
    claim = await outbox.claim("hubspot", 3, LEASE)
    await outbox.settle(claim, [failed(claim, "1002", "<b>no such pipeline</b>", "400")])
    yield outbox
    await outbox.aclose()


def failed(claim, order_id: str, error: str, code: str) -> FailedEntry:
    """Return the failure that makes an order of *claim* a dead letter."""
    (seq,) = [entry.seq for entry in claim.entries if entry.conversion.order_id == order_id]
    return FailedEntry(seq=seq, attempts=1, error=error, code=code)


async def read(app, address: str) -> str:
    async with browser(app) as http:
        response = await http.get(address)
    assert response.status_code == 200, response.text
    return response.text


async def post(app, address: str, **fields):
    async with browser(app) as http:
        return await http.post(address, data=fields)


async def dead(outbox) -> list[tuple[str, str]]:
    return [(item.destination, item.event_id) for item in await outbox.dead_letters()]


async def test_dead_letters_are_grouped_by_reason_whatever_numbers_it_has(outbox):
    page = await read(console(outbox), "/dead-letters")
    reasons = page[page.index("By reason") : page.index("the oldest first")]

    assert "event 17 is too old" in reasons
    assert "event 4 is too old" not in reasons
    assert re.search(r'data-label="Number" class="number">2<', reasons)
    assert "3 dead letters in all" in page


async def test_what_a_service_says_is_text_and_never_markup(outbox):
    page = await read(console(outbox), "/dead-letters")

    assert "&lt;b&gt;no such pipeline&lt;/b&gt;" in page
    assert "<b>no such" not in page


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", 3),
        ("destination=meta", 2),
        ("destination=hubspot&code=400", 1),
        ("code=2804003", 2),
        ("text=TOO+OLD", 2),
        ("text=event+17", 1),
        ("text=nothing", 0),
        ("older=1h", 0),
        ("newer=1h", 3),
    ],
)
async def test_filters(outbox, query, rows):
    page = await read(console(outbox, admin=anna), f"/dead-letters?{query}")

    assert page.count('type="checkbox"') == rows


@pytest.mark.parametrize("query", ["older=soon", "destination=nowhere"])
async def test_a_filter_that_cannot_be_read_is_told(outbox, query):
    async with browser(console(outbox)) as http:
        response = await http.get(f"/dead-letters?{query}")

    assert response.status_code in (400, 503)
    assert 'role="alert"' in response.text


async def test_no_page_has_a_customers_data(outbox):
    app = console(outbox, admin=anna)
    pages = [await read(app, "/dead-letters"), await read(app, "/edit?event_id=sale:1001")]

    for page in pages:
        for secret in (ADDRESS, PHONE, "Joanna", "click-secret-1"):
            assert secret not in page
    assert "j…@e…" in pages[1]


async def test_further_pages_continue_where_the_last_one_ended(outbox):
    await outbox.append([order(number) for number in range(2000, 2120)])
    claim = await outbox.claim("meta", 200, LEASE)
    await outbox.settle(claim, failures(claim, *range(2000, 2120)))
    app = console(outbox, admin=anna)

    seen, address = [], "/dead-letters?destination=meta"
    while address:
        page = await read(app, address)
        seen += re.findall(r'name="letter" value="meta ([^"]+)"', page)
        following = re.search(r'href="(dead-letters\?[^"]*after=\d+)">Next', page)
        address = f"/{following[1].replace('&amp;', '&')}" if following else ""

    assert len(seen) == len({*seen}) == 122


# Actions


async def test_selected_ones_are_replayed_and_nothing_else(outbox, caplog):
    caplog.set_level(logging.INFO)
    app = console(outbox, admin=anna)
    answer = await post(app, "/replay", letter="meta sale:1002")
    page = await read(app, f"/{answer.headers['location']}")

    assert answer.status_code == 303
    assert await dead(outbox) == [("meta", "sale:1001"), ("hubspot", "sale:1002")]
    assert "1 dead letter is due again." in page
    assert "console: anna@shop.example replayed 1 dead letters" in caplog.text
    assert "sale:1002" not in caplog.text


async def test_all_that_match_are_replayed_after_a_question(outbox):
    app = console(outbox, admin=anna)
    question = await post(app, "/replay", scope="all", code="2804003")
    before = await dead(outbox)
    await post(app, "/replay", scope="all", code="2804003", confirmed="yes")

    assert "Replay 2 dead letters" in question.text
    assert len(before) == 3
    assert await dead(outbox) == [("hubspot", "sale:1002")]


async def test_discarding_asks_first(outbox):
    app = console(outbox, admin=anna)
    question = await post(app, "/discard", letter="meta sale:1001")
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]+)"', question.text))
    before = await dead(outbox)
    await post(app, "/discard", **hidden)
    report = (await outbox.reports(["sale:1001"]))["sale:1001"]

    assert "Discard for good?" in question.text
    assert len(before) == 3
    assert report.outcomes["meta"].status is Status.DISCARDED


async def test_nothing_selected_changes_nothing(outbox):
    answer = await post(console(outbox, admin=anna), "/discard", confirmed="yes")

    assert answer.status_code == 400
    assert "no dead letter is selected" in answer.text
    assert len(await dead(outbox)) == 3


async def test_an_export_is_what_the_command_line_reads(outbox, caplog):
    caplog.set_level(logging.INFO)
    app = console(outbox, admin=anna)
    everything = await post(app, "/export", scope="all")
    selected = await post(app, "/export", letter="hubspot sale:1002")

    lines = [json.loads(line) for line in everything.text.splitlines()]
    assert [line["event_id"] for line in lines] == ["sale:1001", "sale:1002"]
    assert lines[0]["customer"]["email"] == [ADDRESS]
    assert "too old" in lines[1]["note"]
    assert "no such pipeline" in lines[1]["note"]
    assert len(selected.text.splitlines()) == 1
    assert "attachment" in everything.headers["content-disposition"]
    assert "anna@shop.example exported 2 dead letters" in caplog.text


async def test_a_correction_keeps_the_event_id_and_what_the_form_does_not_show(outbox):
    app = console(outbox, admin=anna)
    answer = await post(
        app,
        "/edit",
        event_id="sale:1001",
        conversion_type="sale",
        revenue="59.90",
        currency="EUR",
        order_id="1001-b",
        **{"customer.email": "", "customer.phone": "+491709999999"},
        **{"remove:customer.first_name": "yes"},
    )
    claim = await outbox.claim("meta", 1, LEASE)
    (corrected,) = claim.entries.conversions

    assert answer.headers["location"].startswith("conversion?event_id=sale%3A1001&done=corrected")
    assert (corrected.event_id, corrected.order_id) == ("sale:1001", "1001-b")
    assert (str(corrected.revenue), corrected.currency) == ("59.90", "EUR")
    assert corrected.click_id == "click-secret-1"
    assert corrected.customer.email == (ADDRESS,)
    assert corrected.customer.phone == ("+491709999999",)
    assert corrected.customer.first_name == ()


async def test_a_correction_that_is_not_valid_returns_to_the_form(outbox):
    answer = await post(
        console(outbox, admin=anna), "/edit", event_id="sale:1001", revenue="much", source="mail"
    )

    assert answer.status_code == 400
    assert 'role="alert">revenue' in answer.text
    assert 'value="much"' in answer.text
    assert len(await dead(outbox)) == 3


@pytest.mark.parametrize("event_id", ["", "sale:1003", "sale:9"])
async def test_what_is_no_dead_letter_cannot_be_corrected(outbox, event_id):
    async with browser(console(outbox, admin=anna)) as http:
        answer = await http.get("/edit", params={"event_id": event_id})

    assert answer.status_code == 404


@pytest.mark.parametrize("action", ["replay", "discard", "export", "edit"])
@pytest.mark.parametrize("reason", ["not admin", "other site", "get"])
async def test_nobody_else_can_change_anything(outbox, action, reason):
    app = console(outbox, admin=None if reason == "not admin" else anna)
    headers = {"sec-fetch-site": "cross-site"} if reason == "other site" else {}
    fields = {"scope": "all", "confirmed": "yes", "event_id": "sale:1001", "revenue": "1"}
    async with browser(app) as http:
        if reason == "get" and action != "edit":
            answer = await http.get(f"/{action}", params=fields)
        elif reason == "get":
            answer = await http.put(f"/{action}", data=fields)
        else:
            answer = await http.post(f"/{action}", data=fields, headers=headers)

    assert answer.status_code == (405 if reason == "get" else 403)
    assert len(await dead(outbox)) == 3


async def test_who_is_no_admin_sees_no_actions(outbox):
    page = await read(console(outbox), "/dead-letters")
    async with browser(console(outbox)) as http:
        form = await http.get("/edit?event_id=sale:1001")

    assert "formaction" not in page
    assert "checkbox" not in page
    assert form.status_code == 403


async def test_a_form_that_is_too_large_is_refused(outbox):
    app = console(outbox, admin=anna)
    answer = await post(app, "/replay", letter="meta " + "x" * 1_000_001)

    async def chunks():
        yield b"scope=all&confirmed=yes"

    async with browser(app) as http:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        chunked = await http.post("/replay", content=chunks(), headers=headers)

    assert answer.status_code == chunked.status_code == 413
    assert len(await dead(outbox)) == 3


async def test_a_notice_says_only_what_the_console_says(outbox):
    app = console(outbox)

    for query in ("done=pay+me&count=3", "done=replayed&count=x", "notice=pay+me"):
        assert 'role="status"' not in await read(app, f"/dead-letters?{query}")
