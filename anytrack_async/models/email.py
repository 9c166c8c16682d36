"""E-mail addresses: every destination must see the same one, or one customer would be two."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

MAX_EMAIL: Final = 254
"""Characters that an address may have (RFC 5321)."""

_ATOM = r"[a-z0-9_!#$%&'*+/=?^`{|}~-]++"
_LABEL = r"[a-z0-9]++(?:-++[a-z0-9]++)*+"
EMAIL: Final = re.compile(
    rf"(?:{_ATOM}(?:\.{_ATOM})*+|\"[^\"\x00-\x1f\x7f]++\")@{_LABEL}(?:\.{_LABEL})++"
)
"""An address in lower case, in ASCII."""

# Look blank, or change how the characters beside them look, but are letters, marks or symbols.
_BLANK_LETTERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
_FULL_WIDTH = range(0xFF01, 0xFF5F)  # "!" to "~", as Japanese and Chinese keyboards write them
_TO_ASCII = 0xFEE0
_FULL_STOPS = "\u3002\uff61"  # RFC 3490 counts them as the dots of a domain


class CharacterTable(dict[int, str | None]):
    """A table for `str.translate` that calls *decide* once for each character, then remembers."""

    def __init__(self, decide: Callable[[str], str | None]) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, code: int) -> str | None:
        self[code] = replacement = self._decide(chr(code))
        return replacement


@CharacterTable
def _email_characters(char: str) -> str | None:
    """Drop invisible characters; full-width letters, signs and stops become those of ASCII."""
    if char.isspace():
        return char
    selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    if unicodedata.category(char) in {"Cc", "Cf"} or char in _BLANK_LETTERS or selector:
        return None
    if char in _FULL_STOPS:
        return "."
    return chr(ord(char) - _TO_ASCII) if ord(char) in _FULL_WIDTH else char


@CharacterTable
def _email_shape(char: str) -> str | None:
    """Replace letters and digits beyond ASCII by ``x``, so that one pattern fits all scripts."""
    return char if char.isascii() or unicodedata.category(char)[0] not in "LMN" else "x"


def visible_email(text: str) -> str:
    """Return *text* without invisible characters, which copying and direction marks bring along.

    ``jane@x.example`` loses a direction mark before it and a byte order mark behind it, and
    ``jane＠x.example`` gets an ASCII ``@``. Whitespace within an address stays, which makes it
    unusable. Accents written as separate marks are joined (NFC).
    """
    return unicodedata.normalize("NFC", text.translate(_email_characters)).strip()


def is_email(text: str) -> bool:
    """Return whether *text*, trimmed and in lower case, is one e-mail address and nothing else.

    Letters of all scripts are allowed. Display names, ``mailto:``, a second address and a dot at
    the end are not.

    Source: Meta: Conversions API, customer information parameters; RFC 5321 and RFC 6531.
    """
    return EMAIL.fullmatch(text if text.isascii() else text.translate(_email_shape)) is not None
