"""What a field may hold: small converters and validators for the models.

Messages name the field and never its value, which may be a customer's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError

Amount: TypeAlias = Decimal | int | float | str
"""Money as callers have it; `Decimal` in major units once in a model."""

_Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]
_LARGEST = Decimal(10) ** 15


def amount(field: str, value: Amount) -> Decimal:
    """Return *value* as a finite, non-negative `Decimal` in major units.

    Raises:
        InvalidConversionError: it is no such number.
    """
    number = _decimal(field, value)
    if not number.is_finite():
        raise InvalidConversionError(field, "must be a finite number")
    if number < 0:
        raise InvalidConversionError(field, "must not be negative")
    if number >= _LARGEST:
        raise InvalidConversionError(field, "must be below 10^15")
    return number or number.copy_abs()


def _decimal(field: str, value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidConversionError(field, f"must be a number, got {type(value).__name__}")
    try:
        return Decimal(value if isinstance(value, int) else str(value))
    except InvalidOperation:
        problem = "must be a number such as '1299.90', got other text"
        raise InvalidConversionError(field, problem) from None


def currency_code(value: str) -> str:
    """Return an upper-case ISO 4217 code.

    Raises:
        InvalidConversionError: it is not three ASCII letters.
    """
    if isinstance(value, str):
        code = value.strip()
        if len(code) == 3 and code.isascii() and code.isalpha():
            return code if code.isupper() else code.upper()  # one text for all of them
    raise InvalidConversionError("currency", "must be a three-letter ISO 4217 code such as 'EUR'")


def utc(field: str, value: datetime) -> datetime:
    """Return *value* in UTC.

    Raises:
        InvalidConversionError: it has no time zone, or is no time at all.
    """
    if not isinstance(value, datetime):
        raise InvalidConversionError(field, f"must be a datetime, got {type(value).__name__}")
    if type(value) is not datetime:
        value = _plain_time(field, value)
    if value.tzinfo is UTC:
        return value
    if value.utcoffset() is None:
        raise InvalidConversionError(field, "needs a time zone, e.g. datetime.now(timezone.utc)")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidConversionError(field, "is outside the years 1 to 9999") from None


def _plain_time(field: str, value: datetime) -> datetime:
    # Data frames have times of their own, with nanoseconds, and one that is no time.
    try:
        return datetime.combine(value.date(), value.timetz())
    except ValueError:
        raise InvalidConversionError(field, "is not a time") from None


def text_or_none(longest: int = 4096) -> _Validator:
    """Return a validator for None or text, not empty, encodable and within *longest* characters."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None:
            _check_text(field.name, value, longest)

    return validate


def identifier(longest: int = 255, *, optional: bool = False) -> _Validator:
    """Return a validator for an id: text that is printable, without blanks around it."""

    def validate(_: object, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        _check_text(field.name, value, longest)
        if value != value.strip() or not value.isprintable():
            raise InvalidConversionError(
                field.name, "must be printable and without blanks around it"
            )

    return validate


def _check_text(field: str, value: object, longest: int) -> None:
    if not isinstance(value, str):
        raise InvalidConversionError(field, f"must be text, got {type(value).__name__}")
    if not value or value.isspace():
        raise InvalidConversionError(field, "must not be empty")
    if len(value) > longest:
        raise InvalidConversionError(field, f"must not exceed {longest} characters")
    if not (value.isascii() or encodable(value)):
        raise InvalidConversionError(field, "holds half a character (a lone surrogate)")


def encodable(value: str) -> bool:
    """Tell whether *value* can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_blank(value: str | None) -> str | None:
    """Return *value*, or None for empty text: an empty form field or header says nothing."""
    return None if isinstance(value, str) and not value.strip() else value
