"""HTTP protocols for uvicorn, with a short way for plain requests and a way to break connections.

A reset, or half an answer, cannot be said in ASGI. So each connection puts `hang_up` into the
application's state, which reaches every request's scope.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from anytrack_async.sandbox import express

if TYPE_CHECKING:
    from anytrack_async.sandbox.app import SandboxApp
    from anytrack_async.sandbox.faults import FaultKind
    from anytrack_async.sandbox.gate import Farewell, Gate
    from anytrack_async.sandbox.wire import Request

# Linger on, for no time at all: the kernel resets the connection instead of closing it.
_RESET = struct.pack("ii", 1, 0)


class _SandboxProtocol(asyncio.Protocol):
    """What is ours in a protocol, to be mixed into one of uvicorn's."""

    app: SandboxApp
    app_state: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    server_state: ServerState
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._hang_up = _hanging_up(transport)
        self.app_state = {**self.app_state, "hang_up": self._hang_up}
        self._held = bytearray()
        self._odd = self._busy = False
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._odd:
            super().data_received(data)
            return
        self._held += data
        self._answer_held()

    def _answer_held(self) -> None:
        while self._held and not self._busy and self._answer_next():
            pass

    def _answer_next(self) -> bool:
        head = express.head(self._held)
        if head == "more" or (head != "odd" and len(self._held) < head.end):
            return False
        gate = None if head == "odd" else self.app.gate(head.path)
        if head == "odd" or gate is None:
            self._leave()
            return False
        request = head.request(self._held)
        del self._held[: head.end]
        fault = gate.enter()
        if wait := gate.wait(fault):
            self._busy = True
            self.loop.call_later(wait, self._answer_late, gate, request, fault)
        else:
            self._answer(gate, request, fault)
        return not self.transport.is_closing()

    def _answer_late(self, gate: Gate, request: Request, fault: FaultKind | None) -> None:
        self._busy = False
        self._answer(gate, request, fault)
        self._answer_held()

    def _answer(self, gate: Gate, request: Request, fault: FaultKind | None) -> None:
        # Also if the client has gone: a service does not notice that before it has done the work.
        ending = gate.end(request, fault)
        if ending.reply is not None and not self.transport.is_closing():
            self.transport.write(express.answer(ending.reply, self.server_state.default_headers))
        if ending.farewell is not None:
            self._hang_up(ending.farewell)

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


def _hanging_up(transport: asyncio.Transport) -> Callable[[Farewell], None]:
    def hang_up(farewell: Farewell) -> None:
        if farewell == "flush":
            transport.close()
            return
        if farewell == "reset" and not transport.is_closing():
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    return hang_up
