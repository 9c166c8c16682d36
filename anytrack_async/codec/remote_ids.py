"""Packs the ids that destinations gave to conversions, 32 at a time, for outboxes in files."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, cast

from anytrack_async.errors import DecodeError

# Ids that destinations gave to conversions

_IDS_PER_PACK = 32
"""Few enough for SQLite to keep them within a page, also if they are random text."""

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUIDS = re.compile(f"{_UUID}(?:,{_UUID})*")
_UUID_PARTS = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))  # of 32 hexadecimal digits

_PACKED_UUIDS, _TEXT, _COMPRESSED_TEXT = b"u", b"t", b"z"
"""The first byte of packed ids."""


class PackedIds(NamedTuple):
    """The ids of conversions that follow one another in the log.

    Attributes:
        last: position of the last one.
        first: position of the first one.
        packed: the ids, for `unpack_ids`.
    """

    last: int
    first: int
    packed: bytes


def pack_ids(seqs: Sequence[int], ids: Sequence[str | None]) -> list[PackedIds]:
    """Return the *ids* that a destination gave to the conversions at some positions.

    With ids for positions 4, 5, 6 and 9, and None for 7, it is a pack of 4 to 6 and one of 9.

    Args:
        seqs: the positions, ascending.
        ids: printable text for each; None for a conversion without an id.
    """
    return [
        PackedIds(seqs[end - 1], seqs[begin], _pack(cast("Sequence[str]", ids[begin:end])))
        for start, stop in _runs(seqs, ids)
        for begin in range(start, stop, _IDS_PER_PACK)
        for end in (min(begin + _IDS_PER_PACK, stop),)
    ]


def _runs(seqs: Sequence[int], ids: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Yield start and stop of each run of consecutive positions that all have an id."""
    count = len(seqs)
    if all(ids) and seqs[-1] - seqs[0] == count - 1:  # nearly always
        yield 0, count
        return
    start = 0
    for stop in range(1, count + 1):
        if stop == count or not (ids[stop - 1] and ids[stop]) or seqs[stop] != seqs[stop - 1] + 1:
            if ids[start]:
                yield start, stop
            start = stop


def _pack(ids: Sequence[str]) -> bytes:
    """Return *ids* as bytes: packed if all are UUIDs in their usual form, else as text."""
    line = ",".join(ids)
    if len(line) == 37 * len(ids) - 1 and _UUIDS.fullmatch(line):
        return _PACKED_UUIDS + bytes.fromhex(line.replace(",", "").replace("-", ""))
    text = "\n".join(ids).encode()
    compressed = zlib.compress(text)
    if len(compressed) < len(text):
        return _COMPRESSED_TEXT + compressed
    return _TEXT + text


def unpack_ids(packed: bytes) -> list[str]:
    """Return the ids in `PackedIds.packed`.

    Raises:
        DecodeError: it is damaged.
    """
    kind, content = packed[:1], packed[1:]
    try:
        if kind == _PACKED_UUIDS:
            return list(map(_uuid, range(0, 2 * len(content), 32), repeat(content.hex())))
        if kind == _COMPRESSED_TEXT:
            content = zlib.decompress(content)
        elif kind != _TEXT:
            raise DecodeError(f"ids of a destination are in the unknown form {kind!r}")
        return content.decode().split("\n")
    except (zlib.error, UnicodeDecodeError) as exc:
        raise DecodeError("ids of a destination are damaged") from exc


def _uuid(start: int, digits: str) -> str:
    return "-".join(digits[start + begin : start + end] for begin, end in _UUID_PARTS)
