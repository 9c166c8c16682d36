"""`Pool`: how it keeps and closes connections; and which engine a session gets."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from math import inf
from types import SimpleNamespace
from typing import Literal

import anyio
import httpx
import pytest
from anyio.abc import ByteStream

from anytrack_async.errors import ConfigurationError, TransportError
from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.transport import connection
from anytrack_async.transport.aiohttp import AiohttpEngine
from anytrack_async.transport.connection import Connection, connect
from anytrack_async.transport.httpx import HttpxEngine, PatchAwareEngine
from anytrack_async.transport.message import Engine
from anytrack_async.transport.pool import Pool, open_engine, proxy_for, require_engine
from anytrack_async.transport.session import Session
from tests.transport.conftest import Names
from tests.transport.raw_server import (
    Handler,
    RawServer,
    ServerConnection,
    close,
    cut_body,
    drip,
    garbage,
    respond,
    response_bytes,
    serving,
    silence,
)

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def running(
    handler: Handler = respond,
    *,
    engine: Literal["plain", "aiohttp"] = "plain",
    timeout: float = 5.0,
    connections: int = 32,
) -> AsyncIterator[tuple[Session, RawServer]]:
    """Run a server and a session, which must leave no connection open."""
    http = HttpSettings(
        engine=engine,
        timeout=timeout,
        connections=connections,
        retry=Retry(attempts=3, base=0.0001),
    )
    async with serving(handler) as server:
        session = Session("anytrack", server.url, headers={}, http=http)
        try:
            yield session, server
        finally:
            await session.aclose()
            await server.all_closed()


def wait_for(count: int, server: Callable[[], RawServer]) -> Handler:
    """A handler that responds to *count* requests once they have all arrived."""
    gate = anyio.Event()

    async def wait(connection: ServerConnection, head: bytes, body: bytes) -> None:
        if len(server().requests) >= count:
            gate.set()
        await gate.wait()
        await connection.send(response_bytes())

    return wait


async def send_concurrently(session: Session, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(session.send, "GET", "a")


async def send_or_lose(session: Session) -> None:
    with suppress(TransportError):
        await session.send("GET", "a")


# Connections


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_the_settings_limit_the_connections(engine: Literal["plain", "aiohttp"]):
    wait = wait_for(5, lambda: server)
    async with running(wait, engine=engine, connections=5) as (session, server):
        await send_concurrently(session, 5)
        await send_concurrently(session, 20)

        assert server.connections == 5


async def test_the_connection_used_latest_is_used_next():
    async with running() as (session, server):
        await send_concurrently(session, 4)
        count = server.connections
        before = len(server.requests)
        for _ in range(5):
            await session.send("GET", "a")

        assert server.connections == count
        assert len({number for number, _, _ in server.requests[before:]}) == 1


async def test_a_request_checks_one_connection_however_many_are_open(
    monkeypatch: pytest.MonkeyPatch,
):
    checked: list[object] = []

    def spy(connection: Connection) -> bool:
        checked.append(connection)
        return False

    wait = wait_for(40, lambda: server)
    async with running(wait, connections=40) as (session, server):
        await send_concurrently(session, 40)
        monkeypatch.setattr(Connection, "stale", property(spy))
        await session.send("GET", "a")

        assert server.connections == 40
        assert len(checked) == 1


async def test_after_a_long_idle_time_no_old_connection_is_used(monkeypatch: pytest.MonkeyPatch):
    """A router may have dropped them all without notice."""
    wait = wait_for(3, lambda: server)
    async with running(wait) as (session, server):
        await send_concurrently(session, 3)
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)
        monkeypatch.setattr("anytrack_async.transport.pool.time", later)
        await session.send("GET", "a")

        assert [number for number, _, _ in server.requests] == [1, 2, 3, 4]
        await server.all_closed(remaining=1)


async def test_expired_connections_are_closed_one_per_request(monkeypatch: pytest.MonkeyPatch):
    wait = wait_for(3, lambda: server)
    async with running(wait) as (session, server):
        await send_concurrently(session, 3)
        clock = SimpleNamespace(now=time.monotonic(), monotonic=lambda: clock.now)
        monkeypatch.setattr("anytrack_async.transport.pool.time", clock)
        for _ in range(3):  # at the last of them the two others have idled for 16 s
            clock.now += 8
            await session.send("GET", "a")
        await server.all_closed(remaining=1)
        await session.send("GET", "a")

        assert server.connections == 3


async def test_a_cancelled_close_still_closes_all_connections():
    wait = wait_for(4, lambda: server)
    async with running(wait) as (session, server):
        await send_concurrently(session, 4)
        closing = asyncio.create_task(session.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await server.all_closed()
        await asyncio.wait([closing])


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_closing_also_closes_a_connection_that_is_being_opened(
    engine: Literal["plain", "aiohttp"],
):
    async with serving() as server:
        session = Session(
            "anytrack", server.url, headers={}, http=HttpSettings(timeout=5, engine=engine)
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_or_lose, session)
            tasks.start_soon(send_or_lose, session)
            await asyncio.sleep(0)
            await session.aclose()
        await server.all_closed()


async def test_a_connection_in_use_at_closing_is_closed_when_its_request_is_done():
    arrived, gate = anyio.Event(), anyio.Event()

    async def wait(connection: ServerConnection, head: bytes, body: bytes) -> None:
        arrived.set()
        await gate.wait()
        await connection.send(response_bytes())

    async with running(wait) as (session, server), anyio.create_task_group() as tasks:
        tasks.start_soon(session.send, "GET", "a")
        await arrived.wait()
        await session.aclose()
        gate.set()
        await server.all_closed()


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_session_may_be_used_again_after_closing(engine: Literal["plain", "aiohttp"]):
    async with running(engine=engine) as (session, server):
        await session.send("GET", "a")
        await session.aclose()
        await session.send("GET", "a")

        assert server.connections == 2


async def test_a_response_to_a_request_that_was_sent_in_part_is_read():
    """A server may refuse a large body before it has read all of it, and close."""

    async def refuse(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(response_bytes(b'{"message": "too large"}', 413, "Connection: close"))
            await stream.send_eof()
            while True:
                try:
                    await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, refuse)
        session = Session(
            "anytrack", f"http://127.0.0.1:{port}", headers={}, http=HttpSettings(timeout=5)
        )
        response = await session.send("POST", "a", content=b"x" * 5_000_000)
        await session.aclose()
        tasks.cancel_scope.cancel()
    await listener.aclose()

    assert response.status == 413


# Failures


async def test_a_read_is_retried_after_broken_responses():
    async def handler(connection: ServerConnection, head: bytes, body: bytes) -> bool | None:
        return await (cut_body if len(server.requests) < 3 else respond)(connection, head, body)

    async with running(handler) as (session, server):
        assert await session.get("a") == {}
        assert len(server.requests) == 3


async def test_a_host_that_cannot_be_resolved_is_a_transport_error(names: Names):
    session = Session("anytrack", "http://a.test:9", headers={}, http=HttpSettings(timeout=5))
    with pytest.raises(TransportError, match="Name or service not known"):
        await session.send("GET", "a")
    await session.aclose()


async def connect_to(host: str) -> ByteStream:
    return await connect(httpx.URL(f"http://{host}:9"), httpx.create_ssl_context(), timeout=5)


async def test_a_connect_error_has_the_reason_of_the_first_address(
    names: Names, monkeypatch: pytest.MonkeyPatch
):
    async def refuse(ip: str, _: int) -> None:
        raise OSError("All connection attempts failed") from OSError(f"no route to {ip}")

    names.ips["a.test"] = ["192.0.2.1", "192.0.2.2"]
    monkeypatch.setattr(anyio, "connect_tcp", refuse)
    with pytest.raises(httpx.ConnectError, match=r"^no route to 192\.0\.2\.1$"):
        await connect_to("a.test")


async def test_addresses_are_tried_by_turns_and_the_slow_ones_go_on(
    names: Names, monkeypatch: pytest.MonkeyPatch
):
    tried = []
    answer = anyio.Event()

    class Stream(SimpleNamespace):
        async def aclose(self) -> None:
            closed.append(self.ip)

    async def connect_tcp(ip: str, _: int) -> Stream:
        tried.append(ip)
        if len(tried) == 5:
            answer.set()
        await (answer.wait() if ip in ("192.0.2.1", "192.0.2.2") else anyio.sleep_forever())
        return Stream(ip=ip)

    closed: list[str] = []
    names.ips["a.test"] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "192.0.2.3"]
    monkeypatch.setattr(connection, "_ATTEMPT_DELAY", 0)
    monkeypatch.setattr(anyio, "connect_tcp", connect_tcp)
    stream = await connect_to("a.test")

    assert tried == ["2001:db8::1", "192.0.2.1", "192.0.2.2", "2001:db8::2", "192.0.2.3"]
    assert sorted([stream.ip, *closed]) == ["192.0.2.1", "192.0.2.2"]


async def test_connecting_times_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(anyio, "connect_tcp", lambda *_, **__: anyio.sleep_forever())
    session = Session("anytrack", "http://localhost:9", headers={}, http=HttpSettings(timeout=0.02))
    with pytest.raises(TransportError, match=r"no connection to \S+ within 0\.02 s"):
        await session.send("GET", "a")
    await session.aclose()


async def test_a_server_that_reads_nothing_is_a_write_timeout():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        session = Session("anytrack", url, headers={}, http=HttpSettings(timeout=0.2))
        with pytest.raises(TransportError, match=r"no response within 0\.2 s") as caught:
            await session.send("POST", "a", content=b"x" * 30_000_000)
        await session.aclose()

    assert isinstance(caught.value.__cause__, httpx.WriteTimeout)


async def test_a_response_that_takes_too_long_in_total_frees_its_slot():
    async def drip_once(connection: ServerConnection, head: bytes, body: bytes) -> None:
        await (drip if len(server.requests) == 1 else respond)(connection, head, body)

    async with running(drip_once, timeout=0.1, connections=1) as (session, server):
        with pytest.raises(TransportError, match=r"no complete response within 0\.4 s"):
            await session.send("GET", "a")

        assert (await session.send("GET", "a")).status == 200


# Cancellation


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_session_is_usable_after_a_cancellation_at_any_moment(
    engine: Literal["plain", "aiohttp"],
):
    async with running(engine=engine, connections=4) as (session, server):
        for step in range(60):
            with anyio.move_on_after(step / 20_000):
                await send_concurrently(session, 8)
        with anyio.fail_after(5):
            await send_concurrently(session, 8)
        for _ in range(5):
            assert (await session.send("GET", "a")).status == 200

        assert server.open <= 4


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
