"""Columns: one field of all conversions that are mapped together, hashed in one go.

Most of what Python does for a value is not about the value: calls, look-ups, small objects. So the
plain values of a column are joined, brought into shape as one text and taken apart again. What is
not plain is left to `hashed_all`: several values, other scripts, digests and what is unusable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

from anytrack_async.destinations.meta.hashing import hashed, hashed_all
from anytrack_async.destinations.meta.normalise import EMAIL, NO_DIGITS

Column: TypeAlias = Sequence[tuple[str, ...]]
"""The values of each row."""

Hashes: TypeAlias = list[Sequence[str]]
"""What goes on the wire of each row's values; empty where that is nothing."""

_END: Final = "\0"  # a value that holds one is not plain
_SHORT: Final = 31  # characters; a digest has more
_NOISE: Final = bytes(set(NO_DIGITS) - set(_END.encode()))
_BLANKS: Final = r"[\t-\r\x1c- ]*+"  # what `str.strip` takes from ASCII
# Finds something up to each end: the address, or nothing where there is none.
_EMAILS = re.compile(rf"(?:{_BLANKS}({EMAIL.pattern}){_BLANKS}|[^\0]*+)\0".encode())


def hashed_emails(column: Column) -> Hashes:
    """Return `hashed_all` of each row's e-mail addresses."""
    if not any(column):
        return [()] * len(column)
    text = _joined(column) + _END
    return _hashed("em", _EMAILS.findall(text.lower().encode()), column)


def hashed_phones(column: Column) -> Hashes:
    """Return `hashed_all` of each row's phone numbers."""
    if not any(column):
        return [()] * len(column)
    digits = _joined(column, _SHORT).encode().translate(None, _NOISE)
    numbers = [
        number if 7 <= len(number := one.lstrip(b"0")) <= 15 else b""
        for one in digits.split(_END.encode())
    ]
    return _hashed("ph", numbers, column)


def hashed_names(column: Column) -> Hashes:
    """Return `hashed_all` of each row's first or last names; customers share them."""
    return [
        [name] if len(values) == 1 and (name := _name(values[0])) else _one_by_one("fn", values)
        for values in column
    ]


@lru_cache(maxsize=8192)
def _name(raw: str) -> str | None:
    return hashed("fn", raw)


def _hashed(field: str, texts: Sequence[bytes], column: Column) -> Hashes:
    return [
        [sha256(text).hexdigest()] if text else _one_by_one(field, values)
        for text, values in zip(texts, column, strict=True)
    ]


def _one_by_one(field: str, values: tuple[str, ...]) -> Sequence[str]:
    return hashed_all(field, values) if values else ()


def _joined(column: Column, longest: int | None = None) -> str:
    """Return the plain values of *column*, and nothing for rows without, with ends between."""
    texts = [values[0] if len(values) == 1 else "" for values in column]
    text = _END.join(texts)
    ascii_alone = text.isascii() and text.count(_END) == len(texts) - 1
    if ascii_alone and {*map(type, texts)} == {str} and _fit(texts, longest):
        return text
    return _END.join([one if _is_plain(one, longest) else "" for one in texts])


def _fit(texts: Sequence[str], longest: int | None) -> bool:
    return longest is None or max(map(len, texts)) <= longest


def _is_plain(text: str, longest: int | None) -> bool:
    return type(text) is str and text.isascii() and _END not in text and _fit((text,), longest)
