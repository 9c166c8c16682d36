"""`Connection`: one HTTP/1.1 connection, by h11 on a stream of anyio's."""

from __future__ import annotations

import select
from functools import lru_cache
from typing import Any, TypeAlias, cast

import anyio
import h11
import httpx
from anyio.abc import ByteStream, SocketAttribute

from anytrack_async.transport.message import Request, Response, TotalTimeout, decompress

_READ = 65_536  # bytes
_LONGEST_HEAD = 102_400  # bytes
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_CLOSING = 1.0  # seconds that closing may take

_Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Connection:
    """One connection, for one request after the other.

    Args:
        stream: to the server; closed with this.
        timeout: seconds for each read or write.
    """

    def __init__(self, stream: ByteStream, *, timeout: float) -> None:
        self._stream = stream
        self._timeout = timeout
        self._socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        self.reusable = False

    @property
    def stale(self) -> bool:
        """Whether the server closed the connection, or said something unasked, while it idled."""
        return _readable(self._socket)

    async def exchange(self, request: Request, end: float) -> Response:
        """Send *request* and read the response.

        One scope for all of it, whose deadline moves: scopes are a good part of the price.

        Args:
            request: what to send.
            end: when to give up, on anyio's clock.

        Raises:
            httpx.TransportError: there is no response; the connection must be closed.
        """
        self.reusable = False
        late: type[httpx.TimeoutException] = httpx.WriteTimeout
        with anyio.CancelScope(deadline=self._until(end)) as scope:
            sent = await self._send(self._packed(request))  # not kept while the server thinks
            late = httpx.ReadTimeout
            response = await self._receive(request, scope, end)
            self.reusable = sent and self._again()
            return response
        raise (TotalTimeout if anyio.current_time() >= end else late)("too slow")

    async def aclose(self) -> None:
        """Close the connection, not waiting long for the server."""
        with anyio.move_on_after(_CLOSING, shield=True):
            await self._stream.aclose()

    def _until(self, end: float) -> float:
        return min(end, anyio.current_time() + self._timeout)

    def _packed(self, request: Request) -> bytes:
        host, target = _parts(request.url)
        headers = [("Host", host), *request.headers.items()]
        content = request.content
        if content is not None or request.method in _WITH_BODY:
            headers.append(("Content-Length", str(len(content or b""))))
        send = self._http.send
        try:
            head = send(h11.Request(method=request.method, target=target, headers=headers))
            body = send(h11.Data(data=content)) if content else None
            send(h11.EndOfMessage())
        except h11.LocalProtocolError as exc:
            raise httpx.LocalProtocolError(str(exc)) from exc
        return (head or b"") + (body or b"")

    async def _send(self, data: bytes) -> bool:
        try:
            await self._stream.send(data)
        except _BROKEN:
            return False  # the server may have answered before it closed: reading tells
        return True

    async def _receive(self, request: Request, scope: anyio.CancelScope, end: float) -> Response:
        head = await self._next(scope, end)
        while isinstance(head, h11.InformationalResponse):
            head = await self._next(scope, end)
        response = cast("h11.Response", head)
        pieces = []
        while isinstance(event := await self._next(scope, end), h11.Data):
            pieces.append(bytes(event.data))
        headers = httpx.Headers(response.headers.raw_items())
        return request.build_response(
            response.status_code, headers, decompress(headers, b"".join(pieces))
        )

    async def _next(self, scope: anyio.CancelScope, end: float) -> _Event:
        http = self._http
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                scope.deadline = self._until(end)
                http.receive_data(await self._read())
        except h11.RemoteProtocolError as exc:
            raise httpx.RemoteProtocolError(str(exc)) from exc
        return event

    async def _read(self) -> bytes:
        try:
            return await self._stream.receive(_READ)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as exc:
            raise httpx.ReadError(str(exc)) from exc

    def _again(self) -> bool:
        http = self._http
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return False
        if http.trailing_data != (b"", False):  # it would be taken for the next response
            return False
        http.start_next_cycle()
        return True


@lru_cache(maxsize=64)
def _parts(url: str) -> tuple[str, str]:
    parsed = httpx.URL(url)
    return parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii")


def _readable(sock: Any) -> bool:
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
