"""Amounts and times in the words of a file.

Neither is ever guessed: ``1,234`` is 1234 to one reader and 1.234 to another, so without a decimal
sign it is refused, and so is a time without a zone. A refusal is an `InvalidConversionError` that
says which setting decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from anytrack_async.backfilling.dates import written_parser, zone_of
from anytrack_async.errors import InvalidConversionError

# Amounts

_GROUP_SIGNS = str.maketrans("", "", " \u00a0\u202f\u2009'\u2019")
_CURRENCY = r"(?:[A-Z]{3}|[$€£¥₹₽₺₩₪₴₫฿₱]|R\$|zł|kr)?"
_AROUND = re.compile(rf"(-?)\s*{_CURRENCY}\s*(.*?)\s*{_CURRENCY}", re.DOTALL)
_UNCLEAR_DOT = re.compile(r"-?\d{1,3}\.\d{3}")
_GROUPED: Final = {
    ".": re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d*)?|-?\d+(?:\.\d*)?|-?\.\d+"),
    ",": re.compile(r"-?\d{1,3}(?:\.\d{3})+(?:,\d*)?|-?\d+(?:,\d*)?|-?,\d+"),
}
_INDIAN = re.compile(r"-?\d{1,2}(?:,\d{2})*,\d{3}(?:\.\d*)?")
_THREE_DECIMALS: Final = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))

_COMMA = (
    "has a comma, which separates thousands to one reader and decimals to another: state the "
    "decimal sign, decimal=',' or decimal='.'"
)
_DOT = (
    "has a dot before three digits, which separates thousands to one reader and decimals to "
    "another: state the decimal sign, decimal=',' or decimal='.'"
)


def amount_parser(decimal: str | None) -> Callable[[Any], Decimal]:
    """Return a function from the text or number of a cell to the amount, which may be negative.

    Args:
        decimal: the decimal sign; None to refuse what is not clear without it. With ``"."``,
            ``"1,234.50"`` is 1234.50; with ``","``, ``"1.234,50"`` is.

    Returns:
        A function that raises `InvalidConversionError` for the field ``revenue``.
    """

    def parse(value: Any) -> Decimal:
        amount = read(value)
        if not amount.is_finite():  # the text "NaN", and 1e999 of JSON
            raise InvalidConversionError("revenue", "must be a finite number")
        return amount

    def read(value: Any) -> Decimal:
        if type(value) is not str:
            return _from_number(value)
        try:
            # Without a sign, "1.234" is refused below; "12.50" and "1234.5678" are clear.
            if decimal != "," and (decimal or value[-4:-3] != "."):
                amount = Decimal(value)
                if amount.is_finite():  # "NaN" and "Infinity" are not
                    return amount
        except InvalidOperation:
            pass
        return _from_text(value, decimal)

    return parse


def _from_number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidConversionError("revenue", f"must be a number, got {type(value).__name__}")
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _from_text(text: str, decimal: str | None) -> Decimal:
    digits = text.strip().replace("\u2212", "-")
    if digits[:1] == "(" and digits[-1:] == ")":  # an accountant's minus
        digits = f"-{digits[1:-1]}"
    if match := _AROUND.fullmatch(digits):  # "-€ 12.50", "12.50 EUR"
        digits = match[1] + match[2]
    digits = digits.translate(_GROUP_SIGNS)
    if digits[-1:] == "-" and digits[:1] != "-":
        digits = f"-{digits[:-1]}"
    digits = digits.removeprefix("+")
    if decimal is None:
        if "," in digits:
            raise InvalidConversionError("revenue", _COMMA)
        if _UNCLEAR_DOT.fullmatch(digits):
            raise InvalidConversionError("revenue", _DOT)
        decimal = "."
    if not _GROUPED[decimal].fullmatch(digits) and not (
        decimal == "." and _INDIAN.fullmatch(digits)
    ):
        raise InvalidConversionError(
            "revenue",
            f"is not an amount with the decimal sign {decimal!r}, such as 1299{decimal}90",
        )
    group = "," if decimal == "." else "."
    return Decimal(digits.replace(group, "").replace(decimal, "."))


# Times

_NAIVE = (
    "has no time zone: state the zone of the file's times, timezone='Europe/Berlin' or "
    "timezone='+02:00'"
)
_OFFSET_AFTER_BLANK = re.compile(r"(?<=\d) (?=[+-]\d{2}:?\d{2}$)")
_ZERO_OFFSET = re.compile(r"\s*(?:UTC|GMT|Z)$")


def time_parser(
    formats: Sequence[str], zone: tzinfo | None, *, day_first: bool | None = None
) -> Callable[[Any, tzinfo | None], datetime]:
    """Return a function from a cell and the row's own zone to a time in UTC.

    Args:
        formats: tried in order, see `FileMapping.formats`.
        zone: of times that state none; None to refuse them.
        day_first: whether 05/06/2026 is the 5th of June, for the format ``written``.

    Returns:
        A function that raises `InvalidConversionError` for the field ``timestamp``.
    """
    own_formats = {**_FORMATS, "written": written_parser(day_first)}
    parsers = [own_formats.get(name) or _by_format(name) for name in formats]
    examples = " or ".join(_EXAMPLES.get(name, name) for name in formats)

    def parse(value: Any, own_zone: tzinfo | None = None) -> datetime:
        moment = None
        if type(value) is str:
            for parser in parsers:
                if (moment := parser(value)) is not None:
                    break
        else:
            moment = _from_object(value)
        if moment is None:
            raise InvalidConversionError("timestamp", f"is not a time such as {examples}")
        if moment.tzinfo is None:
            if (local := own_zone or zone) is None:
                raise InvalidConversionError("timestamp", _NAIVE)
            moment = moment.replace(tzinfo=local)
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise InvalidConversionError("timestamp", "is outside the years 1 to 9999") from None

    return parse


def _from_iso(text: str) -> datetime | None:
    """Return the time of ``2026-05-01 10:00:00 +0200`` and the like; None if it is another form."""
    if text[4:5] != "-":
        text = text.strip()
        if text[4:5] != "-":
            return None
    try:
        if len(text) == 25 and text[19] == " ":  # the form of Shopify
            return datetime.fromisoformat(text[:19] + text[20:])
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    text = _ZERO_OFFSET.sub("+00:00", _OFFSET_AFTER_BLANK.sub("", text.strip()))
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    text, _, name = text.rpartition(" ")  # "2026-05-01 10:00:00 America/New_York"
    if (zone := zone_of(name)) is None:
        return None
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=zone)
    except ValueError:
        return None


def _from_unix(text: str) -> datetime | None:
    """Return the time of unix seconds, or of milliseconds if there are 13 digits."""
    digits, _, fraction = text.strip().partition(".")
    if not digits.isascii() or not digits.isdecimal() or not 9 <= len(digits) <= 13:
        return None
    if fraction and not fraction.isdecimal():
        return None
    return _from_seconds(float(f"{digits}.{fraction or 0}"))


_MILLISECONDS_FROM = 1e11  # seconds until then: the year 5138


def _from_seconds(seconds: float) -> datetime | None:
    if seconds >= _MILLISECONDS_FROM:
        seconds /= 1000
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None


def _by_format(form: str) -> Callable[[str], datetime | None]:
    def parse(text: str) -> datetime | None:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            return None

    return parse


def _from_object(value: Any) -> datetime | None:
    """Return a time of a database or of Parquet, and a JSON number as unix seconds."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _from_seconds(float(value)) if value > 1e8 else None
    return None


_FORMATS: Mapping[str, Callable[[str], datetime | None]] = {"iso": _from_iso, "unix": _from_unix}
_EXAMPLES: Mapping[str, str] = {
    "iso": "2026-05-01 10:00:00 +0200",
    "unix": "1777622400 (unix seconds)",
    "written": "25.06.2026 14:05:03",
}
