"""Checks of mappings with the caller's own keys, which are copied, checked and made plain.

They are the field ``custom_data``, and the like. *field* and *path* are the names
that an error starts with, as in `validators`.

Speed: the usual values of the usual types are tried first; three custom values take 0.6 µs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from math import inf, isfinite, isnan
from numbers import Integral, Real
from typing import Any, Final, Self
from uuid import UUID

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.missing import is_integer, is_missing, unwrapped
from anytrack_async.models.validators import INTEGER_LIMIT, without_surrogates

_MAX_DEPTH = 64
_MAX_EXPONENT = 300  # a float ends at 1.8e308

# Not written as unions in the calls, because `int | float` makes a new object each time.
_JSON_NUMBERS = (int, float, Decimal)
_KEY_SAFE_TO_QUOTE = re.compile(r"[A-Za-z_][\w-]{0,39}", re.ASCII)


def _native(value: Any) -> object:
    """Return *value* as one of Python's own types, if it has a counterpart, else *value*.

    A UUID and a lazy translation become text, a number or flag of numpy, as the cells of a data
    frame are, one of Python, its arrays lists, and members of enumerations their values.
    """
    if isinstance(value, UUID) or type(value).__name__ == "__proxy__":  # Django's translations
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if type(value).__name__ == "ndarray":
        return value.tolist()
    if is_integer(value):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Integral):
        return nearest_float(value)
    return bool(value) if is_flag(value) else value


def nearest_float(value: Real) -> float:
    """Return *value* as a float with the same shortest digits.

    0.1 of numpy's `float32` is 0.100000001490116… as a float of Python, but 0.1 as text.
    """
    try:
        return float(str(value))
    except ValueError:  # a fraction is written as 1/3
        pass
    try:
        return float(value)
    except OverflowError:  # a fraction beyond 1.8e308
        return inf


def is_flag(value: object) -> bool:
    """Return whether *value* is a truth value, of Python or of numpy 1 or 2."""
    return type(value).__name__ in ("bool", "bool_")


class _EmptyMapping(dict[str, Any]):
    """An empty dict that stays empty, since conversions share it."""

    __slots__ = ()

    def __setitem__(self, name: str, _: object) -> None:
        raise TypeError(
            f"{name!r} was not set: the mappings of a conversion cannot be changed; make another "
            "conversion with attrs.evolve(conversion, sub_ids={...})"
        )

    def update(self, *args: Any, **values: Any) -> None:
        for name, value in dict(*args, **values).items():
            self[name] = value

    def setdefault(self, name: str, default: Any = None) -> Any:
        self[name] = default

    def __ior__(self, values: Any) -> Self:  # type: ignore[misc, override]
        self.update(values)
        return self

    def __reduce__(self) -> str:
        return "NO_VALUES"  # copies and unpickled conversions share this instance too


NO_VALUES: Final[Mapping[str, Any]] = _EmptyMapping()
"""The mapping of a conversion without sub ids or click ids, as nearly all are.

Two empty dicts for each would be a third of its objects, and an eighth of the time to make it, to
deliver it, and to collect garbage meanwhile.
"""

DICTS: Final = (dict, _EmptyMapping)
"""The types of most mappings of a conversion, for a check that is faster than `isinstance`."""


# JSON


def json_map(field: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a deep copy of *value* that JSON can hold.

    Decimals and numpy's numbers become numbers, times and dates ISO text, UUIDs text, tuples and
    arrays lists, members of enumerations their values, NaN and NaT None. Texts lose halves of
    surrogate pairs, which a visitor can post.

    Raises:
        InvalidConversionError: a value cannot be written as JSON, or is nested deeper than 64
            levels; the message has the path.
    """
    return _json_object(field, mapping(field, value), 1)


def mapping(field: str, value: Any) -> Mapping[Any, Any]:
    """Return *value*, empty if it is missing.

    Raises:
        InvalidConversionError: it is not a mapping.
    """
    if type(value) is dict:  # first: checking against an abstract class takes long
        return value
    if value is None or is_missing(value):
        return {}
    if not isinstance(value, Mapping):
        raise InvalidConversionError(field, f"must be a mapping, got {type(value).__name__}")
    return value


def _json_object(path: str, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    copy = {}
    for key, item in value.items():
        name = key if type(key) is str and key.isascii() else _key(path, key)
        copy[name] = item if _is_plain_json(item) else _json(join_path(path, key), item, depth)
    return copy


def _is_plain_json(item: object) -> bool:
    """Return whether JSON can hold *item* as it is: nearly all values, except text beyond ASCII."""
    if type(item) is str:
        return item.isascii()
    if type(item) is int:
        return -INTEGER_LIMIT < item < INTEGER_LIMIT
    if type(item) is float:
        return isfinite(item)
    return item is None or type(item) is bool


def _key(path: str, key: object) -> str:
    if not isinstance(key, str):
        raise InvalidConversionError(path, "must have text keys only")
    return without_surrogates(key)


def join_path(path: str, key: object) -> str:
    """Return the path of *key* below *path*; a key that may be a customer's e-mail becomes "…"."""
    quotable = isinstance(key, str) and _KEY_SAFE_TO_QUOTE.fullmatch(key)
    return f"{path}.{key}" if quotable else f"{path}.…"


def _json(path: str, value: Any, depth: int) -> Any:
    value = unwrapped(value)
    scalar = _json_scalar(path, value)
    if scalar is not _NOT_SCALAR:
        return scalar
    if depth >= _MAX_DEPTH:
        raise InvalidConversionError(path[:80], f"is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return _json_object(path, value, depth + 1)
    if isinstance(value, list | tuple):
        return [_json(f"{path}[{index}]", item, depth + 1) for index, item in enumerate(value)]
    if is_missing(value):
        return None
    if (native := _native(value)) is not value:
        return _json(path, native, depth)
    raise InvalidConversionError(path, f"cannot be sent as JSON: {type(value).__name__}")


_NOT_SCALAR = object()


def _json_scalar(path: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, _JSON_NUMBERS):
        return _json_number(path, value)
    if isinstance(value, datetime):
        return _json_time(value)
    return value.isoformat() if isinstance(value, date) else _NOT_SCALAR


def _json_time(value: datetime) -> str | None:
    if is_missing(value):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()


def _json_number(path: str, value: float | Decimal) -> int | float | None:
    if isinstance(value, Decimal):
        if value.is_nan():
            return None
        value = _from_decimal(path, value)
    if isinstance(value, int):
        if abs(value) >= INTEGER_LIMIT:
            raise InvalidConversionError(path, "does not fit into 64 bits; send it as text")
        return int(value)
    if not isfinite(value):
        if isnan(value):
            return None
        raise InvalidConversionError(path, "must be a finite number")
    return float(value)


def _from_decimal(path: str, value: Decimal) -> int | float:
    if not value.is_finite():
        raise InvalidConversionError(path, "must be a finite number")
    if value.adjusted() > _MAX_EXPONENT:
        raise InvalidConversionError(path, "is out of range; send it as text")
    return int(value) if value == value.to_integral_value() else float(value)


# A field of a conversion, as an attrs converter


def to_custom_data(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the field ``custom_data``; see `json_map`."""
    if type(value) is dict:
        return _json_object("custom_data", value, 1) if value else {}
    return json_map("custom_data", value)
