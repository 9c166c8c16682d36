"""SHA-256 hashes of customers' values, as they are sent.

`hashed` and `hashed_all` take one value or several of any kind. `hashed_emails`, `hashed_phones`,
`hashed_names` and `hashed_plain_ids` take a column: one field of all conversions that are mapped
together. Most of the time that Python needs for a value goes into calls and small objects. So the
plain values of a column are joined, normalised as one text and split again. Values that are not
plain (several, other scripts, digests, unusable ones) are left to `hashed_all`.

Source: Meta: Conversions API, customer information parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

from anytrack_async.destinations.meta.normalise import (
    NOT_DIGITS,
    PHONE_LENGTHS,
    RULES,
    UNHASHED,
    is_digest,
    normalise,
)
from anytrack_async.models.email import EMAIL

Column: TypeAlias = Sequence[tuple[str, ...]]
"""The values of each row."""

Hashes: TypeAlias = list[Sequence[str]]
"""The hashes of each row's values: `NO_VALUES` for a row without values, `UNUSABLE_VALUES` for a
row without a usable value."""

NO_VALUES: Final[tuple[()]] = ()
UNUSABLE_VALUES: Final[list[str]] = []

_HASHED: Final = RULES.keys() - UNHASHED
_MIN_DIGEST: Final = 32  # characters

_END: Final = "\0"  # between the values of a column; a value that contains it is not plain
_NOT_DIGITS_OR_END: Final = bytes(set(NOT_DIGITS) - set(_END.encode()))
_WHITESPACE: Final = r"[\t-\r\x1c- ]*+"  # the ASCII characters that `str.strip` removes
# One match for each value and its end: the address as group 1, or nothing if it is not an address.
_EMAILS = re.compile(rf"(?:{_WHITESPACE}({EMAIL.pattern}){_WHITESPACE}|[^\0]*+)\0".encode())


# One value or several


def hashed(field: str, raw: object) -> str | None:
    """Return *raw* as it is sent in *field*, or None if nothing is left.

    That is the SHA-256 of the normalised value in lower-case hex; a digest passes through, in lower
    case. ``external_id`` and ``currency`` are not hashed.

    ``hashed("em", " Jane@Example.com ")`` is the SHA-256 of ``jane@example.com``, ``8c87b489…``.

    Raises:
        KeyError: there is no such field.

    Source: Meta: Conversions API, customer information parameters.
    """
    if (
        type(raw) is str
        and raw.isascii()
        and (len(raw) < _MIN_DIGEST or "@" in raw)
        and field in _HASHED
    ):
        text = RULES[field](raw.lower().strip())  # nearly all values: ASCII, and not a digest
        return sha256(text.encode()).hexdigest() if text else None
    return _hashed_rare(field, raw)


def _hashed_rare(field: str, raw: object) -> str | None:
    text = normalise(field, raw)
    # Only a value that came as a digest passes: a name without its dashes may look like one.
    if text is None or field in UNHASHED or (len(text) >= _MIN_DIGEST and is_digest(raw)):
        return text
    return sha256(text.encode()).hexdigest()


def hashed_all(field: str, values: object) -> list[str]:
    """Return `hashed` of each of *values*, without repeats and sorted; empty if nothing is left.

    Sorted, so that the same values give the same request whatever their order. A single value
    counts as a list of one, None as an empty list.

    Raises:
        KeyError: there is no such field.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        text = hashed(field, values)
        return [] if text is None else [text]
    return sorted({text for value in values if (text := hashed(field, value)) is not None})


@lru_cache(maxsize=8192)
def hashed_shared(field: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return `hashed_all` of values that many customers share, remembered.

    Not for birth dates: tomorrow's date is unusable today and usable the day after.
    """
    return tuple(hashed_all(field, values))


# Columns


def hashed_emails(column: Column) -> Hashes:
    """Return `hashed_all` of each row's e-mail addresses."""
    if not any(column):
        return [NO_VALUES] * len(column)
    # [("Jane@x.com",), (), ("no",)] → "jane@x.com\0\0no\0" → [b"jane@x.com", b"", b""]
    text = _joined(column) + _END
    return _hash_texts("em", _EMAILS.findall(text.lower().encode()), column)


def hashed_phones(column: Column) -> Hashes:
    """Return `hashed_all` of each row's phone numbers."""
    if not any(column):
        return [NO_VALUES] * len(column)
    # [("+1 (650) 555-1212",), ("12",)] → b"16505551212\x0012" → [b"16505551212", b""]
    digits = _joined(column, _MIN_DIGEST - 1).encode().translate(None, _NOT_DIGITS_OR_END)
    numbers = [
        number if len(number := text.lstrip(b"0")) in PHONE_LENGTHS else b""
        for text in digits.split(_END.encode())
    ]
    return _hash_texts("ph", numbers, column)


def hashed_names(column: Column) -> Hashes:
    """Return `hashed_all` of each row's first or last names; customers share them."""
    if not any(column):
        return [()] * len(column)
    return [
        [name]
        if len(values) == 1 and (name := _hashed_name(values[0]))
        else _hash_row("fn", values)
        for values in column
    ]


@lru_cache(maxsize=8192)
def _hashed_name(raw: str) -> str | None:
    return hashed("fn", raw)


def hashed_plain_ids(column: Column) -> Hashes:
    """Return the hash of each row's external id in lower case.

    The result of a row is empty if the row has no id, several ids, or an id with whitespace, in
    another script, or as long as a digest.
    """
    if not any(column):
        return [NO_VALUES] * len(column)
    text = _joined(column, _MIN_DIGEST - 1).lower()
    ids = text.encode().split(_END.encode())
    if text.split() != [text]:  # whitespace somewhere, as in "user 7"
        ids = [external_id if external_id.split() == [external_id] else b"" for external_id in ids]
    return [[sha256(external_id).hexdigest()] if external_id else () for external_id in ids]


def _hash_texts(field: str, texts: Sequence[bytes], column: Column) -> Hashes:
    return [
        [sha256(text).hexdigest()] if text else _hash_row(field, values)
        for text, values in zip(texts, column, strict=True)
    ]


def _hash_row(field: str, values: tuple[str, ...]) -> Sequence[str]:
    return hashed_all(field, values) if values else NO_VALUES


def _joined(column: Column, max_length: int | None = None) -> str:
    """Return the plain values of *column* with `_END` between them; other rows are empty."""
    texts = [values[0] if len(values) == 1 else "" for values in column]
    text = _END.join(texts)
    # Looks at the whole text first: nearly always all values are plain.
    all_plain = text.isascii() and text.count(_END) == len(texts) - 1
    if all_plain and {*map(type, texts)} == {str} and _all_fit(texts, max_length):
        return text
    return _END.join([text if _is_plain(text, max_length) else "" for text in texts])


def _all_fit(texts: Sequence[str], max_length: int | None) -> bool:
    return max_length is None or max(map(len, texts)) <= max_length


def _is_plain(text: str, max_length: int | None) -> bool:
    return (
        type(text) is str and text.isascii() and _END not in text and _all_fit((text,), max_length)
    )
