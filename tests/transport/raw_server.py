"""A server on loopback that sends raw bytes: responses that no HTTP library would send."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
import attrs
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener


@attrs.define
class ServerConnection:
    """The server's end of one connection; connections are numbered from 1."""

    stream: ByteStream
    number: int

    async def send(self, data: bytes) -> None:
        """Send *data* as it is."""
        await self.stream.send(data)

    async def reset(self) -> None:
        """Close by a reset instead of an orderly shutdown."""
        sock = self.stream.extra(SocketAttribute.raw_socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()


Handler: TypeAlias = Callable[[ServerConnection, bytes, bytes], Awaitable[bool | None]]
"""Gets connection, head and body of a request; True closes the connection."""


def response_bytes(body: bytes = b"{}", status: int = 200, *headers: str) -> bytes:
    """Return a whole response."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def respond(connection: ServerConnection, head: bytes, body: bytes) -> None:
    """Send an empty JSON object."""
    await connection.send(response_bytes())


async def echo(connection: ServerConnection, head: bytes, body: bytes) -> None:
    """Send the request's body back."""
    await connection.send(response_bytes(body))


async def reset(connection: ServerConnection, head: bytes, body: bytes) -> bool:
    """Close by a reset."""
    await connection.reset()
    return True


async def close(connection: ServerConnection, head: bytes, body: bytes) -> bool:
    """Close without a response."""
    return True


async def cut_body(connection: ServerConnection, head: bytes, body: bytes) -> bool:
    """Close in the middle of the body."""
    await connection.send(response_bytes(b"x" * 100)[:-50])
    return True


async def cut_head(connection: ServerConnection, head: bytes, body: bytes) -> bool:
    """Close in the middle of the headers."""
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-")
    return True


async def garbage(connection: ServerConnection, head: bytes, body: bytes) -> bool:
    """Send bytes that are not HTTP."""
    await connection.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    return True


async def silence(connection: ServerConnection, head: bytes, body: bytes) -> None:
    """Send nothing until the client closes."""
    await connection.stream.receive()


async def drip(connection: ServerConnection, head: bytes, body: bytes) -> None:
    """Send a body that never ends, byte by byte."""
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        await connection.send(b".")
        await anyio.sleep(0.005)


@attrs.define
class RawServer:
    """A server on loopback, and what happened on its side.

    Attributes:
        connections: number of connections that were opened.
        open: number of connections that are open now.
        requests: connection number, head and body of each request.
    """

    handler: Handler
    url: str = ""
    connections: int = 0
    open: int = 0
    requests: list[tuple[int, bytes, bytes]] = attrs.field(factory=list)
    _ended: anyio.Event = attrs.field(factory=anyio.Event)

    async def serve(self, stream: ByteStream) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open += 1
        connection = ServerConnection(stream, self.connections)
        try:
            async with stream:
                await self._serve(connection, BufferedByteReceiveStream(stream))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            pass
        except (anyio.ClosedResourceError, OSError):
            pass
        finally:
            self.open -= 1
            self._ended.set()
            self._ended = anyio.Event()

    async def _serve(self, connection: ServerConnection, stream: BufferedByteReceiveStream) -> None:
        while True:
            head = await stream.receive_until(b"\r\n\r\n", 65_536)
            lines = head.lower().split(b"\r\n")
            lengths = [line for line in lines if line.startswith(b"content-length:")]
            length = int(lengths[0].split(b":")[1]) if lengths else 0
            body = await stream.receive_exactly(length) if length else b""
            self.requests.append((connection.number, head, body))
            if await self.handler(connection, head, body):
                return

    async def all_closed(self, remaining: int = 0) -> None:
        """Return once no more than *remaining* connections are open."""
        with anyio.fail_after(5):
            while self.open > remaining:
                await self._ended.wait()


@asynccontextmanager
async def serving(
    handler: Handler = respond, context: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Run a server, with TLS if there is a *context*."""
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = tcp.extra(SocketAttribute.local_port)
    server = RawServer(handler)
    server.url = f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}"
    listener: Listener[ByteStream] = tcp
    if context:
        listener = TLSListener(tcp, context, standard_compatible=False)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server.serve)
            try:
                yield server
            finally:
                tasks.cancel_scope.cancel()
    finally:
        await listener.aclose()
