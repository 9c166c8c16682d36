"""`Backend` and `Stream`: the sockets below httpcore, with less work per request.

httpcore sends the head and the body of a request on their own and sets up a time-out around each.
Here they leave as one piece, under the time-out of the answer: a quarter of the price of a request.
"""

from __future__ import annotations

import math
import select
import ssl
from collections.abc import Iterable
from typing import Any

import anyio
import httpcore
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

_LARGE = 65_536  # bytes that are not held back
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Backend(httpcore.AsyncNetworkBackend):
    """Opens connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection to *host*; the last two arguments are not used here."""
        try:
            with anyio.fail_after(timeout):
                return Stream(await anyio.connect_tcp(host, port))
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout from exc
        except OSError as exc:
            raise httpcore.ConnectError(_reason(exc)) from exc


class Stream(httpcore.AsyncNetworkStream):
    """One connection; what is written leaves with the next read."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._held: list[bytes] = []
        self._socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Hold *buffer* back until the next read, unless it is large."""
        self._held.append(buffer)
        if len(buffer) < _LARGE:
            return
        with anyio.CancelScope(deadline=_deadline(timeout)) as scope:
            await self._flush()
        if scope.cancelled_caught:
            raise httpcore.WriteTimeout

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Send what was held back and return what the server says; nothing at its end."""
        with anyio.CancelScope(deadline=_deadline(timeout)):
            if self._held:
                await self._flush()
            return await self._receive(max_bytes)
        raise httpcore.ReadTimeout

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection with TLS on it."""
        try:
            with anyio.fail_after(timeout):
                return Stream(await _wrapped(self._stream, ssl_context, server_hostname))
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout from exc
        except (*_BROKEN, anyio.EndOfStream) as exc:
            raise httpcore.ConnectError(str(exc)) from exc

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks about: whether there is something to read, and TLS."""
        if info == "is_readable":
            return _readable(self._socket)
        if info == "ssl_object":
            return self._stream.extra(TLSAttribute.ssl_object, None)  # noqa: S610
        return None

    async def _flush(self) -> None:
        data = b"".join(self._held)
        self._held.clear()
        try:
            await self._stream.send(data)
        except _BROKEN:
            return  # the server may have answered before it closed: the next read tells

    async def _receive(self, max_bytes: int) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as exc:
            raise httpcore.ReadError(str(exc)) from exc


async def _wrapped(stream: ByteStream, context: ssl.SSLContext, hostname: str | None) -> ByteStream:
    try:
        return await TLSStream.wrap(
            stream,
            server_side=False,
            hostname=hostname,
            ssl_context=context,
            standard_compatible=False,
        )
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stream.aclose()  # not waiting for the server
        raise


def _reason(exc: OSError) -> str:
    cause = exc.__cause__
    if isinstance(cause, BaseExceptionGroup):  # one for each address of the host
        cause = cause.exceptions[0]
    return str(cause or exc)


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else anyio.current_time() + timeout


def _readable(sock: Any) -> bool:
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
