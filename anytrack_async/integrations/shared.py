"""For all integrations: making the client, and closing it without raising."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.errors import UndeliveredError

NAME = "anytrack"
"""The name under which an application's state has the client."""

ClientSource: TypeAlias = AnyTrackClient | Callable[[], AnyTrackClient]
"""A client, or a function that makes one when the application starts, such as
``AnyTrackClient.from_env``."""


@asynccontextmanager
async def opened(source: ClientSource) -> AsyncGenerator[AnyTrackClient]:
    """Open the client, and deliver the remaining conversions at the end.

    Undelivered conversions of an outbox in memory are in the log, which names them: a server would
    only add a traceback.
    """
    client = source if isinstance(source, AnyTrackClient) else source()
    await client.start()
    try:
        yield client
    finally:
        with suppress(UndeliveredError):
            await client.aclose()
