"""`Customer`: the identifiers that destinations match a conversion with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import date, datetime
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypedDict, Unpack, cast

import attrs

from anytrack_async.models.frozen import fast_init
from anytrack_async.models.identifiers import (
    MAYBE_DECIMALS,
    Identifier,
    id_from_number,
    names_nothing,
    without_decimal_zero,
)
from anytrack_async.models.missing import NO_IDS, is_blank, is_iterable, is_missing
from anytrack_async.models.notes import (
    NOTES,
    Weakenable,
    forget_notes,
    note_weakness,
    with_weaknesses,
)
from anytrack_async.models.validators import MAX_TEXT, encodable
from anytrack_async.models.visitor import visitor_id

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


# 491701234567 in a narrow column of a spreadsheet: most of its digits are lost.
_SCIENTIFIC = re.compile(r"\+?[0-9]+(?:[.,][0-9]+)?e\+?[0-9]{1,3}", re.ASCII | re.IGNORECASE)
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
        if text[-1] == "0" and text[-2:] in MAYBE_DECIMALS:
            ids = tuple(map(without_decimal_zero, ids))
        if text in NO_IDS or "E+" in text:
            return _without_names_of_nothing(ids)
    return ids


def _without_names_of_nothing(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out ids such as "nan" and "4.91E+11", which would make many customers one person."""
    usable = tuple(text for text in ids if not names_nothing(text))
    if len(usable) < len(ids):
        note_weakness(UNUSABLE["external_id"])
    return usable


def _texts(field: str, value: object) -> tuple[str, ...]:
    """Return one value or several as a tuple of texts, without missing and unusable ones."""
    if value is None or value is _NONE_GIVEN:  # not `==`: an array answers for each of its items
        return _NONE_GIVEN
    if type(value) is str and value.isascii() and len(value) <= MAX_TEXT:
        return () if is_blank(value) else (value,)
    items = islice(_as_iterable(value), _MAX_VALUES)
    texts = (_text_or_none(field, item) for item in items)
    return tuple(text for text in texts if text is not None)


def _numbers(field: str, value: object) -> tuple[str, ...]:
    """Return `_texts` of phone numbers or postal codes, some of which come from a spreadsheet.

    ``"94035.0"`` becomes ``"94035"``, and ``"4.91E+11"``, which lost its digits, is left out.
    """
    values = _texts(field, value)
    for text in values:
        if "." in text or "," in text or "E" in text or "e" in text:
            break
    else:
        return values
    stripped = tuple(map(_without_decimals, values))
    numbers = tuple(text for text in stripped if not _SCIENTIFIC.fullmatch(text))
    if len(numbers) < len(values):
        note_weakness(UNUSABLE[field])
    return numbers


def _without_decimals(text: str) -> str:
    text = text.strip()
    match = _WITH_DECIMALS.fullmatch(text)
    return match[1] if match else text


_MAX_VALUES = 1_000  # that are looked at: no customer has more, and an iterator may have no end
_SINGLE = (str, bytes, bytearray, memoryview, Mapping)


def _as_iterable(value: Any) -> Iterable[object]:
    if isinstance(value, _SINGLE) or not is_iterable(value):
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
            return str.__str__(value)
        note_weakness(UNUSABLE[field])
        return None
    if isinstance(value, datetime):
        return _day_or_none(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return _text_or_none(field, value.value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_or_none(field, bytes(value).decode(errors="ignore"))
    if (digits := id_from_number(value)) is None:
        note_weakness(UNUSABLE[field])  # e.g. a form that was posted as JSON has {"email": true}
    return digits


def _day_or_none(moment: datetime) -> str | None:
    try:
        return moment.date().isoformat()
    except ValueError:  # `NaT`, which data frames have in place of a missing time
        return None


# E-mail addresses: every destination must see the same address, or one customer would be two

MAX_EMAIL: Final = 254
"""Characters that an address may have (RFC 5321)."""

_ATOM = r"[a-z0-9_!#$%&'*+/=?^`{|}~-]++"
_LABEL = r"[a-z0-9]++(?:-++[a-z0-9]++)*+"
EMAIL: Final = re.compile(
    rf"(?:{_ATOM}(?:\.{_ATOM})*+|\"[^\"\x00-\x1f\x7f]++\")@{_LABEL}(?:\.{_LABEL})++"
)
"""An address in lower case, in ASCII."""

# Look blank, or change how the characters beside them look, but are letters, marks or symbols.
_BLANK_LETTERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
_FULL_WIDTH = range(0xFF01, 0xFF5F)  # "!" to "~", as Japanese and Chinese keyboards write them
_TO_ASCII = 0xFEE0
_FULL_STOPS = "\u3002\uff61"  # RFC 3490 counts them as the dots of a domain


class CharacterTable(dict[int, str | None]):
    """A table for `str.translate` that calls *decide* once for each character, then remembers."""

    def __init__(self, decide: Callable[[str], str | None]) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, code: int) -> str | None:
        self[code] = replacement = self._decide(chr(code))
        return replacement


@CharacterTable
def _email_characters(char: str) -> str | None:
    """Drop invisible characters; full-width letters, signs and stops become those of ASCII."""
    if char.isspace():
        return char
    selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    if unicodedata.category(char) in {"Cc", "Cf"} or char in _BLANK_LETTERS or selector:
        return None
    if char in _FULL_STOPS:
        return "."
    return chr(ord(char) - _TO_ASCII) if ord(char) in _FULL_WIDTH else char


@CharacterTable
def _email_shape(char: str) -> str | None:
    """Replace letters and digits beyond ASCII by ``x``, so that one pattern fits all scripts."""
    return char if char.isascii() or unicodedata.category(char)[0] not in "LMN" else "x"


def visible_email(text: str) -> str:
    """Return *text* without invisible characters, which copying and direction marks bring along.

    ``jane@x.example`` loses a direction mark before it and a byte order mark behind it, and
    ``jane＠x.example`` gets an ASCII ``@``. Whitespace within an address stays, which makes it
    unusable. Accents written as separate marks are joined (NFC).
    """
    return unicodedata.normalize("NFC", text.translate(_email_characters)).strip()


def is_email(text: str) -> bool:
    """Return whether *text*, trimmed and in lower case, is one e-mail address and nothing else.

    Letters of all scripts are allowed. Display names, ``mailto:``, a second address and a dot at
    the end are not.

    Source: Meta: Conversions API, customer information parameters; RFC 5321 and RFC 6531.
    """
    return EMAIL.fullmatch(text if text.isascii() else text.translate(_email_shape)) is not None


@fast_init
@attrs.frozen(kw_only=True, repr=False)
class Customer(Weakenable):
    """The identifiers of one customer, as entered: destinations normalise and hash them.

    Every field but the last three takes one value or several, of which the first 1,000 count. Blank
    values and NaN, e.g. of empty form fields and gaps in a data frame, are ignored. Nothing raises,
    whatever a visitor enters or posts: text that cannot be sent or has more than 4,096 characters
    is left out, and so are values that are neither text nor whole numbers nor dates; `weakened`
    names their kinds. The `repr` shows which fields are set, never their values.

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
