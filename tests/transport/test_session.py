from __future__ import annotations

from urllib.parse import unquote

import anyio
import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.settings import AnyTrackSettings, anytrack_session
from anytrack_async.errors import (
    ClosedError,
    ConfigurationError,
    TransportError,
)
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.httpx import HttpxEngine
from tests.transport.wire import BASE, QUICK, Wire, responding, session

pytestmark = pytest.mark.asyncio


# Requests


async def test_a_request_carries_headers_and_body():
    wire = Wire()
    await session(wire).send(
        "POST", "conversions", content=b'{"a":1}', headers={"Idempotency-Key": "k"}
    )

    sent = wire.last
    assert (sent.method, str(sent.url), sent.content) == ("POST", f"{BASE}/conversions", b'{"a":1}')
    assert sent.headers["authorization"] == "Bearer old-token"
    assert sent.headers["x-account-id"] == "acc"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["content-length"] == "7"
    assert sent.headers["idempotency-key"] == "k"
    assert sent.headers["host"] == "api.test"
    assert sent.headers["user-agent"].startswith("anytrack_async/")


async def test_a_body_need_not_be_json():
    wire = Wire()
    await session(wire).send("POST", "token", content=b"a=b", headers={"Content-Type": "text/form"})

    assert wire.last.headers.get_list("content-type") == ["text/form"]


async def test_headers_of_a_request_do_not_leak_into_the_next():
    wire = Wire()
    talk = session(wire)
    await talk.send("POST", "a", content=b"{}", headers={"Idempotency-Key": "k"})
    await talk.send("GET", "a")

    assert "idempotency-key" not in wire.last.headers
    assert "content-type" not in wire.last.headers


async def test_a_trailing_slash_of_the_base_url_is_not_doubled():
    wire = Wire()
    await session(wire, f"{BASE}/").send("GET", "a")

    assert str(wire.last.url) == f"{BASE}/a"


async def test_params_are_encoded():
    wire = Wire()
    await session(wire).get("conversions", params={"date": "2026-01-01T00:00:00+00:00", "q": "é &"})

    assert wire.last.url.query == b"date=2026-01-01T00%3A00%3A00%2B00%3A00&q=%C3%A9%20%26"
    assert wire.last.url.params["date"] == "2026-01-01T00:00:00+00:00"


@given(st.text(min_size=1).filter(lambda text: text.isprintable() and text not in (".", "..")))
async def test_any_text_stays_one_path_segment(segment: str):
    wire = Wire()
    await session(wire).send("GET", "conversions", segment, "attribution")

    parts = wire.last.url.raw_path.decode().split("/")
    assert len(parts) == 5
    assert unquote(parts[3]) == segment


@pytest.mark.parametrize("segment", ["...", "../..", "a/b", "a?b=c", "a#b", "a%2Fb", "ö ü"])
async def test_a_segment_cannot_leave_or_end_the_path(segment: str):
    wire = Wire()
    await session(wire).send("GET", segment, params={"x": "y"})

    assert wire.last.url.raw_path.startswith(b"/v1/")
    assert wire.last.url.raw_path.count(b"/") == 2
    assert wire.last.url.query == b"x=y"


@pytest.mark.parametrize("segment", ["", ".", ".."])
async def test_a_segment_that_would_change_the_path_is_refused(segment: str):
    with pytest.raises(ValueError, match="a path segment must not be"):
        await session(Wire()).send("GET", "conversions", segment)


async def test_the_cache_of_urls_is_limited():
    talk = session(Wire())
    for number in range(200):
        await talk.send("GET", str(number))

    assert len(talk._urls) <= 64


async def test_timeouts_go_with_each_request():
    wire = Wire()
    await session(wire).send("GET", "a")

    assert wire.last.extensions["timeout"] == dict.fromkeys(
        ("connect", "read", "write", "pool"), QUICK.timeout
    )


# Authorization


async def test_authorize_replaces_the_token():
    wire = Wire()
    talk = session(wire)
    talk.authorize("new-token")
    await talk.send("GET", "a")

    assert wire.last.headers.get_list("authorization") == ["Bearer new-token"]
    assert wire.last.headers["x-account-id"] == "acc"


@pytest.mark.parametrize("token", ["", " ", "a\r\nX: y", "é", " a", "a\n"])
async def test_a_token_that_no_header_can_carry_is_refused(token: str):
    with pytest.raises(ConfigurationError):
        session(Wire()).authorize(token)


async def test_requests_to_anytrack_carry_key_and_account():
    wire = Wire()
    settings = AnyTrackSettings(api_key="key", account_id="acc-1", base_url=BASE)
    await anytrack_session(settings, transport=wire).send("GET", "a")

    assert wire.last.headers["authorization"] == "Bearer key"
    assert wire.last.headers["x-account-id"] == "acc-1"


@pytest.mark.parametrize("account", ["é", "a\r\nb"])
async def test_an_account_that_no_header_can_carry_is_refused(account: str):
    with pytest.raises(ConfigurationError, match="account_id"):
        anytrack_session(AnyTrackSettings(api_key="key", account_id=account))


async def test_an_invalid_base_url_is_refused():
    with pytest.raises(ConfigurationError, match="base_url is not a URL"):
        session(base="https://api.test:port")


# Opening and closing


@pytest.mark.parametrize("used", [True, False])
async def test_closing_closes_the_injected_transport(used: bool):
    wire = Wire()
    talk = session(wire)
    if used:
        await talk.send("GET", "a")
    await talk.aclose()

    assert wire.closed == 1


async def test_a_transport_may_serve_several_sessions():
    wire = Wire()
    for _ in range(3):
        talk = session(wire)
        await talk.send("GET", "a")
        await talk.aclose()

    assert len(wire.requests) == wire.closed == 3


async def test_a_request_that_waits_for_opening_raises_once_the_session_is_closed(
    monkeypatch: pytest.MonkeyPatch,
):
    gate, wires = anyio.Event(), []

    async def opening(url: str, http: HttpSettings, total: float | None) -> HttpxEngine:
        await gate.wait()
        wires.append(Wire())
        return HttpxEngine(wires[-1], http, total_timeout=total)

    monkeypatch.setattr("anytrack_async.transport.pool.open_engine", opening)
    talk = session()
    refused: list[ClosedError] = []

    async def late() -> None:
        with pytest.raises(ClosedError) as caught:
            await talk.send("GET", "b")
        refused.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.send, "GET", "a")
        await anyio.wait_all_tasks_blocked()
        talk.closed = True
        tasks.start_soon(talk.aclose)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(late)
        await anyio.wait_all_tasks_blocked()
        gate.set()

    assert len(refused) == len(wires) == wires[0].closed == 1


async def test_a_read_that_waits_for_its_retry_raises_once_the_session_is_closed(
    monkeypatch: pytest.MonkeyPatch,
):
    waiting, go_on = anyio.Event(), anyio.Event()

    async def wait(_: float) -> None:
        waiting.set()
        await go_on.wait()

    monkeypatch.setattr("anytrack_async.transport.retry.anyio.sleep", wait)
    wire = responding(httpx.Response(503), httpx.Response(200, json={}))
    talk = session(wire)
    refused: list[ClosedError] = []

    async def read() -> None:
        with pytest.raises(ClosedError) as caught:
            await talk.get("a")
        refused.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await waiting.wait()
        talk.closed = True
        await talk.aclose()
        go_on.set()

    assert len(refused) == len(wire.requests) == wire.closed == 1


async def test_an_unused_session_can_be_closed():
    talk = session()
    await talk.aclose()
    await talk.aclose()


async def test_nothing_is_opened_before_the_first_request(monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []

    async def opening(url: str, http: HttpSettings, total: float | None) -> HttpxEngine:
        opened.append(url)
        return HttpxEngine(Wire(), http, total_timeout=total)

    monkeypatch.setattr("anytrack_async.transport.pool.open_engine", opening)
    talk = session()
    before = list(opened)
    await talk.send("GET", "a")
    await talk.send("GET", "a")

    assert before == []
    assert opened == [BASE]


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
async def test_respx_sees_the_requests(using: str):
    with respx.mock(using=using) as router:
        route = router.post(f"{BASE}/conversions").respond(201, json={"status": "success"})
        talk = session()
        response = await talk.send("POST", "conversions", content=b"{}")
        await talk.aclose()

    assert response.json() == {"status": "success"}
    assert route.calls.last.request.content == b"{}"


async def test_respx_can_break_the_connection():
    with respx.mock as router:
        router.get(f"{BASE}/a").mock(side_effect=httpx.ConnectTimeout)
        talk = session()
        with pytest.raises(TransportError):
            await talk.get("a")
        await talk.aclose()
