"""An engine and a server for tests of the engine contract, and requests to the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import anyio.to_thread

from anytrack_async.settings.http import HttpSettings, ResponseLimits
from anytrack_async.transport.message import Engine, Request, Response
from tests.transport.raw_server import (
    Handler,
    RawServer,
    respond,
    serving,
)

UNUSED = "http://127.0.0.1:9"
"""A URL at which nothing listens."""

EMAIL = "ada@example.com"
SESSION_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # always sent


def request_to(
    server: RawServer,
    content: bytes | None = None,
    method: str = "",
    headers: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Request:
    method = method or ("GET" if content is None else "POST")
    url = server.url.replace("127.0.0.1", host)
    return Request("anytrack", method, f"{url}/a", headers or {}, content)


async def send(engine: Engine, server: RawServer) -> Response:
    return await engine.exchange(request_to(server))


async def send_concurrently(engine: Engine, server: RawServer, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(engine.exchange, request_to(server))


class RunningEngine:
    """Runs an engine with a server; a subclass implements `make`.

    Attributes:
        most_left: connections that may stay open after eight concurrent requests, some of which
            were cancelled.
    """

    most_left = 8

    def make(
        self, url: str, http: HttpSettings, *, total_timeout: float | None, keepalive: float
    ) -> Engine:
        """Return a new engine for requests to *url*; all times are in seconds."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(
        self,
        handler: Handler = respond,
        *,
        timeout: float = 5.0,
        total_timeout: float | None = None,
        keepalive: float = 15.0,
        host: str = "127.0.0.1",
        **limits: int,
    ) -> AsyncIterator[tuple[Engine, RawServer]]:
        """Run a server and an engine, which must leave no connection open."""
        async with serving(handler) as server:
            http = HttpSettings(timeout=timeout, limits=ResponseLimits(**limits))
            url = server.url.replace("127.0.0.1", host)
            engine = self.make(url, http, total_timeout=total_timeout, keepalive=keepalive)
            try:
                yield engine, server
            finally:
                await engine.aclose()
                await server.all_closed()
