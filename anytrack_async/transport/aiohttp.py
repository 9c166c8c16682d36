"""`AiohttpEngine`: the engine of the ``[speed]`` extra, on aiohttp's client."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import lru_cache, partial
from io import BytesIO
from math import isfinite
from typing import Any, cast

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from anytrack_async.settings.http import HttpSettings, ResponseLimits
from anytrack_async.transport.body import BodyReader
from anytrack_async.transport.connection import readable_events
from anytrack_async.transport.dns import resolve
from anytrack_async.transport.filter import ResponseFilter
from anytrack_async.transport.message import Request, Response, TotalTimeout

_STREAMED_SIZE = 1_048_576  # bytes above which aiohttp warns unless a body comes as a stream
_NEVER_PAUSED_SIZE = 16_384  # bytes that are too few for aiohttp to pause a connection
_REWRITTEN_SIZE = 64  # bytes by which the filter may lengthen a head


class AiohttpEngine:
    """Requests through one `aiohttp.ClientSession`; errors are those of httpx.

    The number of connections is not limited here but by `LimitedEngine`: a request that waits for
    one of aiohttp's own slots is cancelled, without an error, when the session closes.

    If the server has just closed an idle connection, aiohttp itself sends an idempotent request
    (no POST) once more.

    Args:
        http: the timeouts, and the limits of responses.
        context: for TLS.
        total_timeout: seconds for an exchange as a whole, None for no limit; each exchange with a
            limit costs a timer. Without it nothing limits the time to send a body, since aiohttp
            has no timeout for that.
        keepalive: seconds for which an idle connection is kept.
    """

    def __init__(
        self,
        http: HttpSettings,
        context: ssl.SSLContext,
        *,
        total_timeout: float | None = None,
        keepalive: float = 15.0,
    ) -> None:
        self._limits = limits = http.limits
        self._small_size = min(limits.max_body, limits.max_reply)  # bytes of any allowed body
        timeout = _finite(http.timeout)
        self._http = aiohttp.ClientSession(
            connector=_FilteringConnector(
                limits, limit=0, ssl=context, keepalive_timeout=keepalive, resolver=_Resolver()
            ),
            timeout=aiohttp.ClientTimeout(
                total=_finite(total_timeout), connect=timeout, sock_read=timeout
            ),
            request_class=_FilteredRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # The filter enforces the limits, in total and alike for all engines. aiohttp's own, of
            # a line and of the number of headers, must not be narrower.
            max_line_size=limits.max_head,
            max_field_size=limits.max_head + _REWRITTEN_SIZE,
            max_headers=limits.max_headers + 1,
        )

    async def exchange(self, request: Request) -> Response:
        """Send *request* and read the response."""
        content = request.content
        try:
            response = await self._http.request(
                request.method,
                _url(request.url),
                headers=request.headers,
                data=BytesIO(content) if content and len(content) > _STREAMED_SIZE else content,
                allow_redirects=False,
            )
            stream, headers = response.content, response.headers
            if (
                stream.is_eof()
                and stream.total_bytes <= self._small_size
                and "Content-Encoding" not in headers
            ):
                body = stream.read_nowait()
            else:
                body = await self._read(request, response)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise _httpx_error(exc) from None  # aiohttp's messages quote the URL and its query
        except (RuntimeError, asyncio.CancelledError) as exc:
            # Closing the session cancels the requests that wait for a DNS lookup.
            if not self._http.closed or _is_task_cancelled():
                raise
            raise httpx.CloseError("the session was closed during the request") from exc
        return request.build_response(response.status, headers, body)

    async def _read(self, request: Request, response: aiohttp.ClientResponse) -> bytes:
        try:
            headers: Mapping[str, str] = response.headers
            if len(codings := response.headers.getall("Content-Encoding", ())) > 1:
                headers = {"content-encoding": ",".join(codings)}  # like one header with a list
            body = BodyReader(request, response.status, headers, self._limits)
            _watch(response)
            while data := await response.content.readany():
                await body.add(data)
            return body.content()
        except BaseException:
            response.close()  # with its connection
            raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()


class _Resolver(AbstractResolver):
    """Looks up hosts in the threads of `Resolver` instead of those of the event loop."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of *host* that have the *family*, which may be `AF_UNSPEC`."""
        return [
            ResolveResult(
                hostname=host,
                host=address.ip,
                port=port,
                family=address.family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await resolve(host)
            if family in (address.family, socket.AF_UNSPEC)
        ]

    async def close(self) -> None:
        """Do nothing: the threads are those of the process."""


class _FilteringConnector(aiohttp.TCPConnector):
    """A connector with a `_FilteringHandler` for each of its connections."""

    def __init__(self, limits: ResponseLimits, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast(
            "partial[ResponseHandler]", partial(_FilteringHandler, self._loop, limits)
        )


class _FilteredRequest(aiohttp.ClientRequest):
    """A request of aiohttp's with no other headers than those of a `Request`, and `Host`.

    aiohttp compares each header with others and with its own defaults, which takes 1 % of an
    exchange. A `Request` has each name once, and a `Session` sets those for which there are
    defaults.
    """

    def update_headers(self, headers: Any) -> None:
        """Set the headers to `Host` and *headers*, a mapping."""
        self.headers = CIMultiDict({"Host": self.url.host_port_subcomponent or ""})
        self.headers.update(headers)

    def update_auto_headers(self, skip_auto_headers: object) -> None:
        """Add no defaults."""

    def send(self, conn: Connection) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        """Send the request on *conn*; its handler then expects the response."""
        # No coroutine of its own: each one costs 1 % of an exchange.
        handler: Any = conn.protocol
        handler.start(self.method)
        return super().send(conn)


class _FilteringHandler(ResponseHandler):
    """One connection of aiohttp's, which filters what the server sends.

    Args:
        loop: of the connection.
        limits: of each response.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: ResponseLimits) -> None:
        super().__init__(loop)
        self._filter = ResponseFilter(limits)
        self._events: Callable[[], Sequence[Any]] | None = None  # of the socket
        self._error: Exception | None = None
        self._stream: aiohttp.StreamReader | None = None
        self._reading = False  # from the first request until an error
        self._never_paused = False  # the response has arrived in one piece, a small one
        self._early = b""  # what arrived on a new connection before its first request

    def is_connected(self) -> bool:
        """Return whether the connection is open and, if it is idle, fit for a request.

        It is not if the server closed it, or sent bytes without a request, which the event loop has
        not read yet: a second response, for example.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        response = self._filter
        if not (response.whole or response.ended):
            return True
        if self._events is None:
            self._events = readable_events(transport.get_extra_info("socket"))
        return not self._events()

    def start(self, method: str) -> None:
        """Expect the response to a request with *method*."""
        self._filter.start(method)
        self._stream = None
        self._never_paused = False
        if not self._reading:
            self._start_reading()

    def _start_reading(self) -> None:
        self._reading = True
        if self._early:
            early, self._early = self._early, b""
            if self.transport is not None:
                self.transport.resume_reading()
            self.data_received(early)

    def watch(self, stream: aiohttp.StreamReader) -> None:
        """Pass a later error of the filter on to *stream*, and raise an earlier one."""
        self._stream = stream
        if self._error is not None:
            raise self._error

    def data_received(self, data: bytes) -> None:
        """Filter *data* and parse it; no data is a call by `resume_reading`."""
        if not data:
            super().data_received(data)
            return
        if not self._reading:
            self._keep_early(data)
            return
        try:
            passed = self._filter.feed(data)
        except httpx.RemoteProtocolError as exc:
            self._fail(exc)
            return
        if self._filter.whole and passed:
            # `ResponseHandler` would start the timer of another read, and then stop it.
            self.read_timeout = None
            self._never_paused = len(data) <= _NEVER_PAUSED_SIZE
        elif self._filter.surplus:
            self.force_close()
        if passed:
            super().data_received(passed)
        else:
            self._pass_nothing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note the end of the connection; an error is not the end of a body without a length."""
        if exc is not None and self._payload is not None and self._error is None:
            self._payload.set_exception(aiohttp.ClientOSError(type(exc).__name__))
        super().connection_lost(exc)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on with reading; aiohttp calls this in each exchange, whether it paused or not."""
        if not self._never_paused:
            super().resume_reading(resume_parser)

    def _pass_nothing(self) -> None:
        if not self._filter.surplus:
            self.start_timeout()  # the server is slow, but not silent
        elif self.transport is not None:
            self.transport.close()  # an idle connection is not used again

    def _keep_early(self, data: bytes) -> None:
        if self._error is not None:
            return
        self._early += data
        if self.transport is not None:
            self.transport.pause_reading()

    def _fail(self, error: Exception) -> None:
        # Whoever waits for the response, or its body, gets the error and closes the connection.
        self._error = error
        self._reading = False
        if self.transport is not None:
            self.transport.pause_reading()
        self.set_exception(error)
        if self._stream is not None:
            self._stream.set_exception(error)


def _watch(response: aiohttp.ClientResponse) -> None:
    # A response that has ended has given its connection back. One that was cut off has a connection
    # without a transport, and an error in its stream.
    handler = response.connection.protocol if response.connection is not None else None
    if handler is not None and handler.transport is not None:
        cast("_FilteringHandler", handler).watch(response.content)


def _finite(seconds: float | None) -> float | None:
    return seconds if seconds is not None and isfinite(seconds) else None


@lru_cache(maxsize=64)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


def _is_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _httpx_error(exc: Exception) -> httpx.TransportError:
    # The order counts: aiohttp's timeouts are also its client errors, and `OSError`s.
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return httpx.ConnectError(str(exc.certificate_error))
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(str(exc.os_error))
        case aiohttp.ConnectionTimeoutError():
            kind: type[httpx.TransportError] = httpx.ConnectTimeout
        case aiohttp.ServerTimeoutError():
            kind = httpx.ReadTimeout
        case TimeoutError():
            kind = TotalTimeout
        case (
            aiohttp.ClientResponseError()
            | aiohttp.ClientPayloadError()
            | aiohttp.ServerDisconnectedError()
        ):
            kind = httpx.RemoteProtocolError
        case aiohttp.ClientError() | OSError():
            kind = httpx.ReadError
        case _:
            kind = httpx.LocalProtocolError
    return kind(type(exc).__name__)
