"""Customers' values in the one form that Meta hashes: ``"Mary "`` and ``"mary"`` must become equal.

`normalise` follows the rules of Meta: Conversions API, customer information parameters. A value
without anything usable is left out: it is never hashed, and the event is sent without it.

Where Meta is silent, this module does as follows.

- Names lose inner spaces too (``maryann``), as in Meta's parameter builder. Digits, emoji and the
  zero-width joiners that Persian and Indic spelling needs stay.
- E-mail addresses in other scripts stay as written, domain included. So does a quoted local part.
  A value with more than one address in it (a display name, ``mailto:``, a second address) is
  dropped. `Customer` has removed invisible characters before.
- Phone numbers keep every digit given: ``+44 (0)20…`` keeps its zero, ``020…`` gets no country and
  an extension counts. Meta's page says so and its libraries do so, so the hashes of both sides
  agree. `phone_with_region` knows better, where asked.
- Birth dates are read month first, unless only day first is a date; two-digit years are dropped.
- Cities and states lose digits and keep the letters of all scripts. An abbreviation that no post
  office uses stays (``calif``).
- Postal codes keep everything but spaces and dashes (``n/a``); nine digits are a US ZIP+4.
- An external id goes out as given, not hashed: it must equal the one the browser sends.
- A digest with the marker of Meta's parameter builder (``<digest>.AQICAQMC``) is that digest.
- An MD5 digest passes through, as in both of Meta's libraries. Digests of other kinds are dropped,
  and so is the digest of nothing.
- Accents written as separate marks are joined (NFC), so that one name has one hash.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Enum
from hashlib import md5, sha256
from numbers import Number
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from anytrack_async.destinations.meta.regions import COUNTRY_CODES, country_from_name, state_code
from anytrack_async.models.email import CharacterTable, is_email
from anytrack_async.models.visitor import BUILDER_MARKER

UNHASHED: Final = frozenset({"currency", "external_id"})
_NUMERIC: Final = frozenset({"ph", "db", "zp", "external_id", "dobd", "dobm", "doby"})

DIGEST = re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{32})?")  # MD5 or SHA-256
_MARKERS = rf"(?:\.{BUILDER_MARKER.lower()})"
_HEX = re.compile(rf"[0-9a-f]{{32,}}{_MARKERS}*", re.ASCII)
_MARKED_DIGEST = re.compile(rf"({DIGEST.pattern}){_MARKERS}+", re.ASCII)
NOT_DIGITS: Final = bytes(set(range(128)) - set(b"0123456789"))
PHONE_LENGTHS: Final = range(7, 16)  # digits, with the country code and without leading zeros
_NUMBERS = re.compile(r"\d+")
_US_ZIP = re.compile(r"[0-9]{5}-(?![0-9]{3}$)")  # five and three is Brazil
_NOT_A_TO_Z = re.compile(r"[^a-z]+")

_DIGESTS_OF_NOTHING: Final = frozenset(
    {sha256(b"").hexdigest(), md5(b"", usedforsecurity=False).hexdigest()}
)
_MAX_WHOLE: Final = 10**30

_JOINERS: Final = "\u200c\u200d"  # zero-width, but part of Persian and Indic spelling
_TYPED_MARKS: Final = (
    "$+<=>^`|~\u02bb\u02bc"  # punctuation in names, but not in Unicode's categories
)

_MALE_WORDS = """
m male man mr mister sir gentleman lord he him his himself boy lad guy fellow chap bloke dude son
father dad daddy papa brother uncle nephew husband boyfriend groom widower king prince duke count
emperor god
"""
_FEMALE_WORDS = """
f female woman mrs ms miss madam ma'am lady dame she her hers herself girl lass gal maiden daughter
mother mom mommy mama sister aunt niece wife girlfriend bride widow queen princess duchess countess
empress goddess belle chick
"""
_GENDER_LETTERS: Final = {
    **dict.fromkeys(_MALE_WORDS.split(), "m"),
    **dict.fromkeys(_FEMALE_WORDS.split(), "f"),
}


def normalise(field: str, raw: object) -> str | None:
    """Return *raw* the way Meta wants *field* before hashing, or None if nothing is left.

    Args:
        field: Meta's name: em, ph, fn, ln, ge, db, ct, st, zp, country, external_id, currency,
            or one of the older f5first, f5last, fi, dobd, dobm, doby.
        raw: text, or a number, date, UUID or enum member where the field can mean one.

    Raises:
        KeyError: there is no such field. A value never raises.

    Source: Meta: Conversions API, customer information parameters.
    """
    rule = RULES[field]
    text = raw if type(raw) is str and raw.isascii() else _to_text(field, raw)
    if text is None:
        return None
    if field == "external_id":
        return _external_id(text)
    text = text.lower().strip()
    if len(text) > 31 and _HEX.fullmatch(text):
        text = without_marker(text)
        return text if field != "currency" and _is_usable_digest(text) else None
    return rule(text) or None


def is_digest(raw: object) -> bool:
    """Return whether *raw* is hashed already: SHA-256 or MD5, in hex of either case.

    So is a digest with the marker of Meta's parameter builder.
    """
    return (
        isinstance(raw, str) and DIGEST.fullmatch(without_marker(raw.lower().strip())) is not None
    )


def without_marker(text: str) -> str:
    """Return the digest in ``<digest>.<marker>``, lower case; other text as it is.

    Meta's parameter builder marks each hash that it makes: ``8830eedd….AQICAQMC``.

    Source: Meta: Conversions API, parameter builder library.
    """
    match = _MARKED_DIGEST.fullmatch(text)
    return match[1] if match else text


def _external_id(text: str) -> str | None:
    stripped = text.strip()
    if len(stripped) > 31 and (digest := without_marker(stripped.lower())) != stripped.lower():
        return digest
    return text if stripped else None


def _is_usable_digest(text: str) -> bool:
    return text not in _DIGESTS_OF_NOTHING and DIGEST.fullmatch(text) is not None


# Rules: each takes trimmed text in lower case and returns nothing for an unusable value


def _email(text: str) -> str | None:
    return text if is_email(text) else None


def _phone(text: str) -> str | None:
    if text.isascii():
        digits = text.encode().translate(None, NOT_DIGITS).decode()
    else:
        digits = text.translate(_phone_characters)
    digits = digits.lstrip("0")
    return digits if len(digits) in PHONE_LENGTHS else None


def _name(text: str) -> str:
    return text if text.isascii() and text.isalnum() else _keep(text, _name_characters)


def _birth_date(text: str) -> str | None:
    runs = _NUMBERS.findall(text)
    if runs and len(runs[0]) == 8:
        runs = [runs[0][:4], runs[0][4:6], runs[0][6:]]
    try:
        first, second, third = map(int, runs[:3])
        year, month, day = (first, second, third) if first > 31 else (third, first, second)
        born = date(year, day, month) if month > 12 else date(year, month, day)
    except (ValueError, OverflowError):  # not three numbers, or no such day
        return None
    return born.isoformat().replace("-", "") if year >= 1900 and born <= _today() else None


def _city(text: str) -> str:
    return text if text.isascii() and text.isalpha() else _keep(text, _place_characters)


def _state(text: str) -> str:
    letters = _city(text)
    return letters if letters.isascii() and len(letters) == 2 else state_code(text) or letters


def _zip(text: str) -> str | None:
    code = text if text.isascii() and text.isalnum() else text.translate(_zip_characters)
    if _US_ZIP.match(code):
        return code[:5]
    code = code.replace("-", "")
    if len(code) == 9 and code.isdecimal():
        return code[:5]
    return code if len(code) > 1 else None  # Meta's parameter builder drops single characters


def _country(text: str) -> str | None:
    code = text if text in COUNTRY_CODES else _NOT_A_TO_Z.sub("", text)
    return code if code in COUNTRY_CODES else country_from_name(text)


def _currency(text: str) -> str | None:
    letters = _NOT_A_TO_Z.sub("", text)
    return letters if len(letters) == 3 else None


def _part_of_date(low: int, high: int | None, width: int) -> Callable[[str], str | None]:
    def rule(text: str) -> str | None:
        if not (text.isdecimal() and len(text) <= width):
            return None
        number = int(text)
        return f"{number:0{width}}" if low <= number <= (high or _today().year) else None

    return rule


def _today() -> date:
    return datetime.now(UTC).date()


def _to_text(field: str, raw: object) -> str | None:
    """Return *raw* as text, accents joined to letters; None if *field* has no such value."""
    text = _as_text(field, raw)
    return text if text is None or text.isascii() else _composed(text)


def _as_text(field: str, raw: object) -> str | None:
    if isinstance(raw, Enum):
        raw = raw.value
    if isinstance(raw, str):
        return str(raw)
    if isinstance(raw, date):
        return raw.isoformat() if field == "db" else None
    if isinstance(raw, UUID):
        return str(raw) if field == "external_id" else None
    number = isinstance(raw, Number) and not isinstance(raw, bool)
    return _whole(raw) if number and field in _NUMERIC else None


def _whole(number: Any) -> str | None:
    """Return a whole number's digits: also of the floats and decimals that tables make of them."""
    try:
        whole = int(number) if -_MAX_WHOLE < number < _MAX_WHOLE else None
    except (ArithmeticError, TypeError, ValueError):
        return None
    return str(whole) if whole == number else None


# Characters to keep, in every script. ASCII values rarely need these tables.


@CharacterTable
def _name_characters(char: str) -> str | None:
    """Keep letters, digits and emoji; drop punctuation, spaces and invisible characters."""
    kind = unicodedata.category(char)
    # Sk holds the accents typed as apostrophes, but beyond U+FFFF the skin tones of emoji.
    dropped = kind[0] in "PZC" or (kind == "Sk" and char < "\U00010000")
    return None if (dropped and char not in _JOINERS) or char in _TYPED_MARKS else char


@CharacterTable
def _place_characters(char: str) -> str | None:
    """Keep letters of all scripts, with their marks."""
    kind = unicodedata.category(char)
    letter = (kind[0] == "L" and char not in _TYPED_MARKS) or kind in {"Mn", "Mc"}
    selector = "\ufe00" <= char <= "\ufe0f"  # picks between emoji and text; a mark by category
    return char if (letter and not selector) or char in _JOINERS else None


@CharacterTable
def _zip_characters(char: str) -> str | None:
    """Drop spaces and loose accents; dashes and digits of all scripts become those of ASCII."""
    kind = unicodedata.category(char)
    if kind == "Nd":
        return str(unicodedata.decimal(char))
    if kind == "Pd":
        return "-"
    return None if kind[0] in "ZCM" else char


@CharacterTable
def _phone_characters(char: str) -> str | None:
    """Keep digits; those of all scripts become those of ASCII."""
    return str(unicodedata.decimal(char)) if char.isdecimal() else None


def _keep(text: str, table: CharacterTable) -> str:
    """Return *text* with the characters that *table* keeps, accents joined to their letters."""
    text = text.translate(table)
    return text if text.isascii() else unicodedata.normalize("NFC", text).strip(_JOINERS)


def _composed(text: str) -> str | None:
    """Join accents to their letters; None for an unpaired surrogate, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return unicodedata.normalize("NFC", text)


RULES: Final[dict[str, Callable[[str], str | None]]] = {
    "em": _email,
    "ph": _phone,
    "fn": _name,
    "ln": _name,
    "ge": _GENDER_LETTERS.get,
    "db": _birth_date,
    "ct": _city,
    "st": _state,
    "zp": _zip,
    "country": _country,
    "external_id": str,
    "currency": _currency,
    "f5first": itemgetter(slice(5)),
    "f5last": itemgetter(slice(5)),
    "fi": itemgetter(slice(1)),
    "dobd": _part_of_date(1, 31, 2),
    "dobm": _part_of_date(1, 12, 2),
    "doby": _part_of_date(1900, None, 4),
}
