"""Settings and checks: what is configured, pausing and resuming, checks, a test conversion."""

from __future__ import annotations

import logging

import anyio
import pytest

from anytrack_async import Conversion, Finding, LaneState, console
from anytrack_async.web_console import settings_page
from tests.client.service import KEY, Service
from tests.web_console.conftest import anna, browser

pytestmark = pytest.mark.asyncio


async def test_a_file_says_what_the_environment_configures_and_never_a_value(path, monkeypatch):
    monkeypatch.setenv("META_PIXEL_ID", "1234567890")
    monkeypatch.setenv("META_ACCESS_TOKEN", "meta-s3cret")
    app = console(path)
    async with browser(app) as http:
        page = (await http.get("/settings")).text
    await app.aclose()

    assert "<code>META_ACCESS_TOKEN</code>" in page
    assert "meta-s3cret" not in page
    assert "no lane in this process" in page
    assert "SQLiteOutbox" in page
    assert "Size of the file" in page
    assert str(path.parent) not in page


async def test_pausing_stops_a_lane_and_resuming_starts_it(caplog):
    caplog.set_level(logging.INFO)
    service = Service()
    async with service.client() as client:
        async with browser(console(client, admin=anna)) as http:
            paused = await http.post("/pause", data={"destination": "anytrack"})
            delivery = await client.submit(Conversion.lead(click_id="c1"))
            overview = (await http.get("/")).text
            stats = (await client.stats()).destinations["anytrack"]
            page = (await http.get("/settings?done=paused")).text
            requests = len(service.requests)
            await http.post("/resume", data={"destination": "anytrack"})
        with anyio.fail_after(10):
            report = await delivery

    assert paused.status_code == 303
    assert (stats.state, stats.waiting, requests) == (LaneState.PAUSED, 1, 0)
    assert "by anna@shop.example" in overview
    assert "Resume anytrack" in page
    assert "1 destination is paused." in page
    assert report.delivered
    assert "anna@shop.example paused 1 destinations (anytrack)" in caplog.text


@pytest.mark.parametrize("action", ["pause", "resume", "check", "send-test"])
async def test_only_admins_of_a_client_change_anything(path, action):
    service = Service()
    async with service.client() as client:
        async with browser(console(client)) as http:
            stranger = await http.post(f"/{action}", data={"destination": "anytrack"})
        async with browser(console(client, admin=anna)) as http:
            unknown = await http.post(f"/{action}", data={"destination": "pigeon"})
        state = (await client.stats()).destinations["anytrack"].state
    app = console(path, admin=anna)
    async with browser(app) as http:
        without = await http.post(f"/{action}", data={"destination": "meta"})
    await app.aclose()

    assert stranger.status_code == 403
    assert state is LaneState.RUNNING
    if action != "check":
        assert unknown.status_code == 400
    if action == "send-test":
        assert without.status_code == 400


async def test_a_console_of_a_file_pauses_the_workers_elsewhere(path):
    app = console(path, admin=anna)
    service = Service()
    async with browser(app) as http:
        await http.post("/pause", data={"destination": "meta", "reason": "<b>new pixel</b>"})
        overview, page = (await http.get("/")).text, (await http.get("/settings")).text
        async with service.client(outbox=path, sinks=[service.meta()]) as worker:
            state = (await worker.stats()).destinations["meta"].state
        await http.post("/resume", data={"destination": "meta"})
        resumed = (await http.get("/settings")).text
    await app.aclose()

    assert state is LaneState.PAUSED
    assert "by anna@shop.example" in overview
    assert "&lt;b&gt;new pixel&lt;/b&gt;" in overview
    assert "paused since" in page
    assert "Resume meta" in page
    assert "paused since" not in resumed


async def test_checks_name_what_is_wrong_and_no_secret():
    service = Service()
    service.refuse(401, "this key is revoked", path="/v1/conversions")
    async with service.client(sinks=[service.meta(), service.hubspot()]) as client:
        async with browser(console(client, admin=anna)) as http:
            page = (await http.post("/check")).text

    findings = page[page.index('id="findings"') :]
    assert "anytrack" in findings
    assert "meta" in findings
    assert "failed" in findings
    assert KEY not in page


class CheckedSink:
    """A sink whose check does what the test says."""

    name = "pigeon"

    def __init__(self, answer, limits) -> None:
        self.answer, self.limits = answer, limits

    async def deliver(self, batch):
        raise NotImplementedError

    async def check(self, *, currencies=()):
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await anyio.sleep_forever()
        return self.answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([Finding(name="token", ok=True, message="valid")], "valid"),
        (OSError("no route to host"), "no route to host"),
        (ValueError("jo@example.com"), "ValueError"),
        (None, "no complete result within"),
    ],
)
async def test_a_check_that_fails_or_hangs_is_a_finding(monkeypatch, answer, words):
    monkeypatch.setattr(settings_page, "_CHECK_WITHIN", 0.01)
    service = Service()
    sink = CheckedSink(answer, service.meta().limits)
    async with service.client(sinks=[sink]) as client:
        async with browser(console(client, admin=anna)) as http:
            page = (await http.post("/check")).text

    assert words in page
    assert "jo@example.com" not in page


async def test_a_test_conversion_goes_to_one_destination_and_is_shown():
    service = Service()
    async with service.client(sinks=[service.meta()]) as client:
        app = console(client, admin=anna)
        async with browser(app) as http:
            answer = await http.post("/send-test", data={"destination": "meta"})
            page = await http.get(f"/{answer.headers['location']}")

    assert page.status_code == 200
    assert "At the destinations" in page.text
    assert not service.bodies("api.anytrack.io")
    assert len(service.bodies("graph.facebook.com")) == 1
