"""A client in fixtures and in start-up hooks, which open it in one task and close it in another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio
import uvloop
from aiohttp import web

from anytrack_async import AnyTrackClient, ClosedError
from tests.client.service import Service

CLIENT = web.AppKey("client", AnyTrackClient)


# pytest-asyncio


@pytest_asyncio.fixture
async def client(service: Service) -> AsyncIterator[AnyTrackClient]:
    client = service.client()
    await client.start()
    yield client
    await client.aclose()
    assert len(service.requests) == 1


@pytest_asyncio.fixture
async def client_of_a_block(service: Service) -> AsyncIterator[AnyTrackClient]:
    async with service.client() as client:
        yield client
    assert len(service.requests) == 1


SHARED = Service()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_client() -> AsyncIterator[AnyTrackClient]:
    client = SHARED.client()
    await client.start()
    yield client
    await client.aclose()


@pytest.mark.asyncio
async def test_a_fixture_starts_and_closes(client: AnyTrackClient):
    await client.track_sale("k1", 5, order_id="1")


@pytest.mark.asyncio
async def test_a_fixture_delivers_on_closing(client_of_a_block: AnyTrackClient):
    receipt = await client_of_a_block.track_sale("k1", 5, order_id="1")
    assert receipt.conversion_id


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("order", ["1", "2"])
async def test_a_fixture_serves_several_tests(shared_client: AnyTrackClient, order: str):
    await shared_client.track_sale("k1", 5, order_id=order)
    assert len(SHARED.requests) == int(order)


# anyio's plug-in


@pytest.fixture(params=["asyncio", "asyncio+uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "asyncio+uvloop"}


@pytest.fixture
async def anyio_client(anyio_backend: object, service: Service) -> AsyncIterator[AnyTrackClient]:
    client = service.client()
    await client.start()
    yield client
    await client.aclose()
    assert len(service.requests) == 1


@pytest.mark.anyio
async def test_a_fixture_of_anyio_starts_and_closes(anyio_client: AnyTrackClient):
    await anyio_client.track_sale("k1", 5, order_id="1")


# Applications


class Hooks:
    """An application that calls each of its hooks in a task of its own, as taskiq and SAQ may."""

    def __init__(self) -> None:
        self.startup: list[Callable[[], Awaitable[None]]] = []
        self.shutdown: list[Callable[[], Awaitable[None]]] = []

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        for hook in self.startup:
            await asyncio.gather(hook())
        yield
        for hook in self.shutdown:
            await asyncio.gather(hook())


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_client_works_in_hooks(
    service: Service, loop_factory: Callable[[], asyncio.AbstractEventLoop]
):
    client, app = service.client(), Hooks()
    app.startup.append(client.start)
    app.shutdown.append(client.aclose)

    async def main() -> None:
        async with app.run():
            await client.track_sale("k1", 5, order_id="1")
        with pytest.raises(ClosedError):
            await client.track_sale("k1", 5, order_id="2")

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert len(service.requests) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("in_block", [False, True])
async def test_a_client_works_in_the_cleanup_context_of_aiohttp(service: Service, in_block: bool):
    async def tracking(app: web.Application) -> AsyncIterator[None]:
        app[CLIENT] = client = service.client()
        if in_block:
            async with client:
                yield
            return
        await client.start()
        yield
        await client.aclose()

    async def thanks(request: web.Request) -> web.Response:
        receipt = await request.app[CLIENT].track_sale("k1", 5, order_id="1")
        return web.json_response({"id": receipt.conversion_id})

    app = web.Application()
    app.cleanup_ctx.append(tracking)
    app.router.add_post("/thanks", thanks)
    runner = web.AppRunner(app)
    # Each step in a task of its own, as a server does that starts and stops several applications.
    await asyncio.create_task(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as shop:
        async with shop.post(f"http://{host}:{port}/thanks") as response:
            assert await response.json() == {"id": "at-sale:1"}
    await asyncio.create_task(runner.cleanup())

    assert len(service.requests) == 1
    with pytest.raises(ClosedError):
        await app[CLIENT].track_sale("k1", 5, order_id="2")
