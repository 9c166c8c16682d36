"""`AiohttpEngine`, where aiohttp needs more than the engine contract."""

from __future__ import annotations

import asyncio

import aiohttp
import anyio
import pytest
import respx

from anytrack_async.errors import TransportError
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport import aiohttp as module
from anytrack_async.transport.session import Session
from tests.transport.raw_server import ServerConnection, serving, silence

pytestmark = pytest.mark.asyncio

BASE = "https://api.test/v1"


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
