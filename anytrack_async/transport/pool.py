"""`PoolTransport`: connections whose number does not make a request dearer."""

from __future__ import annotations

import ssl
import time
from collections import deque

import anyio
import httpcore
import httpx

from anytrack_async.transport.stream import Backend

_CLOSING = 1.0  # seconds that closing a broken connection may take
_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


class PoolTransport(httpx.AsyncBaseTransport):
    """Connections to one origin, on a stack.

    httpcore's own pool looks at all of its connections for each request, so 50 of them are slower
    than 4. Here the one used last is taken first, and the price of a request does not depend on
    how many there are.

    Answers come with their body read. Not limited by itself: goes inside a `LimitTransport`.

    Args:
        url: where the connections lead.
        context: for TLS.
        kept: seconds an idle connection is kept.
    """

    def __init__(self, url: httpx.URL, context: ssl.SSLContext, *, kept: float = 15.0) -> None:
        self._origin = _core_url(url).origin
        self._context = context
        self._kept = kept
        self._closed = False
        self._backend = Backend()
        self._idle: deque[tuple[float, httpcore.AsyncHTTPConnection]] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* on an idle connection, or on a new one, and read the answer."""
        connection = await self._take()
        try:
            return await _exchange(connection, request)
        except _FAILURES as exc:
            raise _translated(exc, request) from exc
        finally:
            await self._give_back(connection)

    async def aclose(self) -> None:
        """Close the idle connections; one in use is closed when its request is done."""
        self._closed = True
        while self._idle:
            await self._idle.pop()[1].aclose()

    async def _take(self) -> httpcore.AsyncHTTPConnection:
        await self._reap()
        while self._idle:
            connection = self._idle.pop()[1]
            if not connection.has_expired():
                return connection
            await _close(connection)
        return httpcore.AsyncHTTPConnection(
            self._origin, ssl_context=self._context, network_backend=self._backend
        )

    async def _reap(self) -> None:
        # One a request is enough: connections grow by one a request at most.
        if self._idle and time.monotonic() - self._idle[0][0] > self._kept:
            await _close(self._idle.popleft()[1])

    async def _give_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        if connection.is_idle() and not connection.is_closed() and not self._closed:
            self._idle.append((time.monotonic(), connection))
        else:
            await _close(connection)


async def _exchange(
    connection: httpcore.AsyncHTTPConnection, request: httpx.Request
) -> httpx.Response:
    answer = await connection.handle_async_request(
        httpcore.Request(
            request.method,
            _core_url(request.url),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
    )
    content = await answer.aread()
    await answer.aclose()
    return httpx.Response(answer.status, headers=answer.headers, content=content)


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _translated(exc: Exception, request: httpx.Request) -> httpx.TransportError:
    # The two libraries give the same names to the same errors.
    kind = getattr(httpx, type(exc).__name__, httpx.NetworkError)
    error: httpx.TransportError = kind(str(exc), request=request)
    return error


async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
    with anyio.move_on_after(_CLOSING, shield=True):
        await connection.aclose()
