"""Litestar: a plug-in that opens the client, and gives it to handlers as ``anytrack``.

    @post("/thanks")
    async def thanks(anytrack: AnyTrackClient) -> None: …

    app = Litestar([thanks], plugins=[AnyTrackPlugin(AnyTrackClient.from_env)])

The client is closed when the application shuts down.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.plugins import InitPlugin

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.errors import ConfigurationError
from anytrack_async.integrations.shared import NAME, ClientSource, opened


async def client_of(state: State) -> AnyTrackClient:
    """Return the client in the application's *state*.

    Raises:
        ConfigurationError: there is none, because the application's lifespan did not run.
    """
    client = state.get(NAME)
    if not isinstance(client, AnyTrackClient):
        raise ConfigurationError(
            "the application has no client: run its lifespan (an AsyncTestClient does so in an "
            "`async with` block)"
        )
    return client


class AnyTrackPlugin(InitPlugin):
    """Opens *client* with the application, and closes it with it.

    Args:
        client: the client, or a function that makes it.
    """

    def __init__(self, client: ClientSource) -> None:
        self._client = client

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the lifespan and the dependency."""
        app_config.lifespan.append(self._lifespan)
        app_config.dependencies = {NAME: Provide(client_of), **app_config.dependencies}
        app_config.signature_types = [*app_config.signature_types, AnyTrackClient]
        return app_config

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncGenerator[None]:
        async with opened(self._client) as client:
            app.state[NAME] = client
            yield
