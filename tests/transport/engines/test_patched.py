from __future__ import annotations

import httpcore
import httpx
import pytest
import respx

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.engines.httpx import HttpxEngine
from anytrack_async.transport.engines.patched import ClientsWay, Patchable, patched
from anytrack_async.transport.message import Request, Response

pytestmark = pytest.mark.asyncio

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
async def test_a_patch_is_noticed_as_long_as_it_lasts(owner: type, name: str):
    before = patched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, lambda *_: None)
        during = patched()

    assert (before, during, patched()) == (False, True, False)


@pytest.mark.parametrize("using", ["httpx", "httpcore"])
async def test_respx_is_noticed(using: str):
    with respx.mock(using=using):
        during = patched()

    assert (during, patched()) == (True, False)


async def test_an_httpx_without_the_private_method_is_not_patched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(httpx.AsyncClient, "_transport_for_url")
    way = ClientsWay(httpx.MockTransport(lambda _: httpx.Response(204)))

    assert not patched()
    assert (await HttpxEngine(way, HttpSettings()).exchange(GET)).status == 204


async def test_without_httpcore_nothing_of_it_is_patched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(__import__("sys").modules, "httpcore")

    assert not patched()


async def test_the_other_engine_is_used_while_a_patch_lasts():
    inner, other = Fixed(200), Fixed(299)
    made: list[Fixed] = []

    def make() -> Fixed:
        made.append(other)
        return other

    engine = Patchable(inner, make)
    before = await engine.exchange(GET)
    with respx.mock:
        during = [await engine.exchange(GET) for _ in range(2)]
    after = await engine.exchange(GET)
    await engine.aclose()

    assert [one.status for one in (before, *during, after)] == [200, 299, 299, 200]
    assert len(made) == inner.closed == other.closed == 1


async def test_what_was_not_needed_is_not_made_for_closing():
    inner = Fixed(200)
    await Patchable(inner, lambda: pytest.fail("made")).aclose()

    assert inner.closed == 1


async def test_both_are_closed_even_if_one_fails():
    inner, other = Fixed(200), Fixed(200, ZeroDivisionError())
    engine = Patchable(inner, lambda: other)
    with respx.mock:
        await engine.exchange(GET)
    with pytest.raises(ZeroDivisionError):
        await engine.aclose()

    assert inner.closed == 1


async def test_closing_the_clients_way_closes_its_transport():
    class Closable(httpx.MockTransport):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    transport = Closable(lambda _: httpx.Response(204))
    await ClientsWay(transport).aclose()

    assert transport.closed == 1
