from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from math import inf
from types import SimpleNamespace
from typing import Literal

import anyio
import httpx
import pytest

from anytrack_async.errors import ConfigurationError, TransportError
from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.transport.aiohttp import AiohttpEngine
from anytrack_async.transport.connection import Connection, connect
from anytrack_async.transport.httpx import HttpxEngine, PatchAwareEngine
from anytrack_async.transport.message import Engine, Request
from anytrack_async.transport.pool import Pool, open_engine, proxy_for, require_engine
from anytrack_async.transport.session import Session
from tests.transport.server import Handler, Server, Wire, ok, reply, serving

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def talking(
    handler: Handler = ok, *, timeout: float = 5.0, connections: int = 32
) -> AsyncIterator[tuple[Session, Server]]:
    http = HttpSettings(
        timeout=timeout, connections=connections, retry=Retry(attempts=3, base=0.0001)
    )
    async with serving(handler) as server:
        session = Session("anytrack", server.url, headers={}, http=http)
        try:
            yield session, server
        finally:
            await session.aclose()
            await server.all_closed()


async def together(session: Session, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(session.send, "GET", "a")


async def lost_or_not(session: Session) -> None:
    with suppress(TransportError):
        await session.send("GET", "a")


# Connections


async def test_one_connection_serves_one_request_after_the_other():
    async with talking() as (session, server):
        for _ in range(10):
            await session.send("POST", "conversions", content=b"{}")

        assert server.connections == 1
        assert len(server.requests) == 10


async def test_there_are_as_many_connections_as_requests_at_once():
    gate = anyio.Event()

    async def wait(wire: Wire, head: bytes, body: bytes) -> None:
        if len(server.requests) == 5:
            gate.set()
        await gate.wait()
        await wire.send(reply())

    async with talking(wait, connections=5) as (session, server):
        await together(session, 5)
        gate = anyio.Event()
        gate.set()
        await together(session, 20)

        assert server.connections == 5


async def test_the_connection_used_last_is_taken_first():
    async with talking() as (session, server):
        await together(session, 4)
        count = server.connections
        before = len(server.requests)
        for _ in range(5):
            await session.send("GET", "a")

        assert server.connections == count
        assert len({number for number, _, _ in server.requests[before:]}) == 1


async def test_a_request_looks_at_one_connection_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
):
    looks: list[object] = []

    def spy(connection: Connection) -> bool:
        looks.append(connection)
        return False

    gate = anyio.Event()

    async def wait(wire: Wire, head: bytes, body: bytes) -> None:
        if len(server.requests) == 40:
            gate.set()
        await gate.wait()
        await wire.send(reply())

    async with talking(wait, connections=40) as (session, server):
        await together(session, 40)
        monkeypatch.setattr(Connection, "stale", property(spy))
        await session.send("GET", "a")

        assert server.connections == 40
        assert len(looks) == 1


async def test_a_connection_that_the_server_closed_is_replaced():
    async def close_after_one(wire: Wire, head: bytes, body: bytes) -> bool:
        await wire.send(reply())
        return True

    async with talking(close_after_one) as (session, server):
        for _ in range(3):
            await session.send("GET", "a")
            await server.all_closed()

        assert server.connections == 3


async def test_connection_close_is_obeyed():
    async def last(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(b"{}", 200, "Connection: close"))

    async with talking(last) as (session, server):
        for _ in range(3):
            await session.send("GET", "a")

        assert server.connections == 3


async def test_connections_that_idle_too_long_are_closed():
    async with serving() as server:
        pool = Pool(server.url, HttpSettings(), httpx.create_ssl_context(), keepalive=0.02)
        request = Request("anytrack", "GET", server.url, {})

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(pool.exchange, request)
        count = server.open
        await anyio.sleep(0.03)
        for _ in range(count):
            await pool.exchange(request)
        with anyio.fail_after(5):
            while server.open > 1:
                await server.ended.wait()
        await pool.aclose()
        await server.all_closed()


async def test_after_a_long_rest_no_old_connection_is_used(monkeypatch: pytest.MonkeyPatch):
    """A router on the way may have forgotten them all without a word."""
    gate = anyio.Event()

    async def wait(wire: Wire, head: bytes, body: bytes) -> None:
        if len(server.requests) == 3:
            gate.set()
        await gate.wait()
        await wire.send(reply())

    async with talking(wait) as (session, server):
        await together(session, 3)
        rested = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)
        monkeypatch.setattr("anytrack_async.transport.pool.time", rested)
        await session.send("GET", "a")

        assert [number for number, _, _ in server.requests] == [1, 2, 3, 4]
        with anyio.fail_after(5):
            while server.open > 1:
                await server.ended.wait()


async def test_what_others_left_unused_is_closed_one_by_one(monkeypatch: pytest.MonkeyPatch):
    gate = anyio.Event()

    async def wait(wire: Wire, head: bytes, body: bytes) -> None:
        if len(server.requests) == 3:
            gate.set()
        await gate.wait()
        await wire.send(reply())

    async with talking(wait) as (session, server):
        await together(session, 3)
        clock = SimpleNamespace(now=time.monotonic(), monotonic=lambda: clock.now)
        monkeypatch.setattr("anytrack_async.transport.pool.time", clock)
        for _ in range(3):  # of which the last finds the two others out of use for 16 s
            clock.now += 8
            await session.send("GET", "a")
        with anyio.fail_after(5):
            while server.open > 1:
                await server.ended.wait()
            await session.send("GET", "a")

        assert server.connections == 3


async def test_closing_closes_all_even_if_it_is_cancelled():
    gate = anyio.Event()

    async def wait(wire: Wire, head: bytes, body: bytes) -> None:
        if len(server.requests) == 4:
            gate.set()
        await gate.wait()
        await wire.send(reply())

    async with talking(wait) as (session, server):
        await together(session, 4)
        closing = asyncio.create_task(session.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await server.all_closed()
        await asyncio.wait([closing])


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_closing_also_closes_what_is_just_being_opened(engine: Literal["plain", "aiohttp"]):
    async with serving() as server:
        session = Session(
            "anytrack", server.url, headers={}, http=HttpSettings(timeout=5, engine=engine)
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lost_or_not, session)
            tasks.start_soon(lost_or_not, session)
            await asyncio.sleep(0)
            await session.aclose()
        await server.all_closed()


async def test_a_connection_in_use_is_closed_when_done_after_closing():
    arrived, gate = anyio.Event(), anyio.Event()

    async def wait(wire: Wire, head: bytes, body: bytes) -> None:
        arrived.set()
        await gate.wait()
        await wire.send(reply())

    async with talking(wait) as (session, server), anyio.create_task_group() as tasks:
        tasks.start_soon(session.send, "GET", "a")
        await arrived.wait()
        await session.aclose()
        gate.set()
        await server.all_closed()


async def test_a_session_may_be_used_again_after_closing():
    async with talking() as (session, server):
        await session.send("GET", "a")
        await session.aclose()
        await session.send("GET", "a")

        assert server.connections == 2


# Bodies


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 3_000_000])
async def test_bodies_of_any_size_arrive_whole(size: int):
    async def echo(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(body))

    async with talking(echo) as (session, _):
        response = await session.send("POST", "a", content=b"x" * size)

    assert response.content == b"x" * size


async def test_chunked_answers_and_informational_ones_are_understood():
    async def chunked(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"3\r\n[1,\r\n", b"2\r\n2]\r\n", b"0\r\n\r\n"):
            await wire.send(part)

    async with talking(chunked) as (session, server):
        assert await session.get("a") == [1, 2]
        assert await session.get("a") == [1, 2]
        assert server.connections == 1


async def test_an_answer_to_half_a_request_counts():
    """A server may refuse a large body before it has it all, and close."""

    async def refuse(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(reply(b'{"message": "too large"}', 413, "Connection: close"))
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


async def reset(wire: Wire, head: bytes, body: bytes) -> bool:
    await wire.hang_up()
    return True


async def close(wire: Wire, head: bytes, body: bytes) -> bool:
    return True


async def cut(wire: Wire, head: bytes, body: bytes) -> bool:
    await wire.send(reply(b"x" * 100)[:-50])
    return True


async def cut_head(wire: Wire, head: bytes, body: bytes) -> bool:
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-")
    return True


async def garbage(wire: Wire, head: bytes, body: bytes) -> bool:
    await wire.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    return True


@pytest.mark.parametrize("failure", [reset, close, cut, cut_head, garbage])
async def test_a_broken_answer_is_a_transport_error_and_ends_its_connection(failure: Handler):
    broken = True

    async def handler(wire: Wire, head: bytes, body: bytes) -> bool | None:
        return await (failure if broken else ok)(wire, head, body)

    async with talking(handler, connections=1) as (session, server):
        for _ in range(3):
            with pytest.raises(TransportError, match="the connection broke off"):
                await session.send("POST", "a", content=b"{}")
        broken = False

        assert (await session.send("POST", "a", content=b"{}")).status == 200
        assert server.connections == 4


async def test_a_read_survives_broken_answers():
    async def handler(wire: Wire, head: bytes, body: bytes) -> bool | None:
        return await (cut if len(server.requests) < 3 else ok)(wire, head, body)

    async with talking(handler) as (session, server):
        assert await session.get("a") == {}
        assert len(server.requests) == 3


async def test_a_refused_connection_says_so():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        session = Session(
            "anytrack", f"http://127.0.0.1:{port}", headers={}, http=HttpSettings(timeout=5)
        )
        with pytest.raises(
            TransportError, match=rf"connection to 127\.0\.0\.1:{port} failed: .*[Cc]onnect"
        ):
            await session.send("GET", "a")
        await session.aclose()


async def test_a_host_without_address_says_so(monkeypatch: pytest.MonkeyPatch):
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(anyio, "connect_tcp", unknown)
    session = Session("anytrack", "http://localhost:9", headers={}, http=HttpSettings(timeout=5))
    with pytest.raises(TransportError, match="Name or service not known"):
        await session.send("GET", "a")
    await session.aclose()


async def test_the_reason_of_the_first_address_is_told(monkeypatch: pytest.MonkeyPatch):
    async def refused(*_: object, **__: object) -> None:
        causes = [OSError("no route to host"), OSError("refused")]
        raise OSError("All connection attempts failed") from ExceptionGroup("all", causes)

    monkeypatch.setattr(anyio, "connect_tcp", refused)
    with pytest.raises(httpx.ConnectError, match="no route to host"):
        await connect(httpx.URL("http://localhost:9"), httpx.create_ssl_context(), timeout=1)


async def test_a_connection_that_hangs_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(anyio, "connect_tcp", lambda *_, **__: anyio.sleep_forever())
    session = Session("anytrack", "http://localhost:9", headers={}, http=HttpSettings(timeout=0.02))
    with pytest.raises(TransportError, match=r"no connection to \S+ within 0\.02 s"):
        await session.send("GET", "a")
    await session.aclose()


async def silence(wire: Wire, head: bytes, body: bytes) -> None:
    await wire.stream.receive()  # until the client hangs up


async def test_a_silent_server_ends():
    async with talking(silence, timeout=0.1) as (session, _):
        with pytest.raises(TransportError, match=r"no response within 0\.1 s"):
            await session.send("GET", "a")


async def test_a_server_that_does_not_read_ends():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        session = Session("anytrack", url, headers={}, http=HttpSettings(timeout=0.2))
        with pytest.raises(TransportError, match=r"no response within 0\.2 s") as caught:
            await session.send("POST", "a", content=b"x" * 30_000_000)
        await session.aclose()

    assert isinstance(caught.value.__cause__, httpx.WriteTimeout)


async def test_a_dripping_server_ends_and_frees_its_slot():
    async def drip(wire: Wire, head: bytes, body: bytes) -> None:
        if len(server.requests) > 1:
            await wire.send(reply())
            return
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await wire.send(b".")
            await anyio.sleep(0.005)

    async with talking(drip, timeout=0.1, connections=1) as (session, server):
        with pytest.raises(TransportError, match=r"no complete response within 0\.4 s"):
            await session.send("GET", "a")

        assert (await session.send("GET", "a")).status == 200


# Cancellation


async def test_a_cancelled_request_closes_its_connection_and_frees_its_slot():
    quiet = True
    arrived = anyio.Event()

    async def handler(wire: Wire, head: bytes, body: bytes) -> None:
        if server.open == 2:
            arrived.set()
        await (silence if quiet else ok)(wire, head, body)

    async with talking(handler, connections=2) as (session, server):
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.send, "GET", "a")
                tasks.start_soon(session.send, "GET", "a")
                await arrived.wait()
                tasks.cancel_scope.cancel()
            await server.all_closed()
            arrived = anyio.Event()
        quiet = False

        assert (await session.send("GET", "a")).status == 200


async def test_cancelling_at_any_moment_leaves_the_session_usable():
    async with talking(connections=4) as (session, server):
        for step in range(60):
            with anyio.move_on_after(step / 20_000):
                await together(session, 8)
        with anyio.fail_after(5):
            await together(session, 8)
        for _ in range(5):
            assert (await session.send("GET", "a")).status == 200

        assert server.open <= 4


async def test_a_task_that_its_framework_cancels_leaves_the_session_usable():
    """Web frameworks cancel tasks the way of asyncio, without a scope."""
    async with talking(connections=4) as (session, server):
        for step in range(40):
            tasks = [asyncio.create_task(session.send("GET", "a")) for _ in range(8)]
            await asyncio.sleep(step / 10_000)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with anyio.fail_after(5):
            await together(session, 8)

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
async def test_the_settings_choose_the_engine(http: HttpSettings, kind: type[Engine]):
    engine = await opened(http)

    assert isinstance(engine, PatchAwareEngine)
    assert type(engine.inner) is kind


@pytest.mark.usefixtures("without_aiohttp")
async def test_without_the_extra_the_error_names_it():
    with pytest.raises(ConfigurationError, match=r"pip install 'anytrack_async\[speed\]'"):
        Session("anytrack", BASE, headers={}, http=AIOHTTP)
    require_engine(HttpSettings())


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


@pytest.mark.parametrize(
    "value", ["ftp://proxy.test", "http://proxy.test:port", "socks5://proxy.test"]
)
async def test_a_proxy_that_cannot_be_used_is_a_configuration_error(
    environment: pytest.MonkeyPatch, value: str
):
    environment.setitem(sys.modules, "socksio", None)
    environment.setenv("HTTPS_PROXY", value)

    with pytest.raises(ConfigurationError, match="the proxy cannot be used"):
        await open_engine(BASE, HttpSettings(), None)


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
        with pytest.raises(TransportError, match=r"the proxy refused to connect to api\.test"):
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


async def quote(wire: Wire, head: bytes, body: bytes) -> bool:
    """Refuse a tunnel, and quote the credentials in the refusal."""
    reason = " ".join(SECRETS).encode()
    await wire.send(b"HTTP/1.1 407 " + reason + b"\r\nContent-Length: 0\r\n\r\n")
    return True


@asynccontextmanager
async def proxy(failure: Handler | str) -> AsyncIterator[str]:
    """The URL of a failing proxy."""
    if isinstance(failure, str):
        yield failure.format(PASSWORD)
        return
    async with serving(failure) as server:
        yield f"http://user:{PASSWORD}@127.0.0.1:{server.port}"


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


async def test_loopback_is_reached_directly():
    async with serving(ok) as server:
        session = Session("anytrack", server.url, headers={}, http=HttpSettings(timeout=5))
        with anyio.fail_after(5):
            assert (await session.send("GET", "a")).status == 200
        await session.aclose()
