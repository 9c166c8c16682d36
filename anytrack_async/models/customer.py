"""`Customer`: the identifiers that destinations match a conversion with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime
from typing import Any, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.validators import unicode_text

OneOrMany: TypeAlias = str | Iterable[str | None] | None
"""One value, several, or none."""

Dates: TypeAlias = str | date | Iterable[str | date | None] | None
"""One date, several, or none."""

Ids: TypeAlias = str | int | Iterable[str | int | None] | None
"""One id, several, or none."""

_NONE_GIVEN: tuple[()] = ()


# Three names for one function: attrs takes the type of an argument from its converter.
def _texts(value: OneOrMany) -> tuple[str, ...]:
    return _as_tuple(value)


def _dates(value: Dates) -> tuple[str, ...]:
    return _as_tuple(value)


def _ids(value: Ids) -> tuple[str, ...]:
    return _as_tuple(value)


def _text(value: str | None) -> str | None:
    result: Any = None if value is None else _as_text(value)
    return None if _is_blank(result) else result


def _as_tuple(value: object) -> tuple[Any, ...]:
    """Return one value or several as a tuple of texts, without blank ones."""
    values: Iterable[Any]
    if value is None or value is _NONE_GIVEN:  # not `==`: an array answers for each of its items
        return _NONE_GIVEN
    if type(value) is str:
        return (value,) if value.strip() else ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        values = (value,)
    else:
        # A set's order differs between processes, and equal customers must have equal tuples.
        values = sorted(value, key=str) if isinstance(value, Set) else value
    return tuple(item for item in map(_as_text, values) if not _is_blank(item))


def _as_text(value: object) -> object:
    # Values of other types are returned as they are, for the validator to refuse.
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _all_text(_: object, attribute: attrs.Attribute[Any], values: tuple[object, ...]) -> None:
    for value in values:
        if type(value) is not str or not value.isascii():
            _is_text(_, attribute, value)


def _is_text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidConversionError(attribute.name, f"must be text, got {type(value).__name__}")
    unicode_text(attribute.name, value)


@attrs.frozen(kw_only=True, repr=False)
class Customer:
    """The identifiers of one customer, as entered: destinations normalise and hash them.

    Every field but the last three takes one value or several. Blank values, e.g. of empty form
    fields, are ignored. The `repr` shows which fields are set, never their values.

    Attributes:
        email: e-mail addresses.
        phone: numbers with country code; punctuation does not matter.
        first_name: given names.
        last_name: family names.
        gender: ``"f"``, ``"m"`` or the word.
        birth_date: `datetime.date`, or text such as ``"1990-02-03"`` or ``"02/03/1990"`` (month
            first).
        city: cities.
        state: states, provinces or regions; two-letter codes for the US and Canada.
        postal_code: postal codes.
        country: ISO 3166 alpha-2 codes.
        external_id: your own ids for the customer.
        fbc: Meta's click cookie ``_fbc``.
        fbp: Meta's browser cookie ``_fbp``.
        fbclid: the click id of Meta's ``fbclid`` query parameter; used where `fbc` is missing.

    Raises:
        InvalidConversionError: a value is not text; the message names the field.
    """

    email: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_all_text)
    phone: tuple[str, ...] = attrs.field(default=(), converter=_ids, validator=_all_text)
    first_name: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_all_text)
    last_name: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_all_text)
    gender: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_all_text)
    birth_date: tuple[str, ...] = attrs.field(default=(), converter=_dates, validator=_all_text)
    city: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_all_text)
    state: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_all_text)
    postal_code: tuple[str, ...] = attrs.field(default=(), converter=_ids, validator=_all_text)
    country: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_all_text)
    external_id: tuple[str, ...] = attrs.field(default=(), converter=_ids, validator=_all_text)
    fbc: str | None = attrs.field(default=None, converter=_text, validator=_is_text)
    fbp: str | None = attrs.field(default=None, converter=_text, validator=_is_text)
    fbclid: str | None = attrs.field(default=None, converter=_text, validator=_is_text)

    def __repr__(self) -> str:
        names = (field.name for field in attrs.fields(Customer) if getattr(self, field.name))
        return f"Customer({', '.join(f'{name}=…' for name in names)})"
