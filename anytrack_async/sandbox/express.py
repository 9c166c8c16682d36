"""The short way through HTTP/1.1 for plain requests: bytes in, bytes out, no task, no framework.

A server's usual path costs several times what a stand-in does with a request, and the machine has
the client under test to run. What is not plain (chunked bodies, `Expect`, upgrades, the last
request of a connection) is left to uvicorn.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal
from urllib.parse import unquote

import attrs

from anytrack_async.sandbox.wire import Reply, Request

_METHODS = frozenset((b"GET", b"POST", b"PUT", b"PATCH"))
_SPECIAL = frozenset((b"transfer-encoding", b"expect", b"upgrade"))
_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


@attrs.frozen
class Head:
    """The start of a request: what it asks for, and where its body begins and ends."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: int
    end: int

    def request(self, held: bytearray) -> Request:
        """Return the request whose bytes *held* starts with."""
        path, _, query = self.target.partition("?")
        return Request(
            self.method,
            unquote(path) if "%" in path else path,
            query.encode(),
            self.headers,
            bytes(held[self.body : self.end]),
        )


def head(held: bytearray) -> Head | Literal["more", "odd"]:
    """Return the head of the request *held* starts with.

    ``"more"`` if it has not arrived yet, ``"odd"`` if it is none for the short way.
    """
    stop = held.find(b"\r\n\r\n")
    if stop < 0:
        return "more"
    first, *lines = bytes(held[:stop]).split(b"\r\n")
    start = first.split(b" ")
    if start[0] not in _METHODS or start[2:] != [b"HTTP/1.1"]:
        return "odd"
    headers, length = [], 0
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        headers.append((name, value))
        if name == b"content-length":
            length = int(value)
        elif name in _SPECIAL or (name == b"connection" and value.lower() != b"keep-alive"):
            return "odd"
    body = stop + 4
    return Head(start[0].decode(), start[1].decode("latin-1"), headers, body, body + length)


def answer(reply: Reply, more: list[tuple[bytes, bytes]]) -> bytes:
    """Return *reply* as bytes, with the headers *more* besides its own."""
    fields = b"".join([b"%b: %b\r\n" % field for field in (*more, *reply.fields)])
    return b"".join((_LINES[reply.status], fields, b"\r\n", reply.body))
