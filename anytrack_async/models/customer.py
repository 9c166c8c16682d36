"""Who bought: the identifiers that destinations match a conversion with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.checks import encodable

OneOrMany: TypeAlias = str | Iterable[str] | None
"""One value, several, or none."""


def _values(field: str) -> Any:
    """Return an attrs field that keeps raw values in order; blank ones are left out."""

    def convert(given: object) -> tuple[str, ...]:
        if given is None:
            return ()
        several = given if isinstance(given, list | tuple | set | frozenset) else (given,)
        return tuple(one for item in several if (one := _raw(field, item)))

    return attrs.field(default=(), converter=convert)


def _raw(field: str, value: object) -> str:
    if isinstance(value, str):
        if not encodable(value):
            raise InvalidConversionError(field, "holds half a character (a lone surrogate)")
        return value if value.strip() else ""
    if isinstance(value, date):
        return (value.date() if isinstance(value, datetime) else value).isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None:
        return ""
    raise InvalidConversionError(field, f"must be text, got {type(value).__name__}")


def _single(field: str) -> Any:
    return attrs.field(default=None, converter=lambda value: _raw(field, value) or None)


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

    email: tuple[str, ...] = _values("email")
    phone: tuple[str, ...] = _values("phone")
    first_name: tuple[str, ...] = _values("first_name")
    last_name: tuple[str, ...] = _values("last_name")
    gender: tuple[str, ...] = _values("gender")
    birth_date: tuple[str, ...] = _values("birth_date")
    city: tuple[str, ...] = _values("city")
    state: tuple[str, ...] = _values("state")
    postal_code: tuple[str, ...] = _values("postal_code")
    country: tuple[str, ...] = _values("country")
    external_id: tuple[str, ...] = _values("external_id")
    fbc: str | None = _single("fbc")
    fbp: str | None = _single("fbp")
    fbclid: str | None = _single("fbclid")

    def __repr__(self) -> str:
        named = (field.name for field in attrs.fields(Customer) if getattr(self, field.name))
        return f"Customer({', '.join(f'{name}=…' for name in named)})"
