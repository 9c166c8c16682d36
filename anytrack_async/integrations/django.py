"""Django under ASGI: a wrapper that opens the client, because Django has no lifespan of its own.

    application = with_anytrack(get_asgi_application(), AnyTrackClient.from_env)

    async def thanks(request: HttpRequest) -> HttpResponse:
        await client_of(request).submit(…)

Django under WSGI uses `anytrack_async.sync.AnyTrack`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.errors import ConfigurationError
from anytrack_async.integrations.shared import NAME, ClientSource, opened

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


def with_anytrack(application: ASGIApp, client: ClientSource) -> ASGIApp:
    """Return *application* with a client that is open while the server runs it.

    The server has to support the lifespan protocol, as uvicorn, hypercorn and granian do.

    Args:
        application: the application, such as the one of ``get_asgi_application()``.
        client: the client, or a function that makes it.
    """
    anytrack: AnyTrackClient | None = None

    async def wrapped(scope: _Scope, receive: _Receive, send: _Send) -> None:
        nonlocal anytrack
        if scope["type"] != "lifespan":
            scope[f"{NAME}.client"] = anytrack
            await application(scope, receive, send)
            return
        async with AsyncExitStack() as stack:
            await receive()  # lifespan.startup
            try:
                anytrack = await stack.enter_async_context(opened(client))
            except Exception as exc:
                await send({"type": "lifespan.startup.failed", "message": str(exc)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown
        anytrack = None
        await send({"type": "lifespan.shutdown.complete"})

    return wrapped


def client_of(request: Any) -> AnyTrackClient:
    """Return the client for *request*, an ``ASGIRequest`` of Django.

    Raises:
        ConfigurationError: there is none: the application is not wrapped, or the server runs no
            lifespan.
    """
    client = getattr(request, "scope", {}).get(f"{NAME}.client")
    if not isinstance(client, AnyTrackClient):
        raise ConfigurationError(
            "the application has no client: wrap it, application = with_anytrack(…), and run it "
            "with a server that supports the lifespan protocol, such as uvicorn"
        )
    return client
