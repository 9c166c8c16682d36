"""`PoolTransport`: connections whose number does not make a request dearer."""

from __future__ import annotations

import ssl

import httpx

from anytrack_async.transport.wrapper import Transport

_KEPT = 15.0  # seconds an idle connection is kept


class PoolTransport(httpx.AsyncBaseTransport):
    """Many one-connection pools behind one transport.

    httpcore's pool looks at each of its connections for each request, so one pool of 50 is slower
    than one of 4. Here the free pools lie on a stack: the one used last is taken first, and the
    price of a request does not depend on how many there are.

    Not limited by itself: goes inside a `LimitTransport` with as many slots as connections.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._all: list[Transport] = []
        self._free: list[Transport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* on a free connection, or on a new one, and read the answer."""
        pool = self._free.pop() if self._free else self._grow()
        try:
            response = await pool.handle_async_request(request)
            await response.aread()
        finally:
            self._free.append(pool)
        return response

    def _grow(self) -> Transport:
        limits = httpx.Limits(
            max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEPT
        )
        pool = httpx.AsyncHTTPTransport(verify=self._context, limits=limits)
        self._all.append(pool)
        return pool

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._all:
            await pool.aclose()
