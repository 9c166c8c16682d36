"""`Pool`: how it keeps and closes connections; and which engine a session gets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Literal

import anyio
import httpx
import pytest
from anyio.abc import ByteStream

from anytrack_async.errors import TransportError
from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.transport import connection
from anytrack_async.transport.connection import Connection, connect
from anytrack_async.transport.session import Session
from tests.transport.conftest import Names
from tests.transport.raw_server import (
    Handler,
    RawServer,
    ServerConnection,
    cut_body,
    drip,
    respond,
    response_bytes,
    serving,
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
