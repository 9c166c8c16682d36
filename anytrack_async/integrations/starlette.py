"""Starlette and FastAPI: a lifespan that opens the client, and a dependency that returns it.

    app = FastAPI(lifespan=anytrack_lifespan(AnyTrackClient.from_env))

    @app.post("/thanks")
    async def thanks(anytrack: Annotated[AnyTrackClient, Depends(client_of)]): …

Without FastAPI's dependencies, call ``client_of(request)``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from starlette.requests import HTTPConnection

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.errors import ConfigurationError
from anytrack_async.integrations.shared import NAME, ClientSource, opened

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


def anytrack_lifespan(
    client: ClientSource, inner: Lifespan | None = None
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return a lifespan that opens *client* before the application and closes it after it.

    Args:
        client: the client, or a function that makes it.
        inner: the application's own lifespan, which runs within and may use the client.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[dict[str, Any]]:
        async with opened(client) as anytrack:
            app.state.anytrack = anytrack
            if inner is None:
                yield {NAME: anytrack}
                return
            async with inner(app) as state:
                yield {**(state or {}), NAME: anytrack}

    return lifespan


def client_of(request: HTTPConnection) -> AnyTrackClient:
    """Return the client of the application that got *request*; a dependency for FastAPI.

    Raises:
        ConfigurationError: the application has no `anytrack_lifespan`, or it did not run.
    """
    client = getattr(request.app.state, NAME, None)
    if not isinstance(client, AnyTrackClient):
        raise ConfigurationError(
            "the application has no client: create it with lifespan=anytrack_lifespan(…), and run "
            "its lifespan (a TestClient does so in a `with` block)"
        )
    return client
