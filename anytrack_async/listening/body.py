"""The body of a webhook: received and decompressed within a limit, and in UTF-8.

AnyTrack sends plain JSON in UTF-8. A proxy or an automation service in between may compress it or
write it in UTF-16, and what is refused is lost: nobody sends it again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Content coding → the format of zlib's window: 31 is gzip, 15 is zlib (RFC 9110, section 8.4.1).
Some senders of "deflate" leave out the header of zlib, which is -15."""

_HEADERLESS: Final = -15


class UnreadableBodyError(Exception):
    """The body is compressed in a way that cannot be undone; the message says why."""


class TooLargeBodyError(Exception):
    """The body has too many bytes, as it is sent or once it is decompressed."""


class DisconnectedError(Exception):
    """The client is gone before its body ended."""


async def received_body(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], max_bytes: int
) -> bytes:
    """Return the body that ASGI's *receive* gives in parts.

    Raises:
        TooLargeBodyError: it has more than *max_bytes*.
        DisconnectedError: it never ended.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise TooLargeBodyError
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def readable_body(body: bytes, codings: bytes, max_bytes: int) -> bytes:
    """Return *body* without its content *codings*, in UTF-8 if it is UTF-16 or UTF-32.

    Args:
        body: as it was received.
        codings: the header ``Content-Encoding``, empty without one.
        max_bytes: that the result may have; of 10 KB of gzip that become 10 MB, no more than this
            is ever in memory.

    Raises:
        UnreadableBodyError: a coding is not known, or *body* is damaged.
        TooLargeBodyError: there is more.
    """
    for coding in reversed(codings.decode("latin-1").lower().replace(" ", "").split(",")):
        if coding in _WINDOWS:
            body = _decompressed(body, coding, max_bytes)
        elif coding not in ("", "identity") and not _looks_like_json(body):
            raise UnreadableBodyError(
                f"the body is compressed with {coding[:20]!r}: send it plain, or with gzip"
            )
    return _in_utf8(body)


def _decompressed(body: bytes, coding: str, max_bytes: int) -> bytes:
    if _looks_like_json(body):  # a proxy has decompressed it, and left the header
        return body
    for window in (_WINDOWS[coding], _HEADERLESS):
        reader = zlib.decompressobj(window)
        try:
            content = reader.decompress(body, max_bytes + 1)
        except zlib.error:
            continue
        if len(content) > max_bytes:
            raise TooLargeBodyError
        if reader.eof:
            return content
        break
    raise UnreadableBodyError(f"the body is damaged: it is no {coding}")


def _looks_like_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")


def _in_utf8(body: bytes) -> bytes:
    encoding = json.detect_encoding(body)
    if not encoding.startswith(("utf-16", "utf-32")):
        return body
    try:
        return body.decode(encoding, errors="replace").encode()
    except UnicodeError:  # half of a character at the end
        return body
