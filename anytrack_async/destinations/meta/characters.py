"""Which characters each kind of value keeps, in every script.

Plain ASCII rarely comes here: its values mostly need nothing taken out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

_JOINERS: Final = "\u200c\u200d"  # zero-width, but part of Persian and Indic spelling
_TYPED_MARKS: Final = "$+<=>^`|~\u02bb\u02bc"  # punctuation to whoever types a name, not to Unicode


class Table(dict[int, str | None]):
    """A table for `str.translate` that asks *decide* once per character, then remembers."""

    def __init__(self, decide: Callable[[str], str | None]) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, code: int) -> str | None:
        self[code] = kept = self._decide(chr(code))
        return kept


@Table
def in_name(char: str) -> str | None:
    """Letters, digits and emoji: all but punctuation, spaces and what cannot be seen."""
    kind = unicodedata.category(char)
    # Sk holds the accents typed as apostrophes, but beyond U+FFFF the skin tones of emoji.
    dropped = kind[0] in "PZC" or (kind == "Sk" and char < "\U00010000")
    return None if (dropped and char not in _JOINERS) or char in _TYPED_MARKS else char


@Table
def in_place(char: str) -> str | None:
    """Letters of all scripts, with their marks."""
    kind = unicodedata.category(char)
    letter = (kind[0] == "L" and char not in _TYPED_MARKS) or kind in {"Mn", "Mc"}
    selector = "\ufe00" <= char <= "\ufe0f"  # picks between emoji and text; a mark by category
    return char if (letter and not selector) or char in _JOINERS else None


@Table
def in_zip(char: str) -> str | None:
    """All but spaces and loose accents; dashes and digits of all scripts become those of ASCII."""
    kind = unicodedata.category(char)
    if kind == "Nd":
        return str(unicodedata.decimal(char))
    if kind == "Pd":
        return "-"
    return None if kind[0] in "ZCM" else char


@Table
def in_phone(char: str) -> str | None:
    """Digits, of all scripts, as those of ASCII."""
    return str(unicodedata.decimal(char)) if char.isdecimal() else None


@Table
def email_shape(char: str) -> str | None:
    """ASCII as it is, other letters and digits as ``x``: one pattern then fits all scripts."""
    return char if char.isascii() or unicodedata.category(char)[0] not in "LMN" else "x"


def kept(text: str, table: Table) -> str:
    """Return *text* with only the characters *table* keeps, accents joined to their letters."""
    text = text.translate(table)
    return text if text.isascii() else unicodedata.normalize("NFC", text).strip(_JOINERS)


def composed(text: str) -> str | None:
    """Join accents to their letters; None for half a character, which no encoding can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return unicodedata.normalize("NFC", text)
