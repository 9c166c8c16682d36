"""`Customer`: the identifiers that destinations match a conversion with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime
from enum import Enum
from itertools import islice
from numbers import Number
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypedDict, Unpack, cast

import attrs

from anytrack_async.models.email import MAX_EMAIL, visible_email
from anytrack_async.models.frozen import fast_init
from anytrack_async.models.identifiers import (
    MAYBE_DECIMALS,
    Identifier,
    id_from_number,
    names_nothing,
    own_text,
    without_decimal_zero,
)
from anytrack_async.models.missing import (
    BLANK,
    BLANKS,
    NO_IDS,
    is_blank,
    is_iterable,
    is_missing,
    unwrapped,
)
from anytrack_async.models.notes import (
    NOTES,
    Weakenable,
    forget_notes,
    note_weakness,
    with_weaknesses,
)
from anytrack_async.models.validators import MAX_TEXT, encodable, plain_str
from anytrack_async.models.visitor import BUILDER_MARKER, visitor_id

if TYPE_CHECKING:
    from anytrack_async.models.forwarding import TrustedProxies

OneOrMany: TypeAlias = str | Iterable[str | None] | None
"""One value, several, or none."""

Dates: TypeAlias = str | date | Iterable[str | date | None] | None
"""One date, several, or none."""

Ids: TypeAlias = Identifier | Iterable[Identifier | None] | None
"""One id, several, or none."""

_NONE_GIVEN: tuple[()] = ()

UNUSABLE: Final = {
    "email": "unusable e-mail addresses",
    "phone": "unusable phone numbers",
    "first_name": "unusable names",
    "last_name": "unusable names",
    "gender": "unusable genders",
    "birth_date": "unusable birth dates",
    "city": "unusable cities",
    "state": "unusable states",
    "postal_code": "unusable postal codes",
    "country": "unusable countries",
    "external_id": "unusable external ids",
}
"""Field → kind of its values that are left out."""


# 491701234567 in a narrow column of a spreadsheet: most of its digits are lost. A link turns "+"
# into a space.
_SCIENTIFIC = re.compile(
    r"[+-]?[0-9]+(?:[.,][0-9]+)? ?e[+ ]?[0-9]{1,3}(?:[.,]0+)?", re.ASCII | re.IGNORECASE
)
_WITH_DECIMALS = re.compile(r"(\+?[0-9]+)[.,]0+", re.ASCII)


# attrs takes the type of an argument, and errors the name of a field, from the converter, so each
# field has its own.


def _email(value: OneOrMany) -> tuple[str, ...]:
    if NOTES:  # this is the first field
        forget_notes()
    if value is _NONE_GIVEN:
        return _NONE_GIVEN
    if type(value) is str and value.isprintable() and value.isascii() and len(value) <= MAX_EMAIL:
        return (address,) if (address := value.strip()) else ()
    return _visible_emails(value)


def _visible_emails(value: OneOrMany) -> tuple[str, ...]:
    texts = [text for text in map(visible_email, _texts("email", value)) if text]
    usable = tuple(text for text in texts if len(text) <= MAX_EMAIL)
    if len(usable) < len(texts):
        note_weakness(UNUSABLE["email"])
    return usable


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
    ids = _texts("external_id", value)
    for text in ids:
        if (
            (text[-1] == "0" and text[-2:] in MAYBE_DECIMALS)
            or text in NO_IDS
            or "+" in text
            or text[-1] in BLANKS
            or text[0] in BLANKS
        ):
            return _ids_of_table(ids)
    return ids


def _ids_of_table(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return *ids* without decimal zeros, and without "nan" and "4.91E+11".

    These would make many customers one person.
    """
    usable = []
    for text in ids:
        bare = text.strip(BLANK)
        number = without_decimal_zero(bare)
        if not names_nothing(bare):
            usable.append(text if number == bare else number)
    if len(usable) < len(ids):
        note_weakness(UNUSABLE["external_id"])
    return tuple(usable)


def _texts(field: str, value: object) -> tuple[str, ...]:
    """Return one value or several as a tuple of texts, without missing and unusable ones."""
    if value is None or value is _NONE_GIVEN:  # not `==`: an array answers for each of its items
        return _NONE_GIVEN
    if type(value) is str and value.isascii() and len(value) <= MAX_TEXT:
        return () if is_blank(value) else (value,)
    items = islice(_as_iterable(value), _MAX_VALUES)
    texts = (_text_or_none(field, item) for item in items)
    return tuple(text for text in texts if text is not None)


_may_be_of_table = re.compile(r"[.,Ee]").search


def _numbers(field: str, value: object) -> tuple[str, ...]:
    """Return `_texts` of phone numbers or postal codes, some of which come from a spreadsheet.

    ``"94035.0"`` becomes ``"94035"``, and ``"4.91E+11"``, which lost its digits, is left out; so is
    ``"nan"``.
    """
    values = _texts(field, value)
    for text in values:
        if _may_be_of_table(text) or text in NO_IDS:
            break
    else:
        return values
    stripped = tuple(map(_without_decimals, values))
    numbers = tuple(
        text for text in stripped if text not in NO_IDS and not _SCIENTIFIC.fullmatch(text)
    )
    if len(numbers) < len(values):
        note_weakness(UNUSABLE[field])
    return numbers


def _without_decimals(text: str) -> str:
    text = text.strip(BLANK)
    match = _WITH_DECIMALS.fullmatch(text)
    return match[1] if match else text


_MAX_VALUES = 1_000  # that are looked at: no customer has more, and an iterator may have no end
_SINGLE = (str, bytes, bytearray, memoryview, Mapping)


def _as_iterable(value: Any) -> Iterable[object]:
    value = unwrapped(value)
    # A translation of a web framework has characters, and the methods of a text.
    if isinstance(value, _SINGLE) or not is_iterable(value) or hasattr(value, "encode"):
        return (value,)
    # A set's order differs between processes, and equal customers must have equal tuples.
    return sorted(value, key=str) if isinstance(value, Set) else value


def _text_or_none(field: str, value: object) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, str):
        # Half of a surrogate pair, which a visitor can type, cannot be sent; and no real name has
        # more than 4,096 characters.
        if len(value) <= MAX_TEXT and encodable(value):
            text = plain_str(value)
            return text if field not in _NUMBERS or text.isascii() else _ascii_number(text)
        note_weakness(UNUSABLE[field])
        return None
    return _text_of_object(field, value)


def _text_of_object(field: str, value: object) -> str | None:
    if isinstance(value, datetime):
        return _day_or_none(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return _text_or_none(field, value.value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_or_none(field, bytes(value).decode(errors="ignore"))
    if field == "birth_date" and type(value).__name__ == "datetime64":  # of numpy
        return str(value)
    if (digits := id_from_number(value)) is not None:
        return digits
    if not isinstance(value, Number) and (text := own_text(value)) is not None:
        return _text_or_none(field, text)
    note_weakness(UNUSABLE[field])  # e.g. a form that was posted as JSON has {"email": true}
    return None


_NUMBERS = ("phone", "postal_code")


def _ascii_number(text: str) -> str:
    """Return a number without the marks of direction around it, and full-width digits as ASCII."""
    return unicodedata.normalize("NFKC", text).strip(BLANK)


_SHORTEST_DIGEST = 32  # characters; nearly no value is as long
_HASHED = re.compile(
    rf"([0-9a-f]{{32}}(?:[0-9a-f]{{32}})?)(?:\.{BUILDER_MARKER})*", re.ASCII | re.IGNORECASE
)


def digest_or_none(text: str) -> str | None:
    """Return the digest that *text* is, SHA-256 or MD5, in its own letter case; or None.

    It loses the marker of Meta's parameter builder: ``8830eedd….AQICAQMC``.
    """
    match = _HASHED.fullmatch(text.strip())
    return match[1] if match else None


def readable(values: Iterable[str]) -> str | None:
    """Return the first of *values* that is no digest, without blanks around it; or None.

    Values that were hashed for Meta are no names or numbers to other destinations.
    """
    for text in values:
        if len(text) < _SHORTEST_DIGEST or digest_or_none(text) is None:
            return text.strip()
    return None


def _day_or_none(moment: datetime) -> str | None:
    try:
        return moment.date().isoformat()
    except ValueError:  # `NaT`, which data frames have in place of a missing time
        return None


@fast_init
@attrs.frozen(kw_only=True, repr=False)
class Customer(Weakenable):
    """The identifiers of one customer, as entered: destinations normalise and hash them.

    Every field but the last three takes one value or several, of which the first 1,000 count. Blank
    values and NaN, e.g. of empty form fields and gaps in a data frame, are ignored. Nothing raises,
    whatever a visitor enters or posts: text that cannot be sent or has more than 4,096 characters
    is left out, and so are values that are neither text nor whole numbers nor dates; `weakened`
    names their kinds. An object whose class writes itself as text is that text, such as the phone
    numbers and countries of web frameworks. The `repr` shows which fields are set, never their
    values.

    Attributes:
        email: e-mail addresses. Invisible characters (zero-width, direction and byte order marks,
            soft hyphens, control characters) are removed, so that each destination gets the same
            address. Text that is no address is sent nowhere; more than 254 characters are left out.
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
        fbc: Meta's click cookie ``_fbc``. A newer click in `Conversion.page_url` beats it.
        fbp: Meta's browser cookie ``_fbp``.
        fbclid: the click id of Meta's ``fbclid`` query parameter; used where `fbc` is missing.
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

    @classmethod
    def from_request(
        cls, request: Any, trusted_proxies: TrustedProxies = (), **fields: Unpack[CustomerFields]
    ) -> Self:
        """Return a customer with *fields*, and Meta's cookies of *request* unless they are given.

        Use ``context=visitor_from_request(request, …)`` for the conversion instead, if its address,
        browser, page and click ids are wanted as well.

        Args:
            request: see `visitor_from_request`.
            trusted_proxies: see `visitor`.
            fields: fields of the customer that the shop knows.

        Raises:
            InvalidArgumentError: see `visitor_from_request`.
        """
        from anytrack_async.models.request import customer_with
        from anytrack_async.models.request_objects import visitor_from_request

        own = cls(**fields)
        context = visitor_from_request(request, trusted_proxies)
        customer = customer_with(context, own)
        if customer.fbclid is None and "fbclid" in context.clicks:
            customer = attrs.evolve(customer, fbclid=context.clicks["fbclid"])
        return cast("Self", with_weaknesses(customer, own.weakened))

    def __repr__(self) -> str:
        names = (field.name for field in attrs.fields(Customer) if getattr(self, field.name))
        return f"Customer({', '.join(f'{name}=…' for name in names)})"


class CustomerFields(TypedDict, total=False):
    """Keyword arguments of a `Customer`."""

    email: OneOrMany
    phone: Ids
    first_name: OneOrMany
    last_name: OneOrMany
    gender: OneOrMany
    birth_date: Dates
    city: OneOrMany
    state: OneOrMany
    postal_code: Ids
    country: OneOrMany
    external_id: Ids
    fbc: str | None
    fbp: str | None
    fbclid: str | None
