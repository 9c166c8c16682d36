"""`Connection`: one connection to a server, HTTP by h11, bytes by anyio; and how it is opened."""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from socket import AF_INET, AF_INET6
from threading import Lock
from typing import Any, TypeAlias, cast

import anyio
import anyio.to_thread
import h11
import httpx
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.http import ResponseLimits
from anytrack_async.transport.body import BodyReader
from anytrack_async.transport.dns import Address, resolve
from anytrack_async.transport.filter import ResponseFilter
from anytrack_async.transport.message import LimitExceeded, Request, Response, TotalTimeout

_READ_SIZE = 65_536  # bytes
_LONG_REQUEST = 65_536  # bytes of a body, which may not fit into the buffers of the connection
_PIECE = 1_048_576  # bytes that are encrypted at a time, in about a millisecond
_CLOSE_TIMEOUT = 1.0  # seconds
_ATTEMPT_DELAY = 0.25  # seconds before the next address is tried too
DEFAULT_PORTS = {"http": 80, "https": 443}
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_DEFAULT_LIMITS = ResponseLimits()
_STREAM_ERRORS = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,  # the server wants a new TLS key while a long request is being sent
    OSError,
)

_Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Connection:
    """One connection, which carries one request after the other.

    Args:
        stream: to the server; closed with the connection.
        timeout: seconds for each read or write.
        limits: of each response.

    Attributes:
        reusable: whether the last exchange left the connection fit for another one.
    """

    def __init__(
        self, stream: ByteStream, *, timeout: float, limits: ResponseLimits = _DEFAULT_LIMITS
    ) -> None:
        self._stream = stream
        self._timeout = timeout
        self._limits = limits
        self._filter = ResponseFilter(limits)
        self._socket: Any = None
        self._events: Callable[[], Sequence[Any]] = tuple  # of the socket, once it was idle
        # The filter limits the head. Behind it, h11 waits for a whole event only while the filter
        # holds back the rest of a head.
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.max_head)
        self._sent = False  # the whole request
        self.reusable = False

    @property
    def stale(self) -> bool:
        """Whether the server closed the idle connection, or sent bytes without a request."""
        if self._socket is None:
            self._socket = self._stream.extra(SocketAttribute.raw_socket)  # noqa: S610
            if self._socket.fileno() >= 0:
                ssl_object = self._stream.extra(TLSAttribute.ssl_object, None)  # noqa: S610
                self._events = readable_events(self._socket, ssl_object)
        return self._socket.fileno() < 0 or bool(self._events())

    async def exchange(self, request: Request, deadline: float) -> Response:
        """Send *request* and read the response.

        Args:
            request: what to send.
            deadline: when to give up, on anyio's clock.

        Raises:
            httpx.TransportError: there is no response; the connection must be closed.
        """
        self.reusable = self._sent = False
        # One cancel scope for the whole exchange: entering a scope is a good part of the cost.
        # The scope's deadline moves with each step: with a timeout of 30 s and a deadline at
        # t = 120 s, the write may last until t = 30, and a read that starts at t = 100 until 120.
        with anyio.CancelScope(deadline=self._next_deadline(deadline)) as scope:
            if request.content and len(request.content) > _LONG_REQUEST:
                response = await self._exchange_long(request, scope, deadline)
            else:
                # The serialised request is freed once it is sent, while the server works on it.
                self._sent = await self._send(self._serialise(request))
                response = await self._receive(request, scope, deadline)
            self.reusable = self._sent and self._start_next_cycle()
            return response
        timeout_error = httpx.ReadTimeout if self._sent else httpx.WriteTimeout
        raise (TotalTimeout if anyio.current_time() >= deadline else timeout_error)("too slow")

    async def aclose(self) -> None:
        """Close the connection; wait for the server's part of a TLS shutdown for a second."""
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await self._stream.aclose()

    def _next_deadline(self, deadline: float) -> float:
        return min(deadline, anyio.current_time() + self._timeout)

    def _serialise(self, request: Request) -> bytes:
        host, target = _split_url(request.url)
        headers = [("Host", host), *request.headers.items()]
        content = request.content
        if content is not None or request.method in _METHODS_WITH_BODY:
            headers.append(("Content-Length", str(len(content or b""))))
        send = self._http.send
        try:
            head = send(h11.Request(method=request.method, target=target, headers=headers))
            body = send(h11.Data(data=content)) if content else None
            send(h11.EndOfMessage())
        except h11.LocalProtocolError as exc:
            raise httpx.LocalProtocolError(str(exc)) from exc
        return (head or b"") + (body or b"")

    async def _exchange_long(
        self, request: Request, scope: anyio.CancelScope, deadline: float
    ) -> Response:
        """Send *request* in pieces, and read the response from the start.

        A server may refuse a long request (413, for example) before it has read all of it, and then
        close the connection, or leave the rest unread. The response must have been read by then.
        """
        responses: list[Response] = []
        errors: list[Exception] = []

        async def receive() -> None:
            try:
                responses.append(await self._receive(request, scope, deadline))
            except Exception as exc:
                errors.append(exc)  # raised below, outside of the task group
            if errors or not responses[0].success:
                tasks.cancel_scope.cancel()

        data = memoryview(self._serialise(request))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            for start in range(0, len(data), _PIECE):
                if not await self._send(data[start : start + _PIECE]):
                    break
            else:
                self._sent = True
                scope.deadline = self._next_deadline(deadline)
            data.release()
        if errors:
            raise errors[0]
        return responses[0]

    async def _send(self, data: bytes | memoryview) -> bool:
        try:
            await self._stream.send(data)  # type: ignore[arg-type]  # takes any buffer
        except _STREAM_ERRORS:
            return False  # a response may have arrived before
        return True

    async def _receive(
        self, request: Request, scope: anyio.CancelScope, deadline: float
    ) -> Response:
        self._filter.start(request.method)
        head = cast("h11.Response", await self._next_event(scope, deadline))
        if "content-encoding" in self._filter.body_headers:
            content = await self._receive_compressed(request, head.status_code, scope, deadline)
        else:
            content = await self._receive_body(scope, deadline)
        headers = httpx.Headers(head.headers.raw_items())
        return request.build_response(head.status_code, headers, content)

    async def _receive_body(self, scope: anyio.CancelScope, deadline: float) -> bytes:
        pieces = []
        try:
            while isinstance(event := await self._next_event(scope, deadline), h11.Data):
                pieces.append(bytes(event.data))
        except LimitExceeded:
            pieces.clear()  # the error's traceback may keep the list for a while, not its 8 MB
            raise
        return b"".join(pieces)

    async def _receive_compressed(
        self, request: Request, status: int, scope: anyio.CancelScope, deadline: float
    ) -> bytes:
        body = BodyReader(request, status, self._filter.body_headers, self._limits)
        while isinstance(event := await self._next_event(scope, deadline), h11.Data):
            await body.add(bytes(event.data))
        return body.content()

    async def _next_event(self, scope: anyio.CancelScope, deadline: float) -> _Event:
        http = self._http
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                scope.deadline = self._next_deadline(deadline)
                data = await self._read()
                passed = data and self._filter.feed(data)
                if passed or not data:  # to h11, no bytes are the end of the connection
                    http.receive_data(passed)
        except h11.RemoteProtocolError as exc:
            raise httpx.RemoteProtocolError(str(exc)) from exc
        return event

    async def _read(self) -> bytes:
        try:
            return await self._stream.receive(_READ_SIZE)
        except anyio.EndOfStream:
            return b""
        except _STREAM_ERRORS as exc:
            raise httpx.ReadError(str(exc)) from exc

    def _start_next_cycle(self) -> bool:
        http = self._http
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return False  # HTTP/1.0, `Connection: close`, or a body that ends with the connection
        if self._filter.surplus or http.trailing_data != (b"", False):
            return False  # the server sends what nobody asked for, or has closed the connection
        http.start_next_cycle()
        return True


@lru_cache(maxsize=64)
def _split_url(url: str) -> tuple[str, str]:
    # "https://api.test:8443/v1/a?q=1" → "api.test:8443", "/v1/a?q=1"
    parsed = httpx.URL(url)
    return parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii")


def readable_events(
    sock: Any, ssl_object: ssl.SSLObject | None = None
) -> Callable[[], Sequence[Any]]:
    """Return a function that lists events while *sock* has bytes to read or its peer has closed.

    Args:
        sock: an open socket; once it is closed, the function must not be called any more.
        ssl_object: decrypts what is read from *sock*, and may have more than was asked for.
    """
    if ssl_object is not None:
        events = readable_events(sock)
        return lambda: events() or (["decrypted"] if has_more(ssl_object) else [])
    # select() cannot watch descriptors above 1,023.
    if not hasattr(select, "poll"):
        return lambda: select.select([sock], [], [], 0)[0]
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return partial(poll.poll, 0)


def has_more(ssl_object: ssl.SSLObject) -> bool:
    """Return whether *ssl_object* has bytes that were not asked for, or the connection's end."""
    # A second response comes in a TLS record of its own. It may have been read from the socket with
    # the first one; it then waits where the socket does not show it.
    try:
        ssl_object.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        pass
    return True  # bytes, the end of the connection, or an error


# Opening


async def connect(url: httpx.URL, context: ssl.SSLContext, *, timeout: float) -> ByteStream:
    """Return a stream to the host of *url*, with TLS for ``https``.

    Args:
        url: scheme, host and port.
        context: for TLS.
        timeout: seconds for the look-up and connecting, and again for the TLS handshake.

    Raises:
        httpx.ConnectError: the message gives the reason.
        httpx.ConnectTimeout: the look-up with connecting, or the handshake, takes longer than
            *timeout*.
    """
    try:
        return await _start_tls(await _connect_tcp(url, timeout), url, context, timeout)
    except TimeoutError as exc:
        raise httpx.ConnectTimeout("too slow") from exc
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        raise httpx.ConnectError(_describe_connect_error(exc)) from exc


async def _connect_tcp(url: httpx.URL, timeout: float) -> ByteStream:
    with anyio.fail_after(timeout):
        addresses = await resolve(_host(url))
        return await _connect_first(addresses, url.port or DEFAULT_PORTS[url.scheme])


async def _connect_first(addresses: Sequence[Address], port: int) -> ByteStream:
    """Connect to the first of *addresses* that answers.

    Happy Eyeballs: with addresses A, B and C, where A is slow and B refuses, A is tried at 0 ms, B
    at 250 ms, and C as soon as B has refused. Source: RFC 8305, section 5.
    """
    streams: list[ByteStream] = []
    errors: list[OSError] = []

    async def attempt(ip: str, ended: anyio.Event) -> None:
        try:
            streams.append(await anyio.connect_tcp(ip, port))
            tasks.cancel_scope.cancel()
        except OSError as exc:
            errors.append(exc)
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as tasks:
            for address in _by_turns(addresses):
                ended = anyio.Event()
                tasks.start_soon(attempt, address.ip, ended)
                with anyio.move_on_after(_ATTEMPT_DELAY):
                    await ended.wait()
        if not streams:
            raise errors[0]
        return streams.pop(0)
    finally:
        for stream in streams:  # two answered at the same time, or the task was cancelled
            await anyio.aclose_forcefully(stream)


def _by_turns(addresses: Sequence[Address]) -> list[Address]:
    # The first of each family comes first, so that a network without IPv6 costs one attempt.
    firsts = [
        next((address for address in addresses if address.family == family), None)
        for family in (AF_INET6, AF_INET)
    ]
    return list(dict.fromkeys(address for address in (*firsts, *addresses) if address))


async def _start_tls(
    stream: ByteStream, url: httpx.URL, context: ssl.SSLContext, timeout: float
) -> ByteStream:
    if url.scheme == "http":
        return stream
    try:
        with anyio.fail_after(timeout):
            return await TLSStream.wrap(
                stream,
                server_side=False,
                hostname=_host(url),
                ssl_context=context,
                standard_compatible=False,
            )
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stream.aclose()  # a plain TCP stream closes without waiting for the server
        raise


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _describe_connect_error(exc: Exception) -> str:
    return str(exc.__cause__ or exc)  # anyio's own message does not give the reason


_context_lock = Lock()


async def tls_context() -> ssl.SSLContext:
    """Return the TLS context of this process, which verifies certificates.

    Loading the CA file takes tens of milliseconds, so it is loaded once, in a worker thread.

    Raises:
        ConfigurationError: the file that `SSL_CERT_FILE` names cannot be read.
    """
    return await anyio.to_thread.run_sync(_shared_context)


def _shared_context() -> ssl.SSLContext:
    with _context_lock:
        try:
            return _load_context()
        except OSError as exc:
            raise ConfigurationError(f"cannot load the CA certificates: {exc}") from exc


@lru_cache(maxsize=1)
def _load_context() -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
