"""The integrations' errors, and the client's shutdown in a lifespan."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace

import anyio
import httpx
import pytest

from anytrack_async import ConfigurationError, Conversion
from anytrack_async.integrations.django import client_of as django_client_of
from anytrack_async.integrations.django import with_anytrack
from anytrack_async.integrations.litestar import client_of as litestar_client_of
from anytrack_async.integrations.quart import current_client
from anytrack_async.integrations.shared import opened
from anytrack_async.integrations.starlette import client_of
from tests.client.service import Service

pytestmark = pytest.mark.asyncio


@pytest.fixture
def service() -> Service:
    return Service()


async def test_closing_a_lifespan_does_not_raise_for_what_the_log_names(service, caplog):
    service.refuse(401)
    async with opened(service.client()) as client:
        delivery = await client.submit(Conversion.lead(click_id="c", event_id="lead:1"))
        client.limit_drain(0)

    assert delivery.event_id == "lead:1"
    assert "lead:1" in caplog.text


async def test_an_application_without_a_lifespan_gets_a_clear_error():
    from litestar.datastructures import State
    from quart import Quart
    from starlette.applications import Starlette
    from starlette.requests import Request

    with pytest.raises(ConfigurationError, match="lifespan=anytrack_lifespan"):
        client_of(Request({"type": "http", "app": Starlette(), "headers": []}))
    with pytest.raises(ConfigurationError, match="with_anytrack"):
        django_client_of(object())
    with pytest.raises(ConfigurationError, match="run its lifespan"):
        await litestar_client_of(State())
    async with Quart(__name__).app_context():
        with pytest.raises(ConfigurationError, match="init_app"):
            current_client()


async def test_a_client_that_cannot_be_opened_ends_the_start_of_the_server():
    def make():
        raise ConfigurationError("ANYTRACK_API_KEY is missing")

    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    async def application(*_):
        raise AssertionError

    await with_anytrack(application, make)({"type": "lifespan"}, receive, send)

    assert sent == [{"type": "lifespan.startup.failed", "message": "ANYTRACK_API_KEY is missing"}]


async def test_a_wrapped_django_application_has_the_client_while_the_server_runs_it(service):
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent, may_stop = [], anyio.Event()

    async def receive():
        message = next(messages)
        if message["type"] == "lifespan.shutdown":
            await may_stop.wait()
        return message

    async def send(message):
        sent.append(message["type"])

    async def application(scope, *_):
        request = SimpleNamespace(scope=scope)
        await django_client_of(request).submit(Conversion.lead(click_id="c"))

    wrapped = with_anytrack(application, service.client)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wrapped, {"type": "lifespan"}, receive, send)
        await anyio.wait_all_tasks_blocked()
        assert sent == ["lifespan.startup.complete"]
        await wrapped({"type": "http"}, receive, send)
        may_stop.set()

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert len(service.bodies()) == 1
    with pytest.raises(ConfigurationError):  # closed again
        await wrapped({"type": "http"}, receive, send)


async def test_an_own_lifespan_runs_within_and_keeps_its_state(service):
    from starlette.applications import Starlette

    from anytrack_async.integrations.starlette import anytrack_lifespan

    @asynccontextmanager
    async def own(app):
        assert app.state.anytrack.is_open
        yield {"shop": "open"}
        assert app.state.anytrack.is_open

    app = Starlette(lifespan=anytrack_lifespan(service.client, own))
    async with app.router.lifespan_context(app) as state:
        assert state["shop"] == "open"
        assert state["anytrack"] is app.state.anytrack
    assert not app.state.anytrack.is_open


async def test_state_and_dependency_have_the_same_client(service):
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from anytrack_async.integrations.starlette import anytrack_lifespan

    async def page(request):
        assert request.state.anytrack is client_of(request)
        return PlainTextResponse("yes")

    app = Starlette(routes=[Route("/", page)], lifespan=anytrack_lifespan(lambda: service.client()))
    async with app.router.lifespan_context(app) as state:
        transport = httpx.ASGITransport(_with_state(app, state))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            assert (await http.get("/")).text == "yes"


def _with_state(app, state):
    async def wrapped(scope, receive, send):
        await app({**scope, "state": dict(state)}, receive, send)

    return wrapped
