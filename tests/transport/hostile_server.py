"""A server whose responses do not end, for the limits of responses; one thread a connection."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import TypeAlias

MOST = 200_000_000  # bytes that are sent if the client does not close the connection

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_LIST = _OK + b'Content-Length: 8388000\r\n\r\n{"data":['  # a list nearly as long as the limit
_ZEROS = bytes(65_536)


def _bomb(times: int = 1) -> bytes:
    data = bytes(1_000_000)
    member = gzip.compress(data)
    body = member * 2_000  # 2 MB that decompress to 2 GB
    for _ in range(times - 1):
        body = gzip.compress(body)
    codings = ", ".join(["gzip"] * times).encode()
    return _OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (codings, len(body)) + body


def _many(piece: bytes) -> bytes:
    return piece * (65_536 // len(piece))


_Response: TypeAlias = tuple[bytes, bytes]  # the start, and what follows without end

RESPONSES: Mapping[str, tuple[str, _Response]] = {
    # name → (the limit that it is over, response)
    "normal": ("", (_OK + b"Content-Length: 2\r\n\r\n{}", b"")),
    "announced": ("max_body", (_OK + b"Content-Length: 5000000000\r\n\r\n", _ZEROS)),
    "unsized": ("max_body", (_OK + b"\r\n", _ZEROS)),
    "chunked": ("max_body", (_CHUNKED, b"10000\r\n" + _ZEROS + b"\r\n")),
    "giant_chunk": ("max_body", (_CHUNKED + b"12A05F200\r\n", _ZEROS)),
    "bomb": ("max_body", (_bomb(), b"")),
    "nested_bomb": ("max_body", (_bomb(2), b"")),
    "empty_members": (
        "max_body",
        (_OK + b"Content-Encoding: gzip\r\n\r\n", _many(gzip.compress(b""))),
    ),
    "empty_records": ("max_body", (_LIST, _many(b"{},"))),
    "numbers": ("max_body", (_LIST, _many(b"0,"))),
    "short_texts": ("max_body", (_LIST, _many(b'"1234567890",'))),
    "informational": ("max_informational", (b"", _many(b"HTTP/1.1 103 E\r\n\r\n"))),
    "header_lines": ("max_head", (_OK, _many(b"X-Header: 0123456789" * 20 + b"\r\n"))),
    "short_header_lines": ("max_headers", (_OK, _many(b"a:\r\n"))),
    "one_header": ("max_head", (_OK + b"X: ", _ZEROS.replace(b"\0", b"x"))),
    "status_line": ("max_head", (b"", _ZEROS.replace(b"\0", b"x"))),
    "trailers": ("max_head", (_CHUNKED + b"2\r\n{}\r\n0\r\n", _many(b"a:\r\n"))),
    "one_trailer": ("max_head", (_CHUNKED + b"0\r\nX: ", _ZEROS.replace(b"\0", b"x"))),
    "extension": ("max_head", (_CHUNKED + b"2;", _ZEROS.replace(b"\0", b"x"))),
    "extensions": ("max_head", (_CHUNKED, _many(b"1;0123456789abcdef\r\nx\r\n"))),
    "small_chunks": ("max_head", (_CHUNKED, _many(b"1\r\nx\r\n"))),
}

NEEDS_FILTER = frozenset(("informational", "extensions", "small_chunks"))
"""Responses that an injected transport reads by itself; only body and time are limited there."""


@contextmanager
def hostile_server() -> Iterator[str]:
    """Run the server, and return its URL; ``/announced`` sends the response of that name."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while head := connection.recv(65_536):
            start, endless = RESPONSES[head.split()[1].decode()[1:]][1]
            connection.sendall(start)
            for piece in repeat(endless, MOST // len(endless) if endless else 0):
                connection.sendall(piece)
