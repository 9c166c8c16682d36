from __future__ import annotations

import sys
from math import inf
from typing import Literal

import anyio
import httpx
import pytest

from anytrack_async.errors import ConfigurationError, TransportError
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.engines.aiohttp import AiohttpEngine
from anytrack_async.transport.engines.choose import check_engine, open_engine, proxy_for
from anytrack_async.transport.engines.httpx import HttpxEngine
from anytrack_async.transport.engines.patched import Patchable
from anytrack_async.transport.engines.pool import Pool
from anytrack_async.transport.message import Engine
from anytrack_async.transport.session import Session
from tests.transport.server import Wire, ok, serving

pytestmark = pytest.mark.asyncio

BASE = "https://api.test/v1"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
AIOHTTP = HttpSettings(engine="aiohttp")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.fixture
def without_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, AiohttpEngine.__module__)


async def opened(http: HttpSettings, url: str = BASE) -> Engine:
    engine = await open_engine(url, http, None)
    await engine.aclose()
    return engine


# The choice


@pytest.mark.parametrize(("http", "kind"), [(HttpSettings(), Pool), (AIOHTTP, AiohttpEngine)])
async def test_the_settings_choose_the_engine(http: HttpSettings, kind: type[Engine]):
    engine = await opened(http)

    assert isinstance(engine, Patchable)
    assert type(engine.inner) is kind


@pytest.mark.usefixtures("without_aiohttp")
async def test_without_the_extra_the_error_names_it():
    with pytest.raises(ConfigurationError, match=r"pip install 'anytrack_async\[speed\]'"):
        Session("anytrack", BASE, headers={}, http=AIOHTTP)
    check_engine(HttpSettings())


@pytest.mark.usefixtures("without_aiohttp")
async def test_aiohttp_is_not_needed_where_a_transport_is_given():
    wire = httpx.MockTransport(lambda _: httpx.Response(204))

    session = Session("anytrack", BASE, headers={}, http=AIOHTTP, transport=wire)
    assert (await session.send("GET", "a")).status == 204


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_time_out_may_be_none_at_all(engine: Literal["plain", "aiohttp"]):
    async with serving(ok) as server:
        talk = Session(
            "anytrack", server.url, headers={}, http=HttpSettings(timeout=inf, engine=engine)
        )
        assert (await talk.send("GET", "a")).status == 200
        await talk.aclose()


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
    for http in (HttpSettings(), AIOHTTP):
        assert type(await opened(http)) is HttpxEngine


@pytest.mark.parametrize("value", ["ftp://user:secret@proxy.test", "http://proxy.test:port"])
async def test_a_proxy_that_cannot_be_used_is_a_wrong_setting(
    environment: pytest.MonkeyPatch, value: str
):
    environment.setenv("HTTPS_PROXY", value)

    with pytest.raises(ConfigurationError, match="the proxy cannot be used") as caught:
        await open_engine(BASE, HttpSettings(), None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "https://api.test"])
async def test_some_hosts_need_no_proxy(environment: pytest.MonkeyPatch, url: str):
    environment.setenv("ALL_PROXY", "http://proxy.test:3128")
    environment.setenv("HTTP_PROXY", "http://proxy.test:3128")
    environment.setenv("NO_PROXY", "api.test")

    assert proxy_for(httpx.URL(url)) is None


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_proxy_gets_the_requests(
    environment: pytest.MonkeyPatch, engine: Literal["plain", "aiohttp"]
):
    async def tunnel(wire: Wire, head: bytes, body: bytes) -> bool:
        await wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        return True

    async with serving(tunnel) as server:
        environment.setenv("HTTPS_PROXY", server.url)
        http = HttpSettings(timeout=5, engine=engine)
        session = Session("anytrack", BASE, headers={}, http=http)
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
