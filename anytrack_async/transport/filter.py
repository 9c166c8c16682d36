"""`ResponseFilter`: the bytes of a response, limited and in one form, on their way to a parser.

The HTTP parsers of the engines, h11 and llhttp, differ in their limits and in the faults that they
forgive. The filter reads a response before them: it counts, drops the parts that the client has no
use for (informational responses, chunk extensions, trailers, bytes behind the response), and
rewrites the unusual. A parser behind it gets one plain response, so all engines behave alike.

A usual response, with one `Content-Length`, costs one regular expression over its head and passes
without a copy (`_USUAL`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import httpx

from anytrack_async.settings.http import ResponseLimits
from anytrack_async.transport.message import LimitExceeded, body_limit

_FRAMING_SHARE = 4  # a chunked body may add a byte of framing to every four bytes of data
_TEXT = rb"[^\x00\r\n\v\f]*+"
_HEADER = rb"[!#-'*+\-.0-9A-Z^-z|~]++:" + _TEXT
_HEAD_END = re.compile(rb"\n\r?\n")
_HEAD = re.compile(
    rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: " + _TEXT + rb")?"
    rb"(?:\r?\n" + _HEADER + rb")*+\r?\n\r?\n"
)
_OTHER_HEADERS = (
    rb"(?:\r\n(?![Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[LlEe]|[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-)"
    + _HEADER
    + rb")*+"
)
# A head with one length, without content and transfer codings, of a response with a body.
_USUAL = re.compile(
    rb"HTTP/1\.[01] (?!204|304)[2-9][0-9]{2}(?: "
    + _TEXT
    + rb")?"
    + _OTHER_HEADERS
    + rb"\r\n[Cc]ontent-[Ll]ength:[ \t]*+([0-9]{1,20})[ \t]*+"
    + _OTHER_HEADERS
    + rb"\r\n\r\n"
)
_FOLD = re.compile(rb"[ \t]*+\r?\n[ \t]++")
_FRAMING = re.compile(
    rb"\n(content-length|transfer-encoding):[ \t]*+([^\r\n]*?)[ \t]*\r?(?=\n)", re.IGNORECASE
)
_CODING = re.compile(rb"\ncontent-encoding:([^\r\n]*+)", re.IGNORECASE)
_EMPTY_STATUSES = frozenset((b"204", b"304"))  # without a body, whatever the headers say
_LENGTH = re.compile(rb"[0-9]{1,20}")
# The size of a chunk, with the line end of the chunk before it.
_CHUNK_START = re.compile(rb"\r\n([0-9A-Fa-f]{1,20})(?:;[^\r\n]*+)?[ \t]*\r\n")
_LINE_END = b"\r\n"
_NO_HEADERS: Mapping[str, str] = {}


# The parts of a response, as plain numbers: a member of an `Enum` takes longer to look up.
_HEAD_PART: Final = 0
_SIZED: Final = 1  # a body of known length, or none
_CHUNKED: Final = 2
_TRAILERS: Final = 3
_UNSIZED: Final = 4  # a body that ends with the connection


class ResponseFilter:
    """The responses of one connection, one after the other.

    Args:
        limits: of each response.

    Attributes:
        body_headers: those headers of the last head that describe the body, in lower case; none if
            the response is a usual one.
        surplus: whether the server has sent bytes behind the response; they are dropped, and the
            connection is not fit for another request.
        whole: whether the response is a usual one and has arrived in one piece.
    """

    def __init__(self, limits: ResponseLimits) -> None:
        self._limits = limits
        self._small_size = min(limits.max_body, limits.max_reply)  # bytes of any allowed body
        # Bytes of a head within both of its limits: a header is at least "a:\r\n".
        self._small_head = min(limits.max_head, 4 * limits.max_headers)
        self._part = _SIZED
        self._remaining = 0  # bytes until the end of a sized body, or of the current chunk
        self._held = b""  # the start of a head or line that has not arrived whole
        self._method = "GET"
        self._has_body = True
        self._at_start = True  # nothing of the response has arrived, and it has a body
        self._informational = 0
        self._body_limit = ("max_body", limits.max_body)
        self._framing = 0  # bytes of a chunked body that are not data
        self._data = 0  # bytes of a body of unknown length
        self.body_headers = _NO_HEADERS
        self.surplus = self.whole = False

    def start(self, method: str) -> None:
        """Expect the response to a request with *method*."""
        self._part = _HEAD_PART
        self._at_start = self._has_body = method != "HEAD"
        self._method = method
        self.surplus = self.whole = False

    @property
    def ended(self) -> bool:
        """Whether the response has arrived to its end; also before the first one."""
        return self._part == _SIZED and not self._remaining

    def feed(self, data: bytes) -> bytes:
        """Return the parser's input for *data*, the next bytes from the server.

        Raises:
            LimitExceeded: head, headers, body, framing or informational responses are over their
                limit.
            httpx.RemoteProtocolError: the response is not valid HTTP.
        """
        if self._at_start:
            self._at_start = False
            if head := _USUAL.match(data):
                end, length = head.end(), int(head[1])
                remaining = end + length - len(data)
                if remaining >= 0 and length <= self._small_size and end <= self._small_head:
                    self._part, self._remaining = _SIZED, remaining
                    self.whole = not remaining
                    self.body_headers = _NO_HEADERS
                    return data
        part = self._part
        if part == _SIZED:
            return self._feed_sized(data)
        if part == _HEAD_PART:
            return self._feed_head(data)
        if part == _CHUNKED:
            return self._feed_chunked(data)
        return self._feed_trailers(data) if part == _TRAILERS else self._feed_unsized(data)

    # The head

    def _feed_head(self, data: bytes) -> bytes:
        search_from = max(len(self._held) - 2, 0)
        data = self._held + data
        while end := _HEAD_END.search(data, search_from):
            head, data = data[: end.end()], data[end.end() :]
            self._check_head(head)
            if passed := self._read_head(head):
                self._held = _LINE_END if self._part is _CHUNKED else b""
                return passed + self.feed(data) if data else passed
            search_from = 0
        self._check_head(data)
        self._held = data
        return b""

    def _check_head(self, head: bytes) -> None:
        limits = self._limits
        if self._fits(len(head), head.count(b"\n")):
            return
        if self._fits(0, head.count(b"\n", 0, limits.max_head)):
            raise LimitExceeded("max_head", limits.max_head)
        raise LimitExceeded("max_headers", limits.max_headers)

    def _fits(self, size: int, lines: int) -> bool:
        # The lines include the status line and the empty line.
        return size <= self._limits.max_head and lines <= self._limits.max_headers + 2

    def _read_head(self, head: bytes) -> bytes | None:
        """Return *head* for the parser; None if it is of an informational response."""
        if b"\n " in head or b"\n\t" in head:
            head = _FOLD.sub(b" ", head)  # a header on several lines, as RFC 9112 (5.2) demands
        match = _HEAD.fullmatch(head)
        if match is None:
            raise httpx.RemoteProtocolError("the head of the response is not valid")
        status = match[1]
        if status < b"200":
            self._count_informational(status)
            return None
        self._informational = 0
        fields = _FRAMING.findall(head)
        framing = self._read_framing(status, fields)
        self.body_headers = _body_headers(head, framing)
        if not fields or (framing and len(fields) == 1 and b"," not in fields[0][1]):
            return head
        # The same length twice, a length beside chunks, either without a body: the parser gets what
        # holds.
        head = _FRAMING.sub(b"", head)
        return head if framing is None else head.replace(b"\n", b"\n" + framing + _LINE_END, 1)

    def _count_informational(self, status: bytes) -> None:
        if status == b"101":
            raise httpx.RemoteProtocolError("the server switches protocols unasked")
        self._informational += 1
        if self._informational > self._limits.max_informational:
            raise LimitExceeded("max_informational", self._limits.max_informational)

    def _read_framing(self, status: bytes, fields: list[tuple[bytes, bytes]]) -> bytes | None:
        """Note how the body ends, and return the header that says so.

        Source: RFC 9112, section 6.3.
        """
        self._part, self._remaining = _SIZED, 0
        self._framing = self._data = 0
        self._body_limit = body_limit(self._limits, self._method, int(status))
        if not self._has_body or status in _EMPTY_STATUSES:
            return None
        if codings := [value.lower() for name, value in fields if name[:1] in b"Tt"]:
            if codings != [b"chunked"]:
                raise httpx.RemoteProtocolError("the transfer coding is not supported")
            self._part = _CHUNKED
            return b"Transfer-Encoding: chunked"
        if not fields:
            self._part = _UNSIZED
            return None
        length = _one_length(value for _, value in fields)
        self._remaining = int(length)
        self._check_body(self._remaining)
        return b"Content-Length: " + length

    # The body

    def _check_body(self, size: int) -> None:
        # `BodyReader` counts what is decompressed.
        setting, limit = self._body_limit
        if size > limit:
            raise LimitExceeded(setting, limit)

    def _feed_sized(self, data: bytes) -> bytes:
        if len(data) > self._remaining:
            self.surplus = True
            data = data[: self._remaining]
        self._remaining -= len(data)
        return data

    def _feed_unsized(self, data: bytes) -> bytes:
        self._data += len(data)
        self._check_body(self._data)
        return data

    def _feed_chunked(self, data: bytes) -> bytes:
        # The chunks of one read become a single one: "1\r\na\r\n1\r\nb\r\n" → "2\r\nab\r\n". A body
        # in chunks of one byte, which costs a parser more than ten times as much, is cheap this
        # way.
        data = self._held + data
        pieces: list[bytes] = []
        position = self._take_chunk(data, 0, pieces)
        while not self._remaining and (start := _CHUNK_START.match(data, position)):
            self._count_framing(start.end() - position)
            position = start.end()
            self._remaining = int(start[1], 16)
            if not self._remaining:
                self._part, self._held = _TRAILERS, b"\n"
                return _one_chunk(pieces) + self._feed_trailers(data[position:])
            position = self._take_chunk(data, position, pieces)
        self._held = data[position:]
        if not self._remaining:
            self._check_chunk_start()
        return _one_chunk(pieces)

    def _take_chunk(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = position + self._remaining
        piece = data[position:end]
        if piece:
            pieces.append(piece)
            self._remaining -= len(piece)
            self._data += len(piece)
            self._check_body(self._data)
        return position + len(piece)

    def _check_chunk_start(self) -> None:
        # "\r\n5;ext" may still become valid; "5\r\n", without the line end of the last chunk, and
        # "\r\nfive\r\n" may not.
        pending = self._held
        if pending[:2] != _LINE_END[: len(pending)] or b"\n" in pending[2:]:
            raise httpx.RemoteProtocolError("a chunk of the response is not valid")
        if len(pending) > self._limits.max_head:
            raise LimitExceeded("max_head", self._limits.max_head)

    def _feed_trailers(self, data: bytes) -> bytes:
        data = self._held + data
        end = _HEAD_END.search(data)
        self._count_framing((end.end() if end else len(data)) - len(self._held))
        if end is None:
            self._held = data[-2:]  # enough to recognise an empty line
            return b""
        self._part, self._held, self._remaining = _SIZED, b"", 0
        self.surplus = end.end() < len(data)
        return b"0\r\n\r\n"

    def _count_framing(self, size: int) -> None:
        self._framing += size
        if self._framing > self._limits.max_head + self._data // _FRAMING_SHARE:
            raise LimitExceeded("max_head", self._limits.max_head)


def _one_chunk(pieces: list[bytes]) -> bytes:
    data = b"".join(pieces)
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _one_length(values: Iterable[bytes]) -> bytes:
    # "5, 5" and "5" are one length; "5, 6" is none.
    lengths = {length.strip(b" \t") for value in values for length in value.split(b",")}
    length = lengths.pop()
    if lengths or not _LENGTH.fullmatch(length):
        raise httpx.RemoteProtocolError("the content length is not valid")
    return length


def _body_headers(head: bytes, framing: bytes | None) -> dict[str, str]:
    headers = {}
    if codings := _CODING.findall(head):
        headers["content-encoding"] = b",".join(codings).decode("latin-1")
    if framing:
        name, _, value = framing.decode().partition(": ")
        headers[name.lower()] = value
    return headers
