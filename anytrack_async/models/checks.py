"""What a field may hold: small converters and validators for the models.

Faults are told by field name and kind, never with the value: it may be a customer's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError

Amount: TypeAlias = Decimal | int | float | str
"""Money as callers have it; `Decimal` in major units once in a model."""

_Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]
_LARGEST = Decimal(10) ** 15
_SAFE_INTEGER = 2**63
_DEEPEST = 64
_MOST_DIGITS = 300
_NAME = re.compile(r"[A-Za-z_][\w-]{0,39}", re.ASCII)


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
        fault = "must be a number such as '1299.90', got other text"
        raise InvalidConversionError(field, fault) from None


def currency_code(value: str) -> str:
    """Return an upper-case ISO 4217 code.

    Raises:
        InvalidConversionError: it is not three ASCII letters.
    """
    if isinstance(value, str):
        code = value.strip()
        if len(code) == 3 and code.isascii() and code.isalpha():
            return code.upper()
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


def text(longest: int = 4096) -> _Validator:
    """Return a validator for text that is not empty, encodable and within *longest* characters."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, str):
            raise InvalidConversionError(field.name, f"must be text, got {type(value).__name__}")
        if not value or value.isspace():
            raise InvalidConversionError(field.name, "must not be empty")
        if len(value) > longest:
            raise InvalidConversionError(field.name, f"must not exceed {longest} characters")
        if not (value.isascii() or encodable(value)):
            raise InvalidConversionError(field.name, "holds half a character (a lone surrogate)")

    return validate


def identifier(longest: int = 255) -> _Validator:
    """Return a validator for an id: text that is printable, without blanks around it."""
    is_text = text(longest)

    def validate(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
        is_text(instance, field, value)
        if value != value.strip() or not value.isprintable():
            raise InvalidConversionError(
                field.name, "must be printable and without blanks around it"
            )

    return validate


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


def text_map(field: str, value: Mapping[str, Any] | None) -> dict[str, str]:
    """Return a copy of *value* with text keys and text values; None is left out.

    Raises:
        InvalidConversionError: a value is neither text nor a number.
    """
    return {
        _key(field, key): _as_text(field, key, item)
        for key, item in _mapping(field, value).items()
        if item is not None
    }


def _as_text(field: str, key: object, item: object) -> str:
    if isinstance(item, str):
        return _unicode(_step(field, key), item)
    if isinstance(item, float | Decimal):
        _number(_step(field, key), item)
    if isinstance(item, int | float | Decimal):
        return str(item).lower() if isinstance(item, bool) else str(item)
    raise InvalidConversionError(_step(field, key), f"must be text, got {type(item).__name__}")


def json_map(field: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a deep copy of *value* that JSON can hold.

    Decimals become numbers, times and dates ISO text, tuples lists.

    Raises:
        InvalidConversionError: something in it cannot be written as JSON, or nests deeper than 64
            levels; the message has the path.
    """
    return _object(field, _mapping(field, value), 1)


def _mapping(field: str, value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidConversionError(field, f"must be a mapping, got {type(value).__name__}")
    return value


def _object(path: str, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {_key(path, key): _json(_step(path, key), item, depth) for key, item in value.items()}


def _key(path: str, key: object) -> str:
    if not isinstance(key, str):
        raise InvalidConversionError(path, "must have text keys only")
    return _unicode(path, key)


def _step(path: str, key: object) -> str:
    # A key that is no name may be a customer's address.
    return f"{path}.{key}" if isinstance(key, str) and _NAME.fullmatch(key) else f"{path}.…"


def _unicode(path: str, value: str) -> str:
    if not encodable(value):
        raise InvalidConversionError(path, "holds half a character (a lone surrogate)")
    return str.__str__(value)  # `str` of an enumeration's member is its name


def _json(path: str, value: Any, depth: int) -> Any:
    plain = _scalar(path, value)
    if plain is not _NOT_SCALAR:
        return plain
    if depth >= _DEEPEST:
        raise InvalidConversionError(path[:80], f"nests deeper than {_DEEPEST} levels")
    if isinstance(value, Mapping):
        return _object(path, value, depth + 1)
    if isinstance(value, list | tuple):
        return [_json(f"{path}[{at}]", item, depth + 1) for at, item in enumerate(value)]
    raise InvalidConversionError(path, f"cannot be sent as JSON: {type(value).__name__}")


_NOT_SCALAR = object()


def _scalar(path: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _unicode(path, value)
    if isinstance(value, int | float | Decimal):
        return _number(path, value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return value.isoformat() if isinstance(value, date) else _NOT_SCALAR


def _number(path: str, value: float | Decimal) -> int | float:
    if isinstance(value, Decimal):
        value = _from_decimal(path, value)
    if isinstance(value, int):
        if abs(value) >= _SAFE_INTEGER:
            raise InvalidConversionError(path, "does not fit into 64 bits; send it as text")
        return int(value)
    if not isfinite(value):
        raise InvalidConversionError(path, "must be a finite number")
    return float(value)


def _from_decimal(path: str, value: Decimal) -> int | float:
    if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
        raise InvalidConversionError(path, "must be a finite number of a usual size")
    return int(value) if value == value.to_integral_value() else float(value)
