"""Serves an application with uvicorn: on a socket that is open already, until it is cancelled."""

from __future__ import annotations

import asyncio
import socket
from asyncio import BaseTransport, Transport
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import anyio
import uvicorn

_FINISHING = 10.0  # seconds in which requests may end after the server is told to stop
_KEEP_ALIVE = 30  # seconds that an idle connection is kept


class _JoiningTransport:
    """A connection that sends the head of an answer together with its body.

    uvicorn writes them one after the other. Together they are one packet and one call of the
    system, which saves about a twentieth of the time that a webhook takes.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send *data*; the head of an answer waits for the next write, to be sent in one piece."""
        if not self._head and data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self._flush)  # an answer to HEAD has no body
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def _flush(self) -> None:
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send the data that wait, then close."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _protocol() -> Any:
    """Return the argument ``http`` of uvicorn's `Config`: a protocol class, or its name."""
    if find_spec("httptools") is None:
        return "h11"
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class JoiningProtocol(HttpToolsProtocol):
        def connection_made(self, transport: BaseTransport) -> None:
            joining: Any = _JoiningTransport(transport)  # type: ignore[arg-type]
            super().connection_made(joining)

    return JoiningProtocol


class _Server(uvicorn.Server):
    """A server that leaves signals to the program around it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        OSError: the address is in use, or is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named. With it, each answer,
    # which is written in two parts, would wait 40 ms for the other side's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


async def serve(
    app: Callable[[Any, Any, Any], Awaitable[None]],
    listener: socket.socket,
    *,
    connections: int = 1_000,
) -> None:
    """Serve *app* on *listener* until the calling task is cancelled.

    After the cancellation, no connection is accepted any more, and requests in flight have ten
    seconds to end. There is no access log, because paths have the secret.

    Args:
        app: an ASGI application; its client must be open.
        listener: closed at the end.
        connections: connections at once; requests on further ones are answered 503.
    """
    server = _Server(
        uvicorn.Config(
            app,
            access_log=False,
            date_header=False,
            http=_protocol(),
            interface="asgi3",
            lifespan="off",
            limit_concurrency=connections,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=int(_FINISHING),
            timeout_keep_alive=_KEEP_ALIVE,
            ws="none",
        )
    )
    async with anyio.create_task_group() as tasks:
        # Shielded, so that cancellation does not cut off the requests in flight. Its deadline is
        # set when the server is told to stop.
        shield = anyio.CancelScope(shield=True)
        tasks.start_soon(_run, server, listener, shield)
        try:
            await anyio.sleep_forever()
        finally:
            server.should_exit = True
            shield.deadline = anyio.current_time() + _FINISHING + 1


async def _run(server: uvicorn.Server, listener: socket.socket, shield: anyio.CancelScope) -> None:
    with shield:
        await server.serve([listener])
