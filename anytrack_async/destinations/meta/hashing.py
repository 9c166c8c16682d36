"""Hashes: what of a value goes on the wire.

Source: Meta: Conversions API, customer information parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final

from anytrack_async.destinations.meta.normalise import DIGEST, RULES, UNHASHED, normalise

_HASHED: Final = RULES.keys() - UNHASHED


def hashed(field: str, raw: object) -> str | None:
    """Return *raw* the way *field* goes on the wire, or None if nothing is left.

    That is the SHA-256 of the normalised value in lower-case hex; a digest passes through, in lower
    case. ``external_id`` and ``currency`` are not hashed.

    Raises:
        KeyError: there is no such field.

    Source: Meta: Conversions API, customer information parameters.
    """
    if type(raw) is str and raw.isascii() and (len(raw) < 32 or "@" in raw) and field in _HASHED:
        text = RULES[field](raw.lower().strip())  # nearly all values: no digest, nothing to join
        return sha256(text.encode()).hexdigest() if text else None
    text = normalise(field, raw)
    # Only what came as a digest passes: a name may look like one after losing its dashes.
    if text is None or field in UNHASHED or (len(text) > 31 and is_digest(raw)):
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
        one = hashed(field, values)
        return [] if one is None else [one]
    return sorted({text for value in values if (text := hashed(field, value)) is not None})


@lru_cache(maxsize=8192)
def hashed_shared(field: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return `hashed_all` of what many customers share, so it is remembered.

    Not for birth dates: which of them are dates of the past changes.
    """
    return tuple(hashed_all(field, values))


def is_digest(raw: object) -> bool:
    """Tell whether *raw* is hashed already: SHA-256 or MD5, in hex."""
    return isinstance(raw, str) and DIGEST.fullmatch(raw.lower().strip()) is not None
