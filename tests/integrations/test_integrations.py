"""The integrations' errors, and the client's shutdown in a lifespan."""

from __future__ import annotations

import httpx
import pytest

from anytrack_async import ConfigurationError, Conversion
from anytrack_async.integrations.django import client_of as django_client_of
from anytrack_async.integrations.django import with_anytrack
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
    from quart import Quart
    from starlette.applications import Starlette
    from starlette.requests import Request

    with pytest.raises(ConfigurationError, match="lifespan=anytrack_lifespan"):
        client_of(Request({"type": "http", "app": Starlette(), "headers": []}))
    with pytest.raises(ConfigurationError, match="with_anytrack"):
        django_client_of(object())
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
