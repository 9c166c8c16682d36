from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpcore
import httpx
import pytest
import respx

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.httpx import (
    ClientRoutedTransport,
    HttpxEngine,
    PatchAwareEngine,
    is_httpx_patched,
)
from anytrack_async.transport.message import Request, Response
from tests.transport.raw_server import ServerConnection, response_bytes, serving

pytestmark = pytest.mark.asyncio

HTTP = HttpSettings()
POST = Request("anytrack", "POST", "https://api.test/a", {"Accept": "x/y"}, b"{}")


class Body(httpx.AsyncByteStream):
    """A body with a second half that arrives when its gate opens."""

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
    """A transport that responds with such a body."""

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


async def test_the_transport_gets_the_request_and_gives_the_response():
    wire = Wire()
    wire.gate.set()
    response = await HttpxEngine(wire, HTTP).exchange(POST)

    (sent,) = wire.requests
    assert (sent.method, str(sent.url), sent.content) == ("POST", "https://api.test/a", b"{}")
    assert sent.headers["accept"] == "x/y"
    assert (response.status, response.content) == (201, b"half, whole")
    assert (response.service, response.request_content) == ("anytrack", b"{}")
    assert response.headers["x-request-id"] == "r1"


async def test_a_response_is_read_before_it_is_returned():
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


@pytest.mark.parametrize("body", [b"{}", b""])
async def test_a_second_response_answers_no_request(body: bytes):
    async def two(connection: ServerConnection, head: bytes, _: bytes) -> None:
        await connection.send(response_bytes(body) + response_bytes(b'{"id": "of another"}'))

    async with serving(two) as server:
        engine = HttpxEngine(httpx.AsyncHTTPTransport(), HTTP)
        request = POST._replace(url=server.url)
        for _ in range(3):
            assert (await engine.exchange(request)).content == body
        await engine.aclose()
        await server.all_closed()

    assert server.connections == 3


async def test_a_connection_is_used_again():
    async with serving() as server:
        engine = HttpxEngine(httpx.AsyncHTTPTransport(), HTTP)
        for _ in range(3):
            await engine.exchange(POST._replace(url=server.url))
        await engine.aclose()

    assert server.connections == 1


async def test_closing_closes_the_transport():
    wire = Wire()
    await HttpxEngine(wire, HTTP).aclose()

    assert wire.closed == 1


# Tools that patch httpx

GET = Request("anytrack", "GET", "https://api.test/a", {})
PLACES = (
    (httpx.AsyncClient, "_transport_for_url"),
    (httpx.AsyncHTTPTransport, "handle_async_request"),
    (httpcore.AsyncConnectionPool, "handle_async_request"),
    (httpcore.AsyncHTTPConnection, "handle_async_request"),
)


class Fixed:
    """An engine with one response."""

    def __init__(self, status: int, failure: Exception | None = None) -> None:
        self.status = status
        self.failure = failure
        self.closed = 0

    async def exchange(self, request: Request) -> Response:
        return request.build_response(self.status, {}, b"")

    async def aclose(self) -> None:
        self.closed += 1
        if self.failure:
            raise self.failure


@pytest.mark.parametrize(("owner", "name"), PLACES)
async def test_a_patch_is_detected_while_it_is_active(owner: type, name: str):
    before = is_httpx_patched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, lambda *_: None)
        during = is_httpx_patched()

    assert (before, during, is_httpx_patched()) == (False, True, False)


@pytest.mark.parametrize("using", ["httpx", "httpcore"])
async def test_respx_is_detected(using: str):
    with respx.mock(using=using):
        during = is_httpx_patched()

    assert (during, is_httpx_patched()) == (True, False)


async def test_an_httpx_without_the_private_method_is_not_patched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(httpx.AsyncClient, "_transport_for_url")
    transport = ClientRoutedTransport(httpx.MockTransport(lambda _: httpx.Response(204)))

    assert not is_httpx_patched()
    assert (await HttpxEngine(transport, HttpSettings()).exchange(GET)).status == 204


async def test_without_httpcore_httpx_counts_as_unpatched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(__import__("sys").modules, "httpcore")

    assert not is_httpx_patched()


async def test_the_httpx_engine_is_used_while_a_patch_is_active():
    inner, other = Fixed(200), Fixed(299)
    engines: list[Fixed] = []

    def make() -> Fixed:
        engines.append(other)
        return other

    engine = PatchAwareEngine(inner, make)
    before = await engine.exchange(GET)
    with respx.mock:
        during = [await engine.exchange(GET) for _ in range(2)]
    after = await engine.exchange(GET)
    await engine.aclose()

    assert [response.status for response in (before, *during, after)] == [200, 299, 299, 200]
    assert len(engines) == inner.closed == other.closed == 1


async def test_closing_makes_no_httpx_engine():
    inner = Fixed(200)
    await PatchAwareEngine(inner, lambda: pytest.fail("made")).aclose()

    assert inner.closed == 1


async def test_both_engines_are_closed_even_if_closing_one_fails():
    inner, other = Fixed(200), Fixed(200, ZeroDivisionError())
    engine = PatchAwareEngine(inner, lambda: other)
    with respx.mock:
        await engine.exchange(GET)
    with pytest.raises(ZeroDivisionError):
        await engine.aclose()

    assert inner.closed == 1


async def test_closing_the_routed_transport_closes_the_inner_one():
    class Closable(httpx.MockTransport):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    transport = Closable(lambda _: httpx.Response(204))
    await ClientRoutedTransport(transport).aclose()

    assert transport.closed == 1
