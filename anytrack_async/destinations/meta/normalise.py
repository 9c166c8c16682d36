"""What people say of themselves, made equal before it is hashed.

Meta matches hashes, so ``"Mary "`` and ``"mary"`` must become one text first. The rules are those
of Meta: Conversions API, customer information parameters. A value without anything usable is left
out: it is never hashed, and never costs the event.

Where Meta is silent, this module does as follows.

- Names lose inner spaces too (``maryann``), as in Meta's parameter builder. Digits, emoji and the
  zero-width joiners that Persian and Indic spelling needs stay.
- E-mail addresses in other scripts stay as written, domain included. So does a quoted local part.
  Anything beside the one address (a display name, ``mailto:``, a second address) drops the value.
- Phone numbers keep every digit given: ``+44 (0)20…`` keeps its zero, ``020…`` gets no country and
  an extension counts. That is what Meta's page says and its libraries do, so both sides' hashes
  agree. `phone_with_region` knows better, where asked.
- Birth dates are read month first, unless only day first is a date; two-digit years are dropped.
- Cities and states lose digits and keep the letters of all scripts. An abbreviation that no post
  office uses stays (``calif``).
- Postal codes keep what is neither space nor dash (``n/a``); nine digits are a US ZIP+4.
- An external id goes out as given, not hashed: it must equal the one the browser sends. Hand it in
  hashed to have it hashed.
- An MD5 digest passes through, as in both of Meta's libraries. Digests of other kinds are dropped,
  and so is the digest of nothing.
- Accents written as separate marks are joined (NFC), so that one name has one hash.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Enum
from hashlib import md5, sha256
from numbers import Number
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from anytrack_async.destinations.meta import characters
from anytrack_async.destinations.meta.genders import INITIAL
from anytrack_async.destinations.meta.regions import COUNTRY_CODES, country_from_name, state_code

UNHASHED: Final = frozenset({"currency", "external_id"})
_NUMERIC: Final = frozenset({"ph", "db", "zp", "external_id", "dobd", "dobm", "doby"})

DIGEST = re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{32})?")
_HEX = re.compile(r"[0-9a-f]{32,}")
_ATOM = r"[a-z0-9_!#$%&'*+/=?^`{|}~-]++"
_LABEL = r"[a-z0-9]++(?:-++[a-z0-9]++)*+"
EMAIL = re.compile(rf"(?:{_ATOM}(?:\.{_ATOM})*+|\"[^\"\x00-\x1f\x7f]++\")@{_LABEL}(?:\.{_LABEL})++")
NO_DIGITS: Final = bytes(set(range(128)) - set(b"0123456789"))
_NUMBERS = re.compile(r"\d+")
_US_ZIP = re.compile(r"[0-9]{5}-(?![0-9]{3}$)")  # five and three is Brazil
_NOT_A_TO_Z = re.compile(r"[^a-z]+")

_NOTHING: Final = frozenset({sha256(b"").hexdigest(), md5(b"", usedforsecurity=False).hexdigest()})
_HUGE: Final = 10**30


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
    text = raw if type(raw) is str else _as_text(field, raw)
    if text is None or (not text.isascii() and (text := characters.composed(text)) is None):
        return None
    if field == "external_id":
        return text if text.strip() else None
    text = text.lower().strip()
    if len(text) > 31 and _HEX.fullmatch(text):
        usable = field != "currency" and text not in _NOTHING and DIGEST.fullmatch(text)
        return text if usable else None
    return rule(text) or None


def _email(text: str) -> str | None:
    shape = text if text.isascii() else text.translate(characters.email_shape)
    return text if EMAIL.fullmatch(shape) else None


def _phone(text: str) -> str | None:
    if text.isascii():
        digits = text.encode().translate(None, NO_DIGITS).decode()
    else:
        digits = text.translate(characters.in_phone)
    digits = digits.lstrip("0")
    return digits if 7 <= len(digits) <= 15 else None


def _name(text: str) -> str:
    return text if text.isascii() and text.isalnum() else characters.kept(text, characters.in_name)


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
    return text if text.isascii() and text.isalpha() else characters.kept(text, characters.in_place)


def _state(text: str) -> str:
    letters = _city(text)
    return letters if letters.isascii() and len(letters) == 2 else state_code(text) or letters


def _zip(text: str) -> str | None:
    code = text if text.isascii() and text.isalnum() else text.translate(characters.in_zip)
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
        whole = int(number) if -_HUGE < number < _HUGE else None
    except (ArithmeticError, TypeError, ValueError):
        return None
    return str(whole) if whole == number else None


RULES: Final[dict[str, Callable[[str], str | None]]] = {
    "em": _email,
    "ph": _phone,
    "fn": _name,
    "ln": _name,
    "ge": INITIAL.get,
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
