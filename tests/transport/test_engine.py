from __future__ import annotations

import sys

import anyio
import httpx
import pytest
import respx

from anytrack_async.errors import ConfigurationError, TransportError
from anytrack_async.settings import HttpSettings, Retry
from anytrack_async.transport import Session
from anytrack_async.transport.engine import (
    AiohttpTransport,
    PatchableTransport,
    check_engine,
    open_engine,
    proxy_for,
)
from anytrack_async.transport.pool import PoolTransport
from tests.transport.server import Handler, Wire, ok, reply, serving
from tests.transport.test_pool import close, cut, cut_head, garbage, reset, silence

pytestmark = pytest.mark.asyncio

BASE = "https://api.test/v1"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def aiohttp(url: str, timeout: float = 5.0) -> Session:
    http = HttpSettings(engine="aiohttp", timeout=timeout, retry=Retry(attempts=3, base=0.0001))
    return Session("anytrack", url, headers={"Authorization": "Bearer t"}, http=http)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


# aiohttp


async def test_aiohttp_carries_the_same_requests():
    async def echo(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(body, 201, "X-Request-ID: r1"))

    async with serving(echo) as server:
        session = aiohttp(server.url)
        for _ in range(3):
            answer = await session.send(
                "POST", "a/b", "ö%", params={"q": "ü&+"}, content=b'{"x":1}', headers={"K": "v"}
            )
        await session.aclose()

    assert (answer.status, answer.content) == (201, b'{"x":1}')
    assert answer.headers["x-request-id"] == "r1"
    head = server.requests[0][1]
    assert head.startswith(b"POST /a%2Fb/%C3%B6%25?q=%C3%BC%26%2B HTTP/1.1\r\n")
    assert b"authorization: bearer t\r\n" in head.lower()
    assert b"k: v\r\n" in head.lower()
    assert server.connections == 1


async def test_aiohttp_reads_and_retries():
    async def handler(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(b"[1]", 503 if len(server.requests) < 3 else 200))

    async with serving(handler) as server:
        session = aiohttp(server.url)
        assert await session.get("a") == [1]
        await session.aclose()


@pytest.mark.parametrize("failure", [reset, close, cut, cut_head, garbage])
async def test_aiohttps_failures_are_ours(failure: Handler):
    async with serving(failure) as server:
        session = aiohttp(server.url)
        with pytest.raises(TransportError, match="the connection broke off"):
            await session.send("POST", "a", content=b"{}")
        await session.aclose()


async def test_aiohttp_waits_no_longer_than_told():
    async with serving(silence) as server:
        session = aiohttp(server.url, timeout=0.1)
        with pytest.raises(TransportError, match=r"no answer within 0\.1 s"):
            await session.send("GET", "a")
        await session.aclose()


async def test_aiohttp_tells_of_a_refused_connection():
    session = aiohttp("http://127.0.0.1:9")
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:9 failed: Cannot connect to host"):
        await session.send("GET", "a")
    await session.aclose()


async def test_an_error_of_our_own_passes_the_aiohttp_engine():
    def fail(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await AiohttpTransport(httpx.MockTransport(fail)).handle_async_request(
            httpx.Request("GET", BASE)
        )


async def test_a_connect_time_out_stays_one():
    def fail(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("late") from TimeoutError()

    with pytest.raises(httpx.ConnectTimeout):
        await AiohttpTransport(httpx.MockTransport(fail)).handle_async_request(
            httpx.Request("GET", BASE)
        )


async def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'anytrack_async\[speed\]'"):
        aiohttp(BASE)
    check_engine(HttpSettings())


async def test_aiohttp_is_not_needed_where_a_transport_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    wire = httpx.MockTransport(lambda _: httpx.Response(204))
    http = HttpSettings(engine="aiohttp")

    session = Session("anytrack", BASE, headers={}, http=http, transport=wire)
    assert (await session.send("GET", "a")).status == 204


async def test_respx_sees_aiohttps_requests():
    with respx.mock(using="httpx") as router:
        router.get(f"{BASE}/a").respond(json=[1])
        session = aiohttp(BASE)
        assert await session.get("a") == [1]
        await session.aclose()


# The choice


async def inner(http: HttpSettings, url: str = BASE) -> httpx.AsyncBaseTransport:
    engine = await open_engine(url, http)
    assert isinstance(engine, PatchableTransport)
    await engine.aclose()
    return engine.inner


async def test_the_settings_choose_the_engine():
    assert type(await inner(HttpSettings())) is PoolTransport
    assert type(await inner(HttpSettings(engine="aiohttp"))) is AiohttpTransport


async def test_without_a_patched_client_the_engine_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(httpx.AsyncClient, "_transport_for_url")
    engine = PatchableTransport(httpx.MockTransport(lambda _: httpx.Response(204)))

    assert (await engine.handle_async_request(httpx.Request("GET", BASE))).status_code == 204


# Proxies


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("value", ["http://proxy.test:3128", "proxy.test:3128"])
async def test_the_environments_proxy_is_used(
    environment: pytest.MonkeyPatch, name: str, value: str
):
    environment.setenv(name, value)

    proxy = proxy_for(httpx.URL(BASE))
    assert proxy is not None
    assert str(proxy.url) == "http://proxy.test:3128"
    assert type(await inner(HttpSettings())) is httpx.AsyncHTTPTransport


@pytest.mark.parametrize("value", ["ftp://user:secret@proxy.test", "http://proxy.test:port"])
async def test_a_proxy_that_cannot_be_used_is_a_wrong_setting(
    environment: pytest.MonkeyPatch, value: str
):
    environment.setenv("HTTPS_PROXY", value)

    with pytest.raises(ConfigurationError, match="the proxy cannot be used") as caught:
        await open_engine(BASE, HttpSettings())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "https://api.test"])
async def test_some_hosts_need_no_proxy(environment: pytest.MonkeyPatch, url: str):
    environment.setenv("ALL_PROXY", "http://proxy.test:3128")
    environment.setenv("HTTP_PROXY", "http://proxy.test:3128")
    environment.setenv("NO_PROXY", "api.test")

    assert proxy_for(httpx.URL(url)) is None


async def test_a_proxy_gets_the_requests(environment: pytest.MonkeyPatch):
    async def tunnel(wire: Wire, head: bytes, body: bytes) -> bool:
        await wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        return True

    async with serving(tunnel) as server:
        environment.setenv("HTTPS_PROXY", server.url)
        session = Session("anytrack", BASE, headers={}, http=HttpSettings(timeout=5))
        with pytest.raises(TransportError, match="ProxyError"):
            await session.send("POST", "conversions", content=b"{}")
        await session.aclose()

    assert server.requests[0][1].startswith(b"CONNECT api.test:443 HTTP/1.1")


async def test_loopback_is_reached_directly():
    async with serving(ok) as server:
        session = Session("anytrack", server.url, headers={}, http=HttpSettings(timeout=5))
        with anyio.fail_after(5):
            assert (await session.send("GET", "a")).status == 200
        await session.aclose()
