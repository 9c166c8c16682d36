"""aiohttp: a cleanup context that opens the client, and its key.

    app.cleanup_ctx.append(anytrack_context(AnyTrackClient.from_env))

    async def thanks(request: web.Request) -> web.Response:
        await request.app[ANYTRACK].submit(…)

The client is closed when the application has cleaned up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from aiohttp import web

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.integrations.shared import NAME, ClientSource, opened

ANYTRACK: web.AppKey[AnyTrackClient] = web.AppKey(NAME, AnyTrackClient)
"""The key of the client in the application; for a handler of a sub-application, the client is
``request.config_dict[ANYTRACK]``."""


def anytrack_context(client: ClientSource) -> Callable[[web.Application], AsyncGenerator[None]]:
    """Return a cleanup context that opens *client* with the application, and closes it with it.

    Args:
        client: the client, or a function that makes it.
    """

    async def context(app: web.Application) -> AsyncGenerator[None]:
        async with opened(client) as anytrack:
            app[ANYTRACK] = anytrack
            yield

    return context
