from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.engines.httpx import HttpxEngine
from anytrack_async.transport.message import Request, TotalTimeout

pytestmark = pytest.mark.asyncio

HTTP = HttpSettings()
POST = Request("anytrack", "POST", "https://api.test/a", {"Accept": "x/y"}, b"{}")


class Body(httpx.AsyncByteStream):
    """A body that arrives when told."""

    def __init__(self, gate: anyio.Event) -> None:
        self.gate = gate
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"half, "
        await self.gate.wait()
        yield b"whole"

    async def aclose(self) -> None:
        self.closed = True


class Wire(httpx.AsyncBaseTransport):
    """Answers with a body that arrives when told."""

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.body = Body(self.gate)
        self.requests: list[httpx.Request] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(201, headers={"X-Request-ID": "r1"}, stream=self.body)

    async def aclose(self) -> None:
        self.closed += 1


async def test_the_transport_gets_the_request_and_gives_the_answer():
    wire = Wire()
    wire.gate.set()
    response = await HttpxEngine(wire, HTTP).exchange(POST)

    (sent,) = wire.requests
    assert (sent.method, str(sent.url), sent.content) == ("POST", "https://api.test/a", b"{}")
    assert sent.headers["accept"] == "x/y"
    assert (response.status, response.content) == (201, b"half, whole")
    assert (response.service, response.request_content) == ("anytrack", b"{}")
    assert response.headers["x-request-id"] == "r1"


async def test_an_answer_is_read_before_it_is_given():
    wire = Wire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(HttpxEngine(wire, HTTP).exchange, POST)
        await anyio.wait_all_tasks_blocked()
        reading = not wire.body.closed
        wire.gate.set()

    assert reading
    assert wire.body.closed


async def test_a_cancelled_request_closes_its_response():
    wire = Wire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(HttpxEngine(wire, HTTP).exchange, POST)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert wire.body.closed


async def test_a_dripping_answer_is_given_up():
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await anyio.sleep(0.001)

    wire = httpx.MockTransport(lambda _: httpx.Response(200, content=drip()))
    with pytest.raises(TotalTimeout):
        await HttpxEngine(wire, HTTP, total=0.02).exchange(POST)


async def test_closing_closes_the_transport():
    wire = Wire()
    await HttpxEngine(wire, HTTP).aclose()

    assert wire.closed == 1
