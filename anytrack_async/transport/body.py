"""`BodyReader`: a response's body, limited and decompressed while it arrives."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import anyio.lowlevel
import httpx

from anytrack_async.settings.http import ResponseLimits
from anytrack_async.transport.message import LimitExceeded, Request, body_limit

_INPUT_SIZE = 4_096  # bytes that are decompressed at a time
_OUTPUT_SIZE = 65_536  # bytes that a step of decompression returns at most
_STEPS_PER_TURN = 32  # pieces, or steps of decompression: a millisecond between two checkpoints
_SMALL_PIECE = 1_024  # bytes
_MAX_CODINGS = 4
_GZIP_START = b"\x1f\x8b"
_UNSUPPORTED = frozenset({"br", "compress", "zstd"})


class BodyReader:
    """The body of one response.

    Requests ask for an uncompressed body; some proxies compress it regardless. A body of 2 MB that
    decompresses to 2 GB is cut off as soon as its first 8 MB, or whatever the limit is, are
    decompressed.

    A body that cannot be decompressed makes a success worthless. A failure is still worth its
    status, and has no body then.

    Args:
        request: which the response answers.
        status: of the response.
        headers: of the response, looked up case-insensitively.
        limits: of the body.

    Raises:
        LimitExceeded: the response announces a body over the limit.
        httpx.DecodingError: the compression of a success is not supported.
    """

    def __init__(
        self, request: Request, status: int, headers: Mapping[str, str], limits: ResponseLimits
    ) -> None:
        self._setting, self._limit = body_limit(limits, request.method, status)
        self._pieces: list[bytes | bytearray] = []
        self._steps = 0
        self._received = 0
        self._inflaters: Sequence[_Inflater] = ()
        self._success = 200 <= status < 300
        self._unreadable = False
        if request.method != "HEAD" and status not in (204, 304):
            self.check_size(_announced_size(headers))
            coding = headers.get("content-encoding")
            if coding is not None:
                self._open(coding)

    def check_size(self, size: int) -> None:
        """Check that a body may have *size* bytes.

        Raises:
            LimitExceeded: it may not.
        """
        if size > self._limit:
            # The error's traceback may keep this object for a while; it need not keep 8 MB.
            self._pieces.clear()
            raise LimitExceeded(self._setting, self._limit)

    async def add(self, data: bytes) -> None:
        """Add the next bytes from the server.

        Raises:
            LimitExceeded: the body is over the limit.
            httpx.DecodingError: the body of a success is not compressed as its header says.
        """
        self._received += len(data)
        self.check_size(self._received)
        if self._unreadable:
            await self._count_step()
        elif self._inflaters:
            await self._decompress(data)
        else:
            self._keep(data)
            await self._count_step()

    def content(self) -> bytes:
        """Return the whole body, after its last byte was added.

        Raises:
            httpx.DecodingError: the compressed body of a success ends early.
        """
        if self._received and not self._unreadable:
            try:
                for inflater in self._inflaters:
                    inflater.check_end()
            except httpx.DecodingError as exc:
                self._give_up(exc)
        return b"".join(self._pieces)

    def _open(self, coding: str) -> None:
        try:
            self._inflaters = [_Inflater(name, self.check_size) for name in _codings(coding)]
        except httpx.DecodingError as exc:
            self._give_up(exc)

    def _give_up(self, error: httpx.DecodingError) -> None:
        if self._success:
            raise error
        self._unreadable = True
        self._pieces.clear()

    def _keep(self, piece: bytes) -> None:
        # A million pieces of one byte would take eight times their size in the list alone.
        pieces = self._pieces
        if not pieces or len(piece) >= _SMALL_PIECE:
            pieces.append(piece)
        elif isinstance(pieces[-1], bytearray):
            pieces[-1] += piece
        else:
            pieces.append(bytearray(piece))

    async def _count_step(self) -> None:
        self._steps += 1
        if self._steps % _STEPS_PER_TURN == 0:
            await anyio.lowlevel.checkpoint()

    async def _decompress(self, data: bytes) -> None:
        try:
            for piece in _inflate(self._inflaters, data):
                self._keep(piece)
                await self._count_step()
        except zlib.error as exc:
            self._give_up(httpx.DecodingError(str(exc)))


def _announced_size(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "")
    # More than 20 digits are no length: the engine refuses them, or reads until the end.
    return int(length) if length.isascii() and length.isdecimal() and len(length) <= 20 else 0


def _codings(header: str) -> list[str]:
    # "deflate, gzip": compressed by deflate first, so gzip is undone first.
    codings = [name.strip().lower() for name in header.split(",")]
    if unsupported := _UNSUPPORTED.intersection(codings):
        raise httpx.DecodingError(f"the response is compressed by {', '.join(unsupported)}")
    supported = [name for name in reversed(codings) if name in ("gzip", "x-gzip", "deflate")]
    if len(supported) > _MAX_CODINGS:
        raise httpx.DecodingError("the response is compressed too many times")
    return supported


def _inflate(inflaters: Sequence[_Inflater], data: bytes) -> Iterator[bytes]:
    """Yield *data* without its codings, in steps, some of which yield nothing."""
    if not inflaters or not data:
        yield data
        return
    for start in range(0, len(data), _INPUT_SIZE):
        for piece in inflaters[0].steps(data[start : start + _INPUT_SIZE]):
            yield from _inflate(inflaters[1:], piece)


class _Inflater:
    """Undoes one coding. Its output counts in full, also if another coding is undone after."""

    def __init__(self, coding: str, check_size: Callable[[int], None]) -> None:
        self._gzip = coding != "deflate"
        self._check_size = check_size
        self._size = 0
        self._held = b""  # a first byte, which does not tell yet what follows
        self._stream: Any = None  # of the current member: a gzip body may have several
        self._members = 0
        self._ended = False  # bytes behind the last member, such as padding, are ignored

    def steps(self, data: bytes) -> Iterator[bytes]:
        """Yield what *data* decompresses to, at least one piece."""
        data, self._held = self._held + data, b""
        pending = True
        while pending:
            if self._stream is None and not self._open(data):
                yield b""
                return
            stream = self._stream
            piece = stream.decompress(data, _OUTPUT_SIZE)
            self._size += len(piece)
            self._check_size(self._size)
            yield piece
            if stream.eof:
                self._stream, data = None, stream.unused_data
                pending = bool(data)
            else:
                data = stream.unconsumed_tail
                pending = bool(data) or len(piece) == _OUTPUT_SIZE  # zlib may hold back the rest

    def check_end(self) -> None:
        """Check that the last member is complete."""
        if self._stream is not None or (self._held and not self._members):
            raise httpx.DecodingError("the compressed body ends early")

    def _open(self, data: bytes) -> bool:
        if self._ended or (self._members and not self._is_member(data)):
            return False
        if len(data) < 2:
            self._held = data
            return False
        self._members += 1
        self._stream = zlib.decompressobj(31 if self._gzip else _deflate_bits(data))
        return True

    def _is_member(self, data: bytes) -> bool:
        self._ended = not self._gzip or not _GZIP_START.startswith(data[:2])
        return not self._ended


def _deflate_bits(data: bytes) -> int:
    # "deflate" is zlib's format; some servers send the bare stream instead. Source: RFC 1950, 2.2.
    wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return 15 if wrapped else -15
