"""Mappings that callers fill with what they like: copied, checked and made plain.

Messages have the path to a value and never the value itself, which may be a customer's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.validators import encodable

_SAFE_INTEGER = 2**63
_DEEPEST = 64
_MOST_DIGITS = 300
_NAME = re.compile(r"[A-Za-z_][\w-]{0,39}", re.ASCII)


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
    if not isinstance(value, (dict, Mapping)):  # a dict is known sooner
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
