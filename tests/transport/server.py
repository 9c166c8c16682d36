"""A server on loopback that answers with raw bytes: what no HTTP library would send."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import attrs
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

CERTIFICATE = Path(__file__).parent / "certificates" / "localhost.pem"


@attrs.define
class Wire:
    """One connection, as the server has it."""

    stream: ByteStream
    number: int

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def hang_up(self) -> None:
        """Close with a reset instead of a polite end."""
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()


Handler = Callable[["Wire", bytes, bytes], Awaitable[bool | None]]
"""Gets the wire, head and body of a request; True closes the connection."""


def reply(body: bytes = b"{}", status: int = 200, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ok(wire: Wire, head: bytes, body: bytes) -> None:
    await wire.send(reply())


@attrs.define
class Server:
    """What happened on the server's side."""

    handler: Handler
    port: int = 0
    secure: bool = False
    connections: int = 0
    open: int = 0
    requests: list[tuple[int, bytes, bytes]] = attrs.field(factory=list)
    ended: anyio.Event = attrs.field(factory=anyio.Event)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.secure else f"http://127.0.0.1:{self.port}"

    async def talk(self, stream: ByteStream) -> None:
        self.connections += 1
        self.open += 1
        wire = Wire(stream, self.connections)
        try:
            async with stream:
                await self._talk(wire, BufferedByteReceiveStream(stream))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            pass
        except (anyio.ClosedResourceError, OSError):
            pass
        finally:
            self.open -= 1
            self.ended.set()
            self.ended = anyio.Event()

    async def _talk(self, wire: Wire, incoming: BufferedByteReceiveStream) -> None:
        while True:
            head = await incoming.receive_until(b"\r\n\r\n", 65_536)
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            body = await incoming.receive_exactly(length) if length else b""
            self.requests.append((wire.number, head, body))
            if await self.handler(wire, head, body):
                return

    async def all_closed(self) -> None:
        """Return once no connection is open."""
        with anyio.fail_after(5):
            while self.open:
                await self.ended.wait()


@asynccontextmanager
async def serving(handler: Handler = ok, *, secure: bool = False) -> AsyncIterator[Server]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Server(handler, secure=secure)
    server.port = listener.extra(SocketAttribute.local_port)
    if secure:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE)
        listener = TLSListener(listener, context, standard_compatible=False)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server.talk)
            try:
                yield server
            finally:
                tasks.cancel_scope.cancel()
    finally:
        await listener.aclose()


def trusting() -> ssl.SSLContext:
    """A context that verifies, and trusts the certificate of `serving`."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))
