"""`Pool`: connections whose number does not make a request dearer."""

from __future__ import annotations

import ssl
import time
from collections import deque
from math import inf

import anyio
import httpx

from anytrack_async.settings import HttpSettings
from anytrack_async.transport.answer import Answer
from anytrack_async.transport.base import Request
from anytrack_async.transport.connect import connect
from anytrack_async.transport.connection import Connection


class Pool:
    """The plain engine: connections to one origin, on a stack.

    httpx's own pool looks at all of its connections for each request, so 50 of them are slower
    than 4. Here the one used last is taken first, and the price of a request does not depend on
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

    async def exchange(self, request: Request) -> Answer:
        """Send *request* on an idle connection, or on a new one, and read the answer."""
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
        while self._idle:
            await self._idle.pop()[1].aclose()

    async def _take(self) -> Connection:
        # Closing one a request is enough: connections grow by one a request at most.
        if self._idle and time.monotonic() - self._idle[0][0] > self._kept:
            await self._idle.popleft()[1].aclose()
        while self._idle:
            connection = self._idle.pop()[1]
            if not connection.stale:
                return connection
            await connection.aclose()
        stream = await connect(self._url, self._context, timeout=self._timeout)
        return Connection(stream, timeout=self._timeout)
