"""The aiohttp engine does what the plain one does, to the word."""

from __future__ import annotations

import asyncio
import gzip
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import anyio
import anyio.lowlevel
import pytest
import respx

from anytrack_async.errors import TransportError
from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.transport.session import Session
from tests.transport.server import Handler, Server, Wire, ok, reply, serving
from tests.transport.test_pool import (
    close,
    cut,
    cut_head,
    garbage,
    reset,
    silence,
    together,
)

pytestmark = pytest.mark.asyncio

BASE = "https://api.test/v1"


def session(url: str, timeout: float = 5.0, connections: int = 32) -> Session:
    http = HttpSettings(
        engine="aiohttp",
        timeout=timeout,
        connections=connections,
        retry=Retry(attempts=3, base=0.0001),
    )
    return Session("anytrack", url, headers={"Authorization": "Bearer t"}, http=http)


@asynccontextmanager
async def talking(
    handler: Handler = ok, *, timeout: float = 5.0, connections: int = 32
) -> AsyncIterator[tuple[Session, Server]]:
    async with serving(handler) as server:
        talk = session(server.url, timeout, connections)
        try:
            yield talk, server
        finally:
            await talk.aclose()
            await server.all_closed()


# Requests


async def test_the_same_requests_leave_as_from_the_plain_engine():
    async def echo(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(body, 201, "X-Request-ID: r1"))

    heads: list[list[bytes]] = []
    for engine in ("plain", "aiohttp"):
        async with serving(echo) as server:
            http = HttpSettings(engine=engine, timeout=5)
            talk = Session("anytrack", server.url, headers={"Authorization": "Bearer t"}, http=http)
            for _ in range(3):
                response = await talk.send(
                    "POST", "a/b", "ö%", params={"q": "ü&+"}, content=b'{"x":1}', headers={"k": "v"}
                )
            await talk.aclose()
            assert server.connections == 1
        head = server.requests[0][1].replace(str(server.port).encode(), b"PORT")
        heads.append(sorted(head.split(b"\r\n")))
        assert (response.status, response.content) == (201, b'{"x":1}')
        assert response.headers["x-REQUEST-id"] == "r1"

    assert heads[0] == heads[1]
    assert b"POST /a%2Fb/%C3%B6%25?q=%C3%BC%26%2B HTTP/1.1" in heads[0]
    assert b"Authorization: Bearer t" in heads[0]
    assert b"K: v" in heads[0]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_request_without_a_body_says_so(method: str):
    async with talking() as (talk, server):
        await talk.send(method, "a")

    assert (b"Content-Length: 0" in server.requests[0][1]) is (method != "GET")


@pytest.mark.parametrize("size", [0, 1, 1_048_576, 1_048_577, 3_000_000])
async def test_bodies_of_any_size_arrive_whole(size: int):
    async def echo(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(body))

    async with talking(echo) as (talk, server):
        response = await talk.send("POST", "a", content=b"x" * size)

    assert response.content == b"x" * size
    assert f"Content-Length: {size}".encode() in server.requests[0][1].split(b"\r\n")


async def test_a_body_that_comes_late_and_in_chunks_is_put_together():
    async def chunked(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"3\r\n[1,\r\n", b"2\r\n2]\r\n", b"0\r\n\r\n"):
            await anyio.wait_all_tasks_blocked()
            await wire.send(part)

    async with talking(chunked) as (talk, server):
        assert await talk.get("a") == [1, 2]
        assert await talk.get("a") == [1, 2]
        assert server.connections == 1


async def test_reads_are_retried():
    async def handler(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(b"[1]", 503 if len(server.requests) < 3 else 200))

    async with talking(handler) as (talk, server):
        assert await talk.get("a") == [1]


async def test_redirects_are_not_followed_and_cookies_not_kept():
    async def handler(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(b"{}", 307, "Location: /b", "Set-Cookie: a=b"))

    async with talking(handler) as (talk, server):
        for _ in range(2):
            assert (await talk.send("POST", "a", content=b"{}")).status == 307

    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1][1].lower()


async def test_compression_is_not_asked_for_but_understood():
    async def handler(wire: Wire, head: bytes, body: bytes) -> None:
        await wire.send(reply(gzip.compress(b"[1]"), 200, "Content-Encoding: gzip"))

    async with talking(handler) as (talk, server):
        assert await talk.get("a") == [1]

    assert b"Accept-Encoding: identity" in server.requests[0][1]


async def test_respx_sees_the_requests():
    with respx.mock(using="httpx") as router:
        router.get(f"{BASE}/a").respond(json=[1])
        talk = session(BASE)
        assert await talk.get("a") == [1]
        await talk.aclose()


# Connections


async def test_there_are_as_many_connections_as_requests_at_once():
    gate = anyio.Event()

    async def wait(wire: Wire, head: bytes, body: bytes) -> None:
        if len(server.requests) == 5:
            gate.set()
        await gate.wait()
        await wire.send(reply())

    async with talking(wait, connections=5) as (talk, server):
        await together(talk, 20)

        assert server.connections == 5


async def test_a_connection_that_the_server_closed_is_replaced():
    async def close_after_one(wire: Wire, head: bytes, body: bytes) -> bool:
        await wire.send(reply())
        return True

    async with talking(close_after_one) as (talk, server):
        for _ in range(3):
            assert (await talk.send("POST", "a", content=b"{}")).status == 200
            await server.all_closed()
            for _ in range(10):  # the event loop looks at its sockets once in each pass
                await anyio.lowlevel.checkpoint()

        assert server.connections == 3


async def test_a_session_may_be_used_again_after_closing():
    async with talking() as (talk, server):
        await talk.send("GET", "a")
        await talk.aclose()
        await talk.send("GET", "a")

        assert server.connections == 2


async def test_a_request_under_way_when_the_session_closes_is_lost():
    arrived = anyio.Event()
    lost: list[TransportError] = []

    async def wait(wire: Wire, head: bytes, body: bytes) -> None:
        arrived.set()
        await silence(wire, head, body)

    async def ask(talk: Session) -> None:
        with pytest.raises(TransportError, match="the connection broke off") as caught:
            await talk.send("POST", "a", content=b"{}")
        lost.append(caught.value)

    async with talking(wait, connections=1) as (talk, _), anyio.create_task_group() as tasks:
        tasks.start_soon(ask, talk)
        await arrived.wait()
        tasks.start_soon(ask, talk)  # waits for the slot, and finds the engine closed
        await anyio.wait_all_tasks_blocked()
        await talk.aclose()

    assert len(lost) == 2


# Failures


@pytest.mark.parametrize("failure", [reset, close, cut, cut_head, garbage])
async def test_a_broken_answer_is_a_transport_error_and_ends_its_connection(failure: Handler):
    broken = True

    async def handler(wire: Wire, head: bytes, body: bytes) -> bool | None:
        return await (failure if broken else ok)(wire, head, body)

    async with talking(handler, connections=1) as (talk, server):
        for _ in range(3):
            with pytest.raises(TransportError, match="the connection broke off"):
                await talk.send("POST", "a", content=b"{}")
        broken = False

        assert (await talk.send("POST", "a", content=b"{}")).status == 200
        assert server.connections == 4


async def test_a_silent_server_ends():
    async with talking(silence, timeout=0.1) as (talk, _):
        with pytest.raises(TransportError, match=r"no response within 0\.1 s"):
            await talk.send("GET", "a")


async def test_a_dripping_server_ends_and_frees_its_slot():
    async def drip(wire: Wire, head: bytes, body: bytes) -> None:
        if len(server.requests) > 1:
            await wire.send(reply())
            return
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await wire.send(b".")
            await anyio.sleep(0.005)

    async with talking(drip, timeout=0.1, connections=1) as (talk, server):
        with pytest.raises(TransportError, match=r"no complete response within 0\.4 s"):
            await talk.send("GET", "a")

        assert (await talk.send("GET", "a")).status == 200


async def test_a_connection_that_hangs_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        aiohttp.TCPConnector, "_create_connection", lambda *_: anyio.sleep_forever()
    )
    talk = session("http://localhost:9", timeout=0.02)
    with pytest.raises(TransportError, match=r"no connection to localhost:9 within 0\.02 s"):
        await talk.send("GET", "a")
    await talk.aclose()


async def test_a_refused_connection_says_so():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        talk = session(f"http://127.0.0.1:{port}")
        with pytest.raises(TransportError, match=rf"127\.0\.0\.1:{port} failed: .*Connect call"):
            await talk.send("GET", "a")
        await talk.aclose()


async def test_a_request_that_is_not_http_is_not_sent_and_shows_no_token():
    secret = "secret".upper()  # the traceback quotes this file's lines
    token = f"Bearer {secret}\r\nX: y"
    async with talking() as (talk, server):
        with pytest.raises(TransportError, match="not valid HTTP") as caught:
            await talk.send("GET", "a", headers={"Authorization": token})

        assert secret not in "".join(traceback.format_exception(caught.value))
        assert server.requests == []


async def test_no_error_shows_the_query(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        aiohttp.TCPConnector, "_create_connection", lambda *_: anyio.sleep_forever()
    )
    name = "secret".upper()  # the traceback quotes this file's lines
    talk = session("http://localhost:9", timeout=0.02)
    with pytest.raises(TransportError) as caught:
        await talk.send("GET", "a", params={"email": name})
    await talk.aclose()

    assert name not in "".join(traceback.format_exception(caught.value))


async def test_a_fault_of_our_own_comes_out_as_itself(monkeypatch: pytest.MonkeyPatch):
    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(aiohttp.ClientSession, "request", fault)
    talk = session(BASE)
    with pytest.raises(RuntimeError, match="a fault"):
        await talk.send("GET", "a")
    await talk.aclose()


async def test_a_certificate_that_is_not_trusted_is_told_as_the_plain_engine_does():
    said: list[str] = []
    async with serving(secure=True) as server:
        for engine in ("plain", "aiohttp"):
            http = HttpSettings(engine=engine, timeout=5)
            talk = Session("anytrack", server.url, headers={}, http=http)
            with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                await talk.send("GET", "a")
            await talk.aclose()
            said.append(str(caught.value))

    assert said[0] == said[1]


@pytest.mark.parametrize("failure", [close, cut, cut_head, garbage])
async def test_a_broken_answer_is_the_same_kind_of_error_as_from_the_plain_engine(
    failure: Handler,
):
    said: list[str] = []
    async with serving(failure) as server:
        for engine in ("plain", "aiohttp"):
            http = HttpSettings(engine=engine, timeout=5)
            talk = Session("anytrack", server.url, headers={}, http=http)
            with pytest.raises(TransportError, match="RemoteProtocolError") as caught:
                await talk.send("POST", "a", content=b"{}")
            await talk.aclose()
            said.append(str(caught.value))

    assert said[0] == said[1]


# Cancellation


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_request_that_waits_for_an_address_when_the_session_closes_is_lost(
    monkeypatch: pytest.MonkeyPatch, cancelled: bool
):
    asked = anyio.Event()

    async def hang(*_: object, **__: object) -> None:
        asked.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    talk = session("http://localhost:9")
    request = asyncio.create_task(talk.send("GET", "a"))
    await asked.wait()
    await anyio.wait_all_tasks_blocked()
    closing = asyncio.create_task(talk.aclose())
    if cancelled:
        request.cancel()
    await asyncio.wait([request, closing])

    assert request.cancelled() is cancelled
    if not cancelled:
        assert "CloseError" in str(request.exception())


async def test_a_cancelled_request_closes_its_connection_and_frees_its_slot():
    quiet = True
    arrived = anyio.Event()

    async def handler(wire: Wire, head: bytes, body: bytes) -> None:
        if server.open == 2:
            arrived.set()
        await (silence if quiet else ok)(wire, head, body)

    async with talking(handler, connections=2) as (talk, server):
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(talk.send, "GET", "a")
                tasks.start_soon(talk.send, "GET", "a")
                await arrived.wait()
                tasks.cancel_scope.cancel()
            await server.all_closed()
            arrived = anyio.Event()
        quiet = False

        assert (await talk.send("GET", "a")).status == 200


async def test_cancelling_at_any_moment_leaves_the_session_usable():
    async with talking(connections=4) as (talk, server):
        for step in range(60):
            with anyio.move_on_after(step / 20_000):
                await together(talk, 8)
        with anyio.fail_after(5):
            await together(talk, 8)
        for _ in range(5):
            assert (await talk.send("GET", "a")).status == 200

        assert server.open <= 4
