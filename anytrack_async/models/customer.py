"""`Customer`: the identifiers that destinations match a conversion with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime
from typing import Any, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.identifiers import Identifier, id_from_number, without_decimal_zero
from anytrack_async.models.validators import encodable, is_missing
from anytrack_async.models.visitor import visitor_id

OneOrMany: TypeAlias = str | Iterable[str | None] | None
"""One value, several, or none."""

Dates: TypeAlias = str | date | Iterable[str | date | None] | None
"""One date, several, or none."""

Ids: TypeAlias = Identifier | Iterable[Identifier | None] | None
"""One id, several, or none."""

_NONE_GIVEN: tuple[()] = ()


# 491701234567 in a narrow column of a spreadsheet: most of its digits are lost.
_SCIENTIFIC = re.compile(r"[0-9]+(?:[.,][0-9]+)?e\+?[0-9]{1,3}", re.ASCII | re.IGNORECASE)


# attrs takes the type of an argument, and errors the name of a field, from the converter, so each
# field has its own.


def _email(value: OneOrMany) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _texts("email", value)


def _phone(value: Ids) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _numbers("phone", value)


def _first_name(value: OneOrMany) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _texts("first_name", value)


def _last_name(value: OneOrMany) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _texts("last_name", value)


def _gender(value: OneOrMany) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _texts("gender", value)


def _birth_date(value: Dates) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _texts("birth_date", value)


def _city(value: OneOrMany) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _texts("city", value)


def _state(value: OneOrMany) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _texts("state", value)


def _postal_code(value: Ids) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _numbers("postal_code", value)


def _country(value: OneOrMany) -> tuple[str, ...]:
    return _NONE_GIVEN if value is _NONE_GIVEN else _texts("country", value)


def _external_id(value: Ids) -> tuple[str, ...]:
    if value is _NONE_GIVEN:
        return _NONE_GIVEN
    return tuple(map(without_decimal_zero, _texts("external_id", value)))


def _texts(field: str, value: object) -> tuple[str, ...]:
    """Return one value or several as a tuple of texts, without missing ones.

    Raises:
        InvalidConversionError: a value is neither text nor a whole number, nor, for a date, a date.
    """
    if value is None or value is _NONE_GIVEN:  # not `==`: an array answers for each of its items
        return _NONE_GIVEN
    if type(value) is str and value.isascii():
        return (value,) if value.strip() else ()
    texts = (_text_or_none(field, item) for item in _as_iterable(value))
    return tuple(text for text in texts if text is not None)


def _numbers(field: str, value: object) -> tuple[str, ...]:
    """Return `_texts` of phone numbers or postal codes, some of which come from a spreadsheet.

    ``"94035.0"`` becomes ``"94035"``, and ``"4.91E+11"``, which lost its digits, is left out.
    """
    values = _texts(field, value)
    for text in values:
        if text[-2:] == ".0" or "E" in text or "e" in text:
            break
    else:
        return values
    stripped = (without_decimal_zero(text.strip()) for text in values)
    return tuple(text for text in stripped if not _SCIENTIFIC.fullmatch(text))


def _as_iterable(value: Any) -> Iterable[object]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return (value,)
    # A set's order differs between processes, and equal customers must have equal tuples.
    return sorted(value, key=str) if isinstance(value, Set) else value


def _text_or_none(field: str, value: object) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, str):
        # Half of a surrogate pair, which a visitor can type, cannot be sent.
        return str.__str__(value) if encodable(value) else None
    if isinstance(value, datetime):
        return _day_or_none(value)
    if isinstance(value, date):
        return value.isoformat()
    if (digits := id_from_number(value)) is None:
        raise InvalidConversionError(field, f"must be text, got {type(value).__name__}")
    return digits


def _day_or_none(moment: datetime) -> str | None:
    try:
        return moment.date().isoformat()
    except ValueError:  # what data frames have where there is no time
        return None


@attrs.frozen(kw_only=True, repr=False)
class Customer:
    """The identifiers of one customer, as entered: destinations normalise and hash them.

    Every field but the last three takes one value or several. Blank values and NaN, e.g. of empty
    form fields and gaps in a data frame, are ignored. So is text that cannot be sent: no text
    raises, whatever a visitor enters. The `repr` shows which fields are set, never their values.

    Attributes:
        email: e-mail addresses.
        phone: numbers with country code; punctuation does not matter. ``"491701234567.0"`` loses
            its ``.0``, and ``"4.91E+11"``, a number that a spreadsheet cut, is left out.
        first_name: given names.
        last_name: family names.
        gender: ``"f"``, ``"m"`` or the word.
        birth_date: `datetime.date`, or text such as ``"1990-02-03"`` or ``"02/03/1990"`` (month
            first).
        city: cities.
        state: states, provinces or regions; two-letter codes for the US and Canada.
        postal_code: postal codes; the same holds.
        country: ISO 3166 alpha-2 codes.
        external_id: your own ids for the customer.
        fbc: Meta's click cookie ``_fbc``.
        fbp: Meta's browser cookie ``_fbp``.
        fbclid: the click id of Meta's ``fbclid`` query parameter; used where `fbc` is missing.

    Raises:
        InvalidConversionError: a value of the first eleven is neither text nor a whole number, nor
            a date where one is expected; the message names the field.
    """

    email: tuple[str, ...] = attrs.field(default=(), converter=_email)
    phone: tuple[str, ...] = attrs.field(default=(), converter=_phone)
    first_name: tuple[str, ...] = attrs.field(default=(), converter=_first_name)
    last_name: tuple[str, ...] = attrs.field(default=(), converter=_last_name)
    gender: tuple[str, ...] = attrs.field(default=(), converter=_gender)
    birth_date: tuple[str, ...] = attrs.field(default=(), converter=_birth_date)
    city: tuple[str, ...] = attrs.field(default=(), converter=_city)
    state: tuple[str, ...] = attrs.field(default=(), converter=_state)
    postal_code: tuple[str, ...] = attrs.field(default=(), converter=_postal_code)
    country: tuple[str, ...] = attrs.field(default=(), converter=_country)
    external_id: tuple[str, ...] = attrs.field(default=(), converter=_external_id)
    fbc: str | None = attrs.field(default=None, converter=visitor_id)
    fbp: str | None = attrs.field(default=None, converter=visitor_id)
    fbclid: str | None = attrs.field(default=None, converter=visitor_id)

    def __repr__(self) -> str:
        names = (field.name for field in attrs.fields(Customer) if getattr(self, field.name))
        return f"Customer({', '.join(f'{name}=…' for name in names)})"
