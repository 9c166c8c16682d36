"""Quart: opens the client while the application serves.

    init_app(app, AnyTrackClient.from_env)

    @app.post("/thanks")
    async def thanks() -> str:
        await current_client().submit(…)

The client is closed when the application stops serving.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from quart import Quart, current_app

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.errors import ConfigurationError
from anytrack_async.integrations.shared import NAME, ClientSource, opened


def init_app(app: Quart, client: ClientSource) -> None:
    """Open *client* while *app* serves.

    Args:
        app: the application.
        client: the client, or a function that makes it.
    """

    @app.while_serving
    async def lifespan() -> AsyncGenerator[None]:
        async with opened(client) as anytrack:
            app.extensions[NAME] = anytrack
            yield
            del app.extensions[NAME]


def current_client() -> AnyTrackClient:
    """Return the client of the application that handles the present request.

    Raises:
        ConfigurationError: there is none, because `init_app` was not called, or the application
            does not serve.
    """
    client = current_app.extensions.get(NAME)
    if not isinstance(client, AnyTrackClient):
        raise ConfigurationError("the application has no client: call init_app(app, client)")
    return client
