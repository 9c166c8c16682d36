"""Which engine a session gets, and which proxy it uses."""

from __future__ import annotations

import logging
import sys
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import inf
from typing import Literal

import anyio
import httpx
import pytest

from anytrack_async.errors import ConfigurationError, TransportError
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.aiohttp import AiohttpEngine
from anytrack_async.transport.httpx import HttpxEngine, PatchAwareEngine
from anytrack_async.transport.message import Engine
from anytrack_async.transport.pool import Pool, open_engine, proxy_for, require_engine
from anytrack_async.transport.session import Session
from tests.transport.raw_server import (
    Handler,
    ServerConnection,
    close,
    garbage,
    serving,
    silence,
)

pytestmark = pytest.mark.asyncio


# The choice of an engine

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


@pytest.mark.parametrize(("http", "kind"), [(HttpSettings(), Pool), (AIOHTTP, AiohttpEngine)])
async def test_the_settings_pick_the_engine(http: HttpSettings, kind: type[Engine]):
    engine = await opened(http)

    assert isinstance(engine, PatchAwareEngine)
    assert type(engine.inner) is kind


@pytest.mark.usefixtures("without_aiohttp")
async def test_without_the_extra_the_error_names_it():
    with pytest.raises(ConfigurationError, match=r"pip install 'anytrack_async\[speed\]'"):
        Session("anytrack", BASE, headers={}, http=AIOHTTP)
    require_engine(HttpSettings())


@pytest.mark.usefixtures("without_aiohttp")
async def test_aiohttp_is_not_needed_with_an_injected_transport():
    wire = httpx.MockTransport(lambda _: httpx.Response(204))

    session = Session("anytrack", BASE, headers={}, http=AIOHTTP, transport=wire)
    assert (await session.send("GET", "a")).status == 204


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_the_timeout_may_be_infinite(engine: Literal["plain", "aiohttp"]):
    async with serving() as server:
        session = Session(
            "anytrack", server.url, headers={}, http=HttpSettings(timeout=inf, engine=engine)
        )
        assert (await session.send("GET", "a")).status == 200
        await session.aclose()


# Proxies


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("value", ["http://proxy.test:3128", "proxy.test:3128"])
async def test_the_proxy_that_the_environment_names_is_used(
    environment: pytest.MonkeyPatch, name: str, value: str
):
    environment.setenv(name, value)

    proxy = proxy_for(httpx.URL(BASE))
    assert proxy is not None
    assert str(proxy.url) == "http://proxy.test:3128"
    for http in (HttpSettings(), AIOHTTP):
        assert type(await opened(http)) is HttpxEngine


@pytest.mark.parametrize(
    "value", ["ftp://proxy.test", "http://proxy.test:port", "socks5://proxy.test"]
)
async def test_a_proxy_that_cannot_be_used_is_a_configuration_error(
    environment: pytest.MonkeyPatch, value: str
):
    environment.setitem(sys.modules, "socksio", None)
    environment.setenv("HTTPS_PROXY", value)

    socks = r".*pip install 'httpx\[socks\]'" if value.startswith("socks") else ""
    with pytest.raises(ConfigurationError, match=f"the proxy cannot be used{socks}"):
        await open_engine(BASE, HttpSettings(), None)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "https://api.test"])
async def test_loopback_and_no_proxy_hosts_need_no_proxy(environment: pytest.MonkeyPatch, url: str):
    environment.setenv("ALL_PROXY", "http://proxy.test:3128")
    environment.setenv("HTTP_PROXY", "http://proxy.test:3128")
    environment.setenv("NO_PROXY", "api.test")

    assert proxy_for(httpx.URL(url)) is None


async def test_a_host_without_proxy_may_be_named_with_its_port(environment: pytest.MonkeyPatch):
    environment.setenv("ALL_PROXY", " http://proxy.test:3128\n")
    environment.setenv("NO_PROXY", "api.test:443")

    assert proxy_for(httpx.URL("https://api.test")) is None
    proxy = proxy_for(httpx.URL("https://api.test:8443"))
    assert proxy is not None
    assert str(proxy.url) == "http://proxy.test:3128"


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_requests_go_to_the_proxy(
    environment: pytest.MonkeyPatch, engine: Literal["plain", "aiohttp"]
):
    async def tunnel(connection: ServerConnection, head: bytes, body: bytes) -> bool:
        await connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        return True

    async with serving(tunnel) as server:
        environment.setenv("HTTPS_PROXY", server.url)
        http = HttpSettings(timeout=5, engine=engine)
        session = Session("anytrack", BASE, headers={}, http=http)
        with pytest.raises(
            TransportError, match=r"the proxy refused to connect to api\.test \(status 403\)"
        ):
            await session.send("POST", "conversions", content=b"{}")
        await session.aclose()

    assert server.requests[0][1].startswith(b"CONNECT api.test:443 HTTP/1.1")


PASSWORD = "hunter2-hunter2"
SECRETS = (PASSWORD, b64encode(f"user:{PASSWORD}".encode()).decode())


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, and every error that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def quote(connection: ServerConnection, head: bytes, body: bytes) -> bool:
    """Refuse a tunnel, and quote the credentials in the refusal."""
    reason = " ".join(SECRETS).encode()
    await connection.send(b"HTTP/1.1 407 " + reason + b"\r\nContent-Length: 0\r\n\r\n")
    return True


@asynccontextmanager
async def proxy(failure: Handler | str) -> AsyncIterator[str]:
    """The URL of a failing proxy."""
    if isinstance(failure, str):
        yield failure.format(PASSWORD)
        return
    async with serving(failure) as server:
        yield server.url.replace("//", f"//user:{PASSWORD}@")


@pytest.mark.parametrize(
    "failure",
    [
        "ftp://user:{}@proxy.test",
        "http://user:{}/x@proxy.test",  # a slash that is not encoded: the port is "hunter2…"
        "http://user:{}@proxy.test:port",
        "socks5://user:{}@proxy.test",
        "http://user:{}@127.0.0.1:9",
        quote,
        close,
        garbage,
        silence,
    ],
)
async def test_no_error_or_log_shows_the_password_of_a_proxy(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: Handler | str
):
    environment.setitem(sys.modules, "socksio", None)
    caplog.set_level(logging.DEBUG)
    if failure is quote:  # httpcore logs every response at level DEBUG
        caplog.set_level(logging.INFO, "httpcore")
    async with proxy(failure) as url:
        environment.setenv("HTTPS_PROXY", url)
        session = Session("anytrack", BASE, headers={}, http=HttpSettings(timeout=0.2))
        with pytest.raises((ConfigurationError, TransportError)) as caught:
            await session.send("POST", "conversions", content=b"{}")
        await session.aclose()

    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    shown += "".join(f"{error} {error!r} {error.args}" for error in chain(caught.value))
    assert not any(secret in shown for secret in SECRETS)


async def test_loopback_is_reached_without_a_proxy():
    async with serving() as server:
        session = Session("anytrack", server.url, headers={}, http=HttpSettings(timeout=5))
        with anyio.fail_after(5):
            assert (await session.send("GET", "a")).status == 200
        await session.aclose()
