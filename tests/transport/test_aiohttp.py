"""`AiohttpEngine`, where aiohttp needs more than the engine contract."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import anyio
import pytest
import respx
from aiohttp.client_proto import ResponseHandler

from anytrack_async.errors import TransportError
from anytrack_async.settings.http import HttpSettings, ResponseLimits
from anytrack_async.transport import aiohttp as module
from anytrack_async.transport.aiohttp import _FilteringHandler
from anytrack_async.transport.session import Session
from tests.transport.raw_server import ServerConnection, serving, silence

pytestmark = pytest.mark.asyncio

BASE = "https://api.test/v1"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n"


def make_session(url: str, timeout: float = 5.0, connections: int = 32) -> Session:
    http = HttpSettings(engine="aiohttp", timeout=timeout, connections=connections)
    return Session("anytrack", url, headers={"Authorization": "Bearer t"}, http=http)


async def test_respx_sees_the_requests():
    with respx.mock(using="httpx") as router:
        router.get(f"{BASE}/a").respond(json=[1])
        session = make_session(BASE)
        assert await session.get("a") == [1]
        await session.aclose()


async def test_a_request_in_flight_when_the_session_closes_is_lost():
    arrived = anyio.Event()
    lost: list[TransportError] = []

    async def wait(connection: ServerConnection, head: bytes, body: bytes) -> None:
        arrived.set()
        await silence(connection, head, body)

    async def ask(session: Session) -> None:
        with pytest.raises(TransportError, match="the connection broke off") as caught:
            await session.send("POST", "a", content=b"{}")
        lost.append(caught.value)

    async with serving(wait) as server, anyio.create_task_group() as tasks:
        session = make_session(server.url, connections=1)
        tasks.start_soon(ask, session)
        await arrived.wait()
        tasks.start_soon(ask, session)  # waits for the slot, and finds the engine closed
        await anyio.wait_all_tasks_blocked()
        await session.aclose()

    assert len(lost) == 2


async def test_connecting_times_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        aiohttp.TCPConnector, "_create_connection", lambda *_: anyio.sleep_forever()
    )
    session = make_session("http://localhost:9", timeout=0.02)
    with pytest.raises(TransportError, match=r"no connection to localhost:9 within 0\.02 s"):
        await session.send("GET", "a")
    await session.aclose()


async def test_an_unrelated_runtime_error_is_not_translated(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unrelated")

    monkeypatch.setattr(aiohttp.ClientSession, "request", fail)
    session = make_session(BASE)
    with pytest.raises(RuntimeError, match="unrelated"):
        await session.send("GET", "a")
    await session.aclose()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_request_in_its_dns_lookup_when_the_session_closes_is_lost(
    monkeypatch: pytest.MonkeyPatch, cancelled: bool
):
    looking_up = anyio.Event()

    async def hang(*_: object, **__: object) -> None:
        looking_up.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(module, "resolve", hang)
    session = make_session("http://localhost:9")
    request = asyncio.create_task(session.send("GET", "a"))
    await looking_up.wait()
    await anyio.wait_all_tasks_blocked()
    closing = asyncio.create_task(session.aclose())
    if cancelled:
        request.cancel()
    await asyncio.wait([request, closing])

    assert request.cancelled() is cancelled
    if not cancelled:
        assert "CloseError" in str(request.exception())


@pytest.mark.parametrize("framing", ["Content-Length: 2\r\n\r\n{}", CHUNKED])
async def test_a_response_before_the_request_is_read_and_filtered(
    monkeypatch: pytest.MonkeyPatch, framing: str
):
    early, writers = asyncio.Event(), []
    keep, create = _FilteringHandler._keep_early, aiohttp.TCPConnector._create_connection

    def note(handler: _FilteringHandler, data: bytes) -> None:
        keep(handler, data)
        early.set()

    async def wait(*args: Any) -> Any:
        handler = await create(*args)
        await asyncio.wait_for(early.wait(), 5)
        return handler

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing.encode())

    monkeypatch.setattr(_FilteringHandler, "_keep_early", note)
    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", wait)
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    session = make_session(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert (await session.send("POST", "a", content=b"{}")).content == b"{}"
    await session.aclose()
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    server.close()


async def test_only_a_small_response_in_one_piece_ignores_that_reading_goes_on(
    monkeypatch: pytest.MonkeyPatch,
):
    resumed: list[bool] = []
    monkeypatch.setattr(ResponseHandler, "resume_reading", lambda *_, **__: resumed.append(True))
    handler = _FilteringHandler(asyncio.get_running_loop(), ResponseLimits())
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    for pieces in ([head % 2 + b"{}"], [head % 20_000 + bytes(20_000)], [head % 2, b"{}"]):
        handler.set_response_params()
        handler.start("POST")
        for piece in pieces:
            handler.data_received(piece)
        before = len(resumed)
        handler.resume_reading()

        ignored = len(resumed) == before
        assert ignored is (pieces == [head % 2 + b"{}"])
