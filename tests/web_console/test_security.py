"""Headers, prefixes, requests from other sites, the token, and hosts."""

from __future__ import annotations

import logging

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from anytrack_async import ConfigurationError, console
from anytrack_async.web_console.pages import login_page
from anytrack_async.web_console.security import (
    HostGate,
    Refused,
    TokenGate,
    admin_name,
    check_same_origin,
)
from tests.web_console.conftest import browser

pytestmark = pytest.mark.asyncio

TOKEN = "a-token-of-24-characters"


def request(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "headers": pairs, "client": ("192.0.2.7", 1), "method": "POST"}
    return Request(scope)


async def test_every_response_forbids_foreign_content_frames_and_caches(path):
    app = console(path)
    async with browser(app) as http:
        pages = [await http.get("/"), await http.get("/nowhere"), await http.post("/live")]
        style = await http.get("/static/console.css")
    await app.aclose()

    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
    assert [page.status_code for page in pages] == [200, 404, 405]
    assert "immutable" in style.headers["cache-control"]


async def test_under_a_prefix_links_stay_below_it(path):
    app = console(path)
    mounted = Starlette(routes=[Mount("/internal/console", app)])
    async with browser(mounted) as http:
        page = await http.get("/internal/console/")
        style = await http.get("/internal/console/static/console.css")
    async with browser(app) as http:
        bare = await http.get("", headers={"host": "x"})
    await app.aclose()

    assert (page.status_code, style.status_code, bare.status_code) == (200, 200, 200)
    assert 'href="/' not in page.text
    assert 'action="/' not in page.text


async def test_the_address_without_its_slash_leads_to_the_one_with_it(path):
    app = console(path)
    answers = []

    async def send(message):
        answers.append(message)

    scope = {"type": "http", "path": "/console", "root_path": "/console", "headers": []}
    await app({**scope, "method": "GET"}, None, send)

    assert answers[0]["status"] == 308
    assert (b"location", b"console/") in answers[0]["headers"]


async def test_with_a_lifespan_the_outbox_is_closed_at_its_end(path):
    app, messages = console(path), []
    async with browser(app) as http:
        await http.get("/")
    outbox = await app._context.source.outbox()
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(events)

    async def send(message):
        messages.append(message["type"])

    await app({"type": "lifespan"}, receive, send)

    assert messages == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert await app._context.source.outbox() is not outbox
    await app.aclose()


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-origin", "origin": "null"},
        {"origin": "https://shop.example", "host": "shop.example"},
        {"origin": "http://shop.example:8090", "host": "shop.example:8090"},
    ],
)
async def test_a_request_of_the_console_itself_is_let_through(headers):
    check_same_origin(request(**headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "shop.example"},
        {"origin": "null", "host": "shop.example"},
        {"origin": "https://evil.example", "host": "shop.example"},
        {"origin": "https://shop.example", "host": "shop.example", "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
)
async def test_a_request_of_another_site_is_refused(headers):
    with pytest.raises(Refused) as info:
        check_same_origin(request(**headers))

    assert info.value.status == 403


async def test_admin_is_who_the_function_says():
    async def later(_):
        return "bo"

    assert await admin_name(request(), None) is None
    assert await admin_name(request(), lambda _: False) is None
    assert await admin_name(request(), lambda _: True) == "192.0.2.7"
    assert await admin_name(request(), later) == "bo"


async def test_a_function_that_fails_makes_nobody_admin(caplog):
    caplog.set_level(logging.ERROR)

    assert await admin_name(request(), lambda _: 1 / 0) is None
    assert "admin() failed" in caplog.text


# The token


async def test_without_the_token_there_is_only_the_form(path):
    app = console(path)
    gate = TokenGate(app, TOKEN, login_page)
    async with browser(gate) as http:
        form = await http.get("/")
        wrong = await http.post("/login", data={"token": "another-token-of-24-char"})
        style = await http.get("/static/console.css")
        foreign = await http.post(
            "/login", data={"token": TOKEN}, headers={"sec-fetch-site": "cross-site"}
        )
        right = await http.post("/login", data={"token": TOKEN})
        page = await http.get("/")
    async with browser(gate, headers={"authorization": f"Bearer {TOKEN}"}) as http:
        program = await http.get("/")
    await app.aclose()

    assert (form.status_code, wrong.status_code, style.status_code) == (401, 401, 200)
    assert "This is not the token" in wrong.text
    assert foreign.status_code == 403
    assert right.status_code == 303
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert page.status_code == program.status_code == 200
    assert "meta</h2>" not in form.text
    assert "frame-ancestors 'none'" in form.headers["content-security-policy"]


async def test_a_short_token_is_refused(path):
    with pytest.raises(ConfigurationError, match="16 characters or more"):
        TokenGate(console(path), "short", login_page)


async def test_without_a_token_only_this_machines_names_are_answered(path):
    app = console(path)
    gate = HostGate(app, frozenset({"localhost", "127.0.0.1"}))
    async with browser(gate) as http:
        own = await http.get("/")
        numbered = await http.get("/", headers={"host": "127.0.0.1:8090"})
        rebound = await http.get("/", headers={"host": "evil.example:8090"})
    await app.aclose()

    assert (own.status_code, numbered.status_code, rebound.status_code) == (200, 200, 421)
