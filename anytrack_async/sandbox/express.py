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
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


@attrs.frozen
class Head:
    """The start of a request: what it asks for, and where its body begins and ends."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: int
    end: int

    def request(self, held: bytearray) -> Request:
        """Return the request whose bytes *held* starts with."""
        body = bytes(held[self.body : self.end])
        return Request(self.method, self.path, self.query, self.headers, body)


def head(held: bytearray) -> Head | Literal["more", "odd"]:
    """Return the head of the request *held* starts with.

    ``"more"`` if it has not arrived yet, ``"odd"`` if it is none for the short way.
    """
    stop = held.find(b"\r\n\r\n")
    if stop < 0:
        return "more"
    first, *lines = bytes(held[:stop]).split(b"\r\n")
    start = first.split(b" ")
    if start[0] not in _METHODS or start[2:] != [b"HTTP/1.1"] or not first.isascii():
        return "odd"
    headers, length = [], b"0"
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        headers.append((name, value))
        if name == b"content-length":
            length = value
        elif name in _SPECIAL or (name == b"connection" and value.lower() != b"keep-alive"):
            return "odd"
    if not length.isdigit():
        return "odd"
    path, _, query = start[1].partition(b"?")
    body = stop + len(b"\r\n\r\n")
    end = body + int(length)
    return Head(start[0].decode(), unquote(path.decode()), query, headers, body, end)


def answer(reply: Reply, more: list[tuple[bytes, bytes]]) -> bytes:
    """Return *reply* as bytes, with the headers *more* besides its own."""
    fields = b"".join([b"%b: %b\r\n" % field for field in (*more, *reply.fields)])
    # Proxies have statuses of their own, which have no phrase.
    phrase = _PHRASES.get(reply.status, b"")
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (reply.status, phrase, fields, reply.body)
