"""`Pool`: connections whose number does not make a request dearer."""

from __future__ import annotations

import ssl
import time
from collections import deque
from math import inf

import anyio
import httpx

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.engines.connect import connect
from anytrack_async.transport.engines.connection import Connection
from anytrack_async.transport.message import Request, Response


class Pool:
    """The plain engine: connections to one origin, on a stack.

    httpx's own pool looks at all of its connections for each request, so 128 of them are slower
    than 8. Here the one used last is taken first, and the price of a request does not depend on
    how many there are.

    Not limited by itself: goes inside a `Limit`.

    Args:
        url: where the connections lead.
        http: the time-outs.
        context: for TLS.
        total: seconds for an exchange in all, None for no limit.
        kept: seconds an idle connection is kept.
    """

    def __init__(
        self,
        url: str,
        http: HttpSettings,
        context: ssl.SSLContext,
        *,
        total: float | None = None,
        kept: float = 15.0,
    ) -> None:
        self._url = httpx.URL(url)
        self._context = context
        self._timeout = http.timeout
        self._total = inf if total is None else total
        self._kept = kept
        self._closed = False
        self._idle: deque[tuple[float, Connection]] = deque()

    async def exchange(self, request: Request) -> Response:
        """Send *request* on an idle connection, or on a new one, and read the response."""
        end = anyio.current_time() + self._total
        connection = await self._take()
        try:
            return await connection.exchange(request, end)
        finally:
            if connection.reusable and not self._closed:
                self._idle.append((time.monotonic(), connection))
            else:
                await connection.aclose()

    async def aclose(self) -> None:
        """Close the idle connections; one in use is closed when its request is done."""
        self._closed = True
        await self._drop()

    async def _drop(self) -> None:
        # All at once, so that being cancelled meanwhile leaves none open.
        idle = [connection for _, connection in self._idle]
        self._idle.clear()
        async with anyio.create_task_group() as tasks:
            for connection in idle:
                tasks.start_soon(connection.aclose)

    async def _take(self) -> Connection:
        if self._idle:
            await self._expire(time.monotonic() - self._kept)
        while self._idle:
            connection = self._idle.pop()[1]
            if not connection.stale:
                return connection
            await connection.aclose()
        return await self._new()

    async def _expire(self, before: float) -> None:
        if self._idle[-1][0] < before:
            await self._drop()
        elif self._idle[0][0] < before:
            # Closing one a request is enough: connections grow by one a request at most.
            await self._idle.popleft()[1].aclose()

    async def _new(self) -> Connection:
        stream = await connect(self._url, self._context, timeout=self._timeout)
        return Connection(stream, timeout=self._timeout)
