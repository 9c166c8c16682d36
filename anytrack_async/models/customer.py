"""Who bought: the identifiers that destinations match a conversion with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime
from typing import Any, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.validators import encodable

OneOrMany: TypeAlias = str | Iterable[str | None] | None
"""One value, several, or none."""

Dates: TypeAlias = str | date | Iterable[str | date | None] | None
"""One date, several, or none."""

Ids: TypeAlias = str | int | Iterable[str | int | None] | None
"""One id, several, or none."""

_NOTHING: tuple[()] = ()


def _texts(given: OneOrMany) -> tuple[str, ...]:
    return _raw(given)


def _dates(given: Dates) -> tuple[str, ...]:
    return _raw(given)


def _ids(given: Ids) -> tuple[str, ...]:
    return _raw(given)


def _text(given: str | None) -> str | None:
    value: Any = None if given is None else _plain(given)
    return None if _is_blank(value) else value


def _raw(given: object) -> tuple[Any, ...]:
    """Return each value of *given* as text where it can be; blank ones are left out."""
    values: Iterable[Any]
    if given is None or given is _NOTHING:  # not `==`, which an array answers for each value
        return _NOTHING
    if type(given) is str:
        return (given,) if given.strip() else ()
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        values = (given,)
    else:
        # A set has another order in each process, and the order tells equal customers apart.
        values = sorted(given, key=str) if isinstance(given, Set) else given
    return tuple(one for one in map(_plain, values) if not _is_blank(one))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _all_text(_: object, field: attrs.Attribute[Any], values: tuple[object, ...]) -> None:
    for value in values:
        if type(value) is not str or not value.isascii():
            _is_text(_, field, value)


def _is_text(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidConversionError(field.name, f"must be text, got {type(value).__name__}")
    if not encodable(value):
        raise InvalidConversionError(field.name, "holds half a character (a lone surrogate)")


@attrs.frozen(kw_only=True, repr=False)
class Customer:
    """The identifiers of one customer, raw: destinations normalise and hash them.

    Every field but the last three takes one value or several. Blank values are left out, so that
    an empty form field does no harm. The `repr` tells which fields are set, never their values.

    Attributes:
        email: e-mail addresses.
        phone: numbers with country code; punctuation does not matter.
        first_name: given names.
        last_name: family names.
        gender: ``"f"``, ``"m"`` or the word.
        birth_date: `datetime.date`, or text in a usual form.
        city: cities.
        state: states, provinces or regions; two-letter codes for the US and Canada.
        postal_code: postal codes.
        country: ISO 3166 alpha-2 codes.
        external_id: your own ids for the customer.
        fbc: Meta's click cookie ``_fbc``.
        fbp: Meta's browser cookie ``_fbp``.
        fbclid: the click id of Meta's ``fbclid`` query parameter; used where `fbc` is missing.

    Raises:
        InvalidConversionError: a value is not text.
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
        named = (field.name for field in attrs.fields(Customer) if getattr(self, field.name))
        return f"Customer({', '.join(f'{name}=…' for name in named)})"
