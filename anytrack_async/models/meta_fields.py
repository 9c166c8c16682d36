"""Fields of the models for Meta: all optional, None where not given."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, get_args

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.validators import encodable, text_or_none, utc

_LARGEST = Decimal(10**15)
_LARGEST_ID = 10**40
_is_text = text_or_none()


def names_only(self: Any) -> str:
    """Return a `repr` that tells which fields are set, never their values."""
    named = (field.name for field in attrs.fields(type(self)) if _is_set(getattr(self, field.name)))
    return f"{type(self).__name__}({', '.join(f'{name}=…' for name in named)})"


def _is_set(value: object) -> bool:
    return value is not None and value != {}


def words() -> Any:
    """Return a field for text."""
    return attrs.field(default=None, validator=_is_text)


def key() -> Any:
    """Return a field for an id, given as text or whole number, kept as text."""
    return attrs.field(default=None, converter=_plain, validator=_is_text)


def _plain(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_ID
    return str(value) if whole else value


def one_of(literal: Any) -> Any:
    """Return a field for one of the values of *literal*."""
    allowed = get_args(literal)
    kind = type(allowed[0])

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None and not (type(value) is kind and value in allowed):
            known = ", ".join(map(str, allowed))
            raise InvalidConversionError(field.name, f"must be one of {known}")

    return attrs.field(default=None, validator=validate)


def part(cls: type) -> Any:
    """Return a field for a *cls*."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None and not isinstance(value, cls):
            raise InvalidConversionError(field.name, f"must be {cls.__name__}")

    return attrs.field(default=None, validator=validate)


def parts(field: str, cls: type) -> Any:
    """Return a field for several *cls*, kept as a tuple."""

    def convert(value: Any) -> tuple[Any, ...] | None:
        if value is None:
            return None
        several = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not all(isinstance(one, cls) for one in several):
            raise InvalidConversionError(field, f"must be {cls.__name__} objects")
        return several

    return attrs.field(default=None, converter=convert)


def flag() -> Any:
    """Return a field for True or False."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None and not isinstance(value, bool):
            raise InvalidConversionError(field.name, "must be True or False")

    return attrs.field(default=None, validator=validate)


def count() -> Any:
    """Return a field for a whole number of at least 0."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            raise InvalidConversionError(field.name, "must be a whole number of at least 0")

    return attrs.field(default=None, validator=validate)


def number(field: str, *, lowest: Decimal = -_LARGEST, highest: Decimal = _LARGEST) -> Any:
    """Return a field for a number from *lowest* to *highest*, kept as `Decimal`."""

    def convert(value: object) -> Decimal | None:
        if value is None:
            return None
        found = _decimal(value)
        if found is None or not lowest <= found <= highest:
            raise InvalidConversionError(field, f"must be a number from {lowest} to {highest}")
        return found

    return attrs.field(default=None, converter=convert)


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        return None
    try:
        found = Decimal(str(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def moment(field: str) -> Any:
    """Return a field for a time with zone, kept in UTC."""

    def convert(value: Any) -> Any:
        return None if value is None else utc(field, value)

    return attrs.field(default=None, converter=convert)


def several(field: str, *, validator: Any = None) -> Any:
    """Return a field for a list of texts or whole numbers, kept as a tuple of texts."""

    def convert(value: object) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise InvalidConversionError(field, "must be a list")
        return tuple(_entry(field, entry) for entry in value)

    return attrs.field(default=None, converter=convert, validator=validator)


def _entry(field: str, value: object) -> str:
    entry = _plain(value)
    if not isinstance(entry, str) or not encodable(entry):
        raise InvalidConversionError(field, "must hold text only")
    return entry
