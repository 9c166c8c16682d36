"""HTTP protocols for uvicorn, with a short way for plain requests and a way to break connections.

A reset, or half an answer, cannot be said in ASGI. So each connection puts `hang_up` into the
application's state, which reaches every request's scope.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from anytrack_async.sandbox import express

if TYPE_CHECKING:
    from anytrack_async.sandbox.app import SandboxApp

Farewell = Literal["reset", "close", "flush"]
"""`reset`: what a crash looks like · `close`: drop it, whatever is unsent ·
`flush`: send what was written, then close."""

# Linger on, for no time at all: the kernel resets the connection instead of closing it.
_RESET = struct.pack("ii", 1, 0)


class _SandboxProtocol(asyncio.Protocol):
    """What is ours in a protocol, to be mixed into one of uvicorn's."""

    app: SandboxApp
    app_state: dict[str, Any]
    server_state: ServerState
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "hang_up": _farewell(transport)}
        self._held = bytearray()
        self._odd = False
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._odd:
            super().data_received(data)
            return
        self._held += data
        while self._held and self._answer_next():
            pass

    def _answer_next(self) -> bool:
        head = express.head(self._held)
        if head == "more" or (head != "odd" and len(self._held) < head.end):
            return False
        reply = None if head == "odd" else self.app.express(head.request(self._held))
        if head == "odd" or reply is None:
            self._leave()
            return False
        self.transport.write(express.answer(reply, self.server_state.default_headers))
        del self._held[: head.end]
        return True

    def _leave(self) -> None:
        # For good: only uvicorn knows when a request that it began is over.
        self._odd = True
        held, self._held = bytes(self._held), bytearray()
        super().data_received(held)


class SandboxH11(_SandboxProtocol, H11Protocol):
    """uvicorn's pure-Python protocol."""


def http_protocol() -> type[asyncio.Protocol]:
    """Return the fastest protocol there is."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return SandboxH11
    return type("SandboxHttpTools", (_SandboxProtocol, HttpToolsProtocol), {})


def _farewell(transport: asyncio.Transport) -> Callable[[Farewell], None]:
    def hang_up(how: Farewell) -> None:
        if how == "flush":
            transport.close()
            return
        if how == "reset":
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    return hang_up
