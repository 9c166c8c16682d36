"""Checks of field values, shared by the models.

Most functions take a field and a value and return the value to keep. *field* is the name that an
error starts with: ``"revenue"``, or a path such as ``"custom_data.plan.price"``. Errors never quote
the value, which may be a customer's.

Speed: the usual values of the usual types are tried first, with few calls. `amount` takes 0.3 µs
for ``"49.90"``. All other values, and all errors, are left to general code that takes several times
as long.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from numbers import Real
from typing import Any, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.missing import (
    BLANK,
    NO_IDS,
    is_blank,
    is_integer,
    is_missing,
    is_missing_number,
    unwrapped,
)

Amount: TypeAlias = Decimal | int | float | str
"""Money as callers have it; `Decimal` in major units once in a model."""

MAX_TEXT = 4096  # characters

_Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]
_AMOUNT_LIMIT = Decimal(10) ** 15
INTEGER_LIMIT = 2**63  # JSON readers keep larger integers as floats, or refuse them
_ZERO = Decimal(0)
_MAX_AMOUNT_BYTES = 512  # about 900 digits, each of which would be stored with the event id too

# Not written as unions in the calls, because `int | float` makes a new object each time.
_NUMBERS = (int, float, str, Real)


# Numbers


def amount(field: str, value: Amount) -> Decimal:
    """Return *value* as a finite, non-negative `Decimal` in major units.

    Raises:
        InvalidConversionError: it is not a number, or out of range.
    """
    result = _decimal(field, value)
    if not result.is_finite():
        raise InvalidConversionError(field, "must be a finite number")
    if _ZERO < result < _AMOUNT_LIMIT:
        if result.__sizeof__() > _MAX_AMOUNT_BYTES:
            raise InvalidConversionError(field, "has too many digits")
        return result
    if result < 0:
        raise InvalidConversionError(field, "must not be negative")
    if result:
        raise InvalidConversionError(field, "must be less than 10^15")
    return result.copy_abs()  # -0 becomes 0


def number(
    field: str, value: Amount, *, lowest: Decimal = -_AMOUNT_LIMIT, highest: Decimal = _AMOUNT_LIMIT
) -> Decimal:
    """Return *value* as a `Decimal` from *lowest* to *highest*, both included.

    Raises:
        InvalidConversionError: it is not a number, or out of range.
    """
    result = _decimal(field, value)
    if not result.is_finite() or not lowest <= result <= highest:
        raise InvalidConversionError(field, f"must be a number from {lowest} to {highest}")
    return result


def _decimal(field: str, value: object) -> Decimal:
    try:
        if type(value) is str:
            # Python would take "49_90" for 4990.
            return Decimal(value) if "_" not in value else _decimal_of_text(field, value)
        if isinstance(value, Decimal):
            return value if type(value) is Decimal else Decimal(unwrapped(value))
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            raise InvalidConversionError(field, f"must be a number, got {type(value).__name__}")
        # By way of its text, 0.1 becomes Decimal("0.1") and not 0.1000000000000000055….
        return Decimal(unwrapped(value) if isinstance(value, int) else digits(field, value))
    except InvalidOperation:
        return _decimal_of_text(field, str(value))


def _decimal_of_text(field: str, value: str) -> Decimal:
    """Return the number in *value* without the invisible marks that copying adds at its ends."""
    text = value.strip(BLANK)
    if text != value.strip():
        return _decimal(field, text)
    problem = _NOT_A_NUMBER if text else "must be a number, got blank text"
    raise InvalidConversionError(field, _COMMA if _COMMAS.search(text) else problem) from None


def digits(path: str, value: object) -> str:
    """Return the text of a number, a float with its shortest digits.

    Raises:
        InvalidConversionError: it has too many digits.
    """
    try:
        # A subclass of float may write itself in another way: numpy's repr is "np.float64(0.1)".
        return float.__repr__(unwrapped(value)) if isinstance(value, float) else str(value)
    except (ValueError, OverflowError):  # an integer, or a fraction, of more than 4,300 digits
        raise InvalidConversionError(path, "has too many digits") from None


_COMMA = (
    "must be a number without a comma, because '1,299' is 1299 to one reader and 1.299 to another: "
    'parse the text first, with Decimal(text.replace(",", "")) if the comma separates thousands, '
    'or with Decimal(text.replace(".", "").replace(",", ".")) if it is a decimal comma; '
    "remove currency signs, spaces and other characters before"
)
# Also those of Arabic, Chinese and Japanese.
_COMMAS = re.compile("[,\u060c\u066b\u066c\u3001\uff0c\uff64]")
_NOT_A_NUMBER = (
    "must be a number such as '1299.90', got other text: remove currency signs, spaces, "
    "apostrophes and underscores before"
)


def whole_number(field: str, value: object, *, lowest: int = 0, limit: int = INTEGER_LIMIT) -> int:
    """Return *value* as an integer of at least *lowest* and below *limit*; 2.0 and "2" become 2.

    Raises:
        InvalidConversionError: it is not a whole number, or out of range.
    """
    if type(value) is not int:
        value = _integer(field, value)
    if value < lowest:
        raise InvalidConversionError(field, f"must be at least {lowest}")
    if value >= limit:
        raise InvalidConversionError(field, f"must be less than {limit}")
    return value


def _integer(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Decimal | Real | str):
        raise InvalidConversionError(field, f"must be an integer, got {type(value).__name__}")
    if is_integer(value):
        return int(unwrapped(value))
    exact = _decimal(field, value)
    # The range comes first: int() of 1E+999999999 would fill the memory.
    if (
        not exact.is_finite()
        or exact.copy_abs() >= _AMOUNT_LIMIT
        or exact != exact.to_integral_value()
    ):
        raise InvalidConversionError(field, "must be a whole number")
    return int(exact)


# Currencies and times


_is_currency = re.compile(r"[A-Za-z]{3}").fullmatch


def currency_code(value: str | None) -> str:
    """Return an upper-case ISO 4217 code; USD if *value* is not given.

    Raises:
        InvalidConversionError: it is not three ASCII letters.
    """
    if isinstance(value, str):
        code = value if len(value) == 3 and type(value) is str else plain_str(value).strip(BLANK)
        if code in NO_IDS:  # a gap in a column that became text
            return "USD"
        if _is_currency(code):
            return code if code.isupper() else code.upper()  # "EUR" as it is: no copy
    if value is None or is_missing(value):
        return "USD"
    return _currency_of_member(value)


def _currency_of_member(value: object) -> str:
    if isinstance(value, Enum):
        return currency_code(value.value)
    raise InvalidConversionError("currency", "must be a three-letter ISO 4217 code such as 'EUR'")


_NO_TIME = (
    "must be a datetime, got {}: use datetime.fromisoformat(…) for ISO 8601 text, or "
    "datetime.fromtimestamp(…, timezone.utc) for unix seconds"
)

_NO_ZONE = (
    "needs a time zone, e.g. 2026-01-31T12:00:00+00:00 as text, or datetime.now(timezone.utc)"
)


def utc(field: str, value: datetime) -> datetime:
    """Return *value* in UTC.

    Raises:
        InvalidConversionError: it has no time zone, or is not a time.
    """
    if not isinstance(value, datetime):
        raise InvalidConversionError(field, _NO_TIME.format(type(value).__name__))
    if type(value) is not datetime:
        value = _plain_datetime(field, value)
    if value.tzinfo is UTC:
        return value
    if value.utcoffset() is None:
        raise InvalidConversionError(field, _NO_ZONE)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidConversionError(field, "is outside the years 1 to 9999") from None


def _plain_datetime(field: str, value: datetime) -> datetime:
    # pandas has subclasses of datetime: Timestamp with nanoseconds, and NaT, which is not a time.
    try:
        return datetime.combine(value.date(), value.timetz())
    except ValueError:
        raise InvalidConversionError(field, "is not a time") from None


# Text


def text(field: str, value: object, max_length: int = MAX_TEXT) -> str:
    """Return *value*: text that is not blank, can be written as UTF-8, and not too long.

    Raises:
        InvalidConversionError: it is anything else.
    """
    if not isinstance(value, str):
        raise InvalidConversionError(field, f"must be text, got {type(value).__name__}")
    if is_blank(value):
        raise InvalidConversionError(field, "must not be empty")
    if len(value) > max_length:
        raise InvalidConversionError(field, f"must not be longer than {max_length} characters")
    return plain_str(value) if value.isascii() else unicode_text(field, value)


def unicode_text(field: str, value: str) -> str:
    """Return *value*, which may be empty, as a plain `str`.

    Raises:
        InvalidConversionError: it contains half of a surrogate pair.
    """
    if not encodable(value):
        raise InvalidConversionError(
            field, "contains an unpaired surrogate, which UTF-8 cannot encode"
        )
    return plain_str(value)


def without_surrogates(value: str) -> str:
    """Return *value* as a plain `str`, without halves of surrogate pairs."""
    if value.isascii() or encodable(value):
        return plain_str(value)
    return value.encode(errors="ignore").decode()


def plain_str(value: str) -> str:
    """Return *value* as a plain `str`: a subclass, or a lazy object that stands for text."""
    # `isinstance` believes a lazy object, as of Django; and str(member) of an enum is its name.
    return str.__str__(value) if issubclass(type(value), str) else str(value)


def encodable(value: str) -> bool:
    """Return whether *value* can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


# The fields of a conversion, as attrs converters and validators: one name and one rule each. They
# stand here, beside the functions that they call.


NOT_GIVEN = Decimal("NaN")
"""What `to_revenue` returns for a missing amount, until the conversion's type is looked at."""


def to_revenue(value: Amount) -> Decimal:
    """Return the field ``revenue``, see `amount`; `NOT_GIVEN` if it is missing."""
    try:
        return amount("revenue", value)
    except InvalidConversionError:
        if is_missing_number(value):
            return NOT_GIVEN
        raise


def to_timestamp(value: datetime | None) -> datetime:
    """Return the field ``timestamp``, now if it is not given; see `utc`."""
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    return utc_now() if value is None or is_missing_number(value) else utc("timestamp", value)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
