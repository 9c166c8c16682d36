"""The page of one conversion: masked, revealed, found, with what each service would get."""

from __future__ import annotations

import logging

import pytest
import pytest_asyncio

from anytrack_async import Conversion, Customer, FailedEntry, MemoryOutbox, console
from anytrack_async.testing.outbox_rules.base import LEASE
from tests.client.service import Service
from tests.web_console.conftest import anna, browser

pytestmark = pytest.mark.asyncio

SECRETS = ("jo@example.com", "+491701234567", "Joanna", "click-secret-1", "203.0.113.7", "gift")


def order(order_id: str) -> Conversion:
    return Conversion.sale(
        order_id=order_id,
        revenue="49.90",
        click_id="click-secret-1",
        ip_address="203.0.113.7",
        source="newsletter",
        custom_data={"note": "a gift for her"},
        customer=Customer(email="jo@example.com", phone="+491701234567", first_name="Joanna"),
    )


@pytest_asyncio.fixture
async def outbox():
    """Return an outbox: Meta has received order 1001 and rejected order 1002."""
    outbox = MemoryOutbox()
    await outbox.open(["meta", "hubspot"])
    await outbox.append([order("1001"), order("1002")])
    claim = await outbox.claim("meta", 2, LEASE)
    seq = claim.entries[1].seq
    await outbox.settle(claim, [FailedEntry(seq=seq, attempts=3, error="too old", code="2804003")])
    yield outbox
    await outbox.aclose()


async def read(app, event_id: str, **params):
    async with browser(app) as http:
        return await http.get("/conversion", params={"event_id": event_id, **params})


async def test_it_has_the_state_at_each_destination(outbox):
    page = (await read(console(outbox), "sale:1002")).text

    assert "dead letter" in page
    assert "too old" in page
    assert "<code>2804003</code>" in page
    assert "waiting" in page  # at HubSpot


async def test_a_customers_values_are_masked_on_the_server(outbox):
    page = (await read(console(outbox, admin=anna), "sale:1002")).text

    for secret in SECRETS:
        assert secret not in page
    assert "j…@e…" in page
    assert "newsletter" in page
    assert "49.90" in page


async def test_an_admin_sees_them_and_this_is_logged(outbox, caplog):
    caplog.set_level(logging.INFO)
    async with browser(console(outbox, admin=anna)) as http:
        page = await http.post("/reveal", data={"event_id": "sale:1002"})

    assert page.headers["cache-control"] == "no-store"
    for secret in SECRETS:
        assert secret in page.text
        assert secret not in caplog.text
    assert "anna@shop.example revealed the customer of 1 conversions (sale:1002)" in caplog.text


async def test_nobody_else_sees_them(outbox):
    async with browser(console(outbox)) as http:
        stranger = await http.post("/reveal", data={"event_id": "sale:1001"})
    async with browser(console(outbox, admin=anna), headers={}) as http:
        foreign = await http.post("/reveal", data={"event_id": "sale:1001"})

    assert stranger.status_code == foreign.status_code == 403
    assert "Joanna" not in stranger.text + foreign.text


@pytest.mark.parametrize("event_id", ["", "sale:9", "../..", "x" * 5_000, "\x00"])
async def test_an_unknown_one_is_told(outbox, event_id):
    answer = await read(console(outbox), event_id)

    assert answer.status_code in (400, 404)
    assert 'role="alert"' in answer.text


async def test_what_is_dropped_is_said(outbox):
    claim = await outbox.claim("hubspot", 2, LEASE)
    await outbox.settle(claim)
    await outbox.prune(remember=3_600)
    page = (await read(console(outbox), "sale:1001")).text

    assert "fields" in page
    assert "newsletter" not in page


# Bodies


async def test_it_has_the_body_that_each_service_would_get_masked():
    service = Service()
    service.refuse(422, "no click")
    async with service.client(sinks=[service.meta(), service.hubspot()]) as client:
        await (await client.submit(order("1001"), to=["anytrack"]))
        page = (await read(console(client), "sale:1001")).text

    assert "<summary>meta</summary>" in page
    assert "user_data" in page
    assert "event_name" in page
    for secret in SECRETS:
        assert secret not in page


async def test_a_file_has_the_bodies_of_the_sinks_in_the_environment(path, monkeypatch):
    monkeypatch.setenv("META_PIXEL_ID", "1234567890")
    monkeypatch.setenv("META_ACCESS_TOKEN", "meta-s3cret")
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "\n")  # not valid: left out
    app = console(path)
    page = (await read(app, "sale:1")).text
    await app.aclose()

    assert "<summary>meta" in page
    assert "meta-s3cret" not in page


class BrokenSink:
    """A sink whose preview fails, with the customer's data in its message."""

    name = "broken"

    def __init__(self, limits) -> None:
        self.limits = limits

    async def deliver(self, batch):
        raise NotImplementedError

    def preview(self, conversion):
        raise ValueError(conversion.customer.email)


async def test_a_sink_that_fails_to_preview_does_not_break_the_page():
    service = Service()
    service.refuse(422, "no click")
    async with service.client(sinks=[BrokenSink(service.meta().limits)]) as client:
        await (await client.submit(order("1001"), to=["anytrack"]))
        page = await read(console(client), "sale:1001")

    assert page.status_code == 200
    assert "the sink cannot tell: ValueError" in page.text
    assert "jo@example.com" not in page.text


# Attribution


async def test_attribution_and_touchpoints_are_asked_for_on_request():
    service = Service()
    service.answer("/v1/conversions/at-sale:1001/attribution", {"model": "linear", "weights": {}})
    async with service.client() as client:
        await client.track_conversion(order("1001"))
        app = console(client)
        before = (await read(app, "sale:1001")).text
        answered = len(service.requests)
        after = (await read(app, "sale:1001", journey="1")).text

    assert "Ask AnyTrack" in before
    assert len(service.requests) > answered
    assert 'class="alert"' in after or "Model: linear" in after


# Finding


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("sale:1001", "conversion?event_id=sale%3A1001"),
        ("1001", "conversion?event_id=sale%3A1001"),
        (" 1002 ", "conversion?event_id=sale%3A1002"),
        ("", "./"),
    ],
)
async def test_a_conversion_is_found_by_its_event_id_or_order_id(outbox, query, location):
    async with browser(console(outbox)) as http:
        answer = await http.post("/find", data={"q": query})

    assert answer.status_code == 303
    assert answer.headers["location"] == location


async def test_several_that_match_are_listed(outbox):
    await outbox.append([Conversion.lead(order_id="1001", click_id="c")])
    async with browser(console(outbox)) as http:
        answer = await http.post("/find", data={"q": "1001"})

    assert "2 conversions" in answer.text
    assert "lead:1001</a>" in answer.text


async def test_what_is_not_found_is_said_and_not_repeated(outbox):
    async with browser(console(outbox)) as http:
        answer = await http.post("/find", data={"q": "click-unknown-7"})

    assert answer.status_code == 404
    assert "click-unknown-7" not in answer.text
