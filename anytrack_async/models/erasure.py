"""Finding a person's conversions, and taking the person out of them.

Values are compared as destinations normalise them: e-mail addresses without invisible characters
and in lower case, phone numbers by their digits, without zeros before the country code, external
ids without whitespace and in lower case. A value that is a hash, as it may come from a file of
conversions, is compared with the hash of the others.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from hashlib import md5, sha256
from typing import Any, Final
from urllib.parse import unquote

import attrs

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.consent import UNKNOWN_CONSENT
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.email import visible_email
from anytrack_async.models.meta import MetaFields

_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")
_KEPT_OF_META: Final = ("event_name", "action_source")
_KEPT_OF_CUSTOM_DATA: Final = ("product_id",)


@attrs.frozen(kw_only=True, repr=False)
class Person:
    """The person to erase: a conversion with one of these values is the person's.

    The `repr` shows which values are given, never the values.

    Attributes:
        email: an e-mail address.
        phone: a phone number with country code.
        external_id: your own id of the customer.

    Raises:
        InvalidArgumentError: no value is given, or a value is blank or unusable.
    """

    email: str | None = None
    phone: str | None = None
    external_id: str | None = None
    _keys: dict[str, frozenset[str]] = attrs.field(init=False, eq=False)
    _quoted: re.Pattern[str] = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        values: Any = {name: getattr(self, name) for name in _NORMALISE}
        identifiers = {name: value for name, value in values.items() if value is not None}
        if not identifiers:
            raise InvalidArgumentError("email, phone or external_id", "must be given")
        keys, patterns = {}, []
        for name, value in identifiers.items():
            text = _normalised(name, value) if isinstance(value, str) else ""
            if not text:
                raise InvalidArgumentError(name, "must be text with a usable value")
            keys[name] = frozenset(_hashes(text))
            patterns += [_QUOTED[name](text), *keys[name]]
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_quoted", re.compile("|".join(patterns)))

    def __repr__(self) -> str:
        return f"Person({', '.join(f'{name}=…' for name in self._keys)})"

    def matches(self, conversion: Conversion) -> bool:
        """Return whether *conversion* is this person's."""
        customer = conversion.customer
        return customer is not None and any(
            self._has(customer, name, keys) for name, keys in self._keys.items()
        )

    def is_quoted_in(self, text: str) -> bool:
        """Return whether *text*, such as a service's answer, contains one of the values.

        The case does not matter, nor how a phone number is grouped, nor whether the text is encoded
        for an address, for JSON or for HTML. Hashes of the values count as well. Phone numbers and
        external ids have to be whole: ``7`` is not in ``17``.
        """
        decoded = html.unescape(unquote(_JSON_ESCAPE.sub(_json_character, text)))
        return any(self._quoted.search(_comparable(form)) for form in {text, decoded})

    def _has(self, customer: Customer, name: str, keys: frozenset[str]) -> bool:
        values: Iterable[str] = getattr(customer, name)
        texts = (_normalised(name, value) for value in values)
        return any(not keys.isdisjoint(_hashes(text)) for text in texts if text)


def _email(value: str) -> str:
    return visible_email(value).lower()


def _phone(value: str) -> str:
    digits = "".join(str(unicodedata.decimal(char)) for char in value if char.isdecimal())
    return digits.lstrip("0")


def _external_id(value: str) -> str:
    return "".join(value.lower().split())


_NORMALISE: Final[dict[str, Callable[[str], str]]] = {
    "email": _email,
    "phone": _phone,
    "external_id": _external_id,
}


# Finding a value in a text

_JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def _json_character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16))


def _comparable(text: str) -> str:
    """Return *text* in lower case, with plain digits, without invisible characters."""
    digits = (str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    return visible_email(text if text.isascii() else "".join(digits)).lower()


def _quoted_phone(digits: str) -> str:
    """Return a pattern of a phone number: for 4917 also ``+49 (17)`` and ``0049-17``."""
    return r"(?<!\d)0*" + r"\W{0,3}".join(digits) + r"(?!\d)"


def _quoted_external_id(text: str) -> str:
    whole = r"\s*".join(map(re.escape, text))
    before = r"(?<!\w)" if text[0].isalnum() else ""
    return before + whole + (r"(?!\w)" if text[-1].isalnum() else "")


_QUOTED: Final[dict[str, Callable[[str], str]]] = {
    "email": re.escape,
    "phone": _quoted_phone,
    "external_id": _quoted_external_id,
}


def _normalised(name: str, value: str) -> str:
    text = value.strip().lower()
    return text if _DIGEST.fullmatch(text) else _NORMALISE[name](value)


def _hashes(text: str) -> tuple[str, ...]:
    """Return the hashes by which *text* may be known; a hash is known by itself only."""
    if _DIGEST.fullmatch(text):
        return (text,)
    data = text.encode(errors="replace")
    return sha256(data).hexdigest(), md5(data, usedforsecurity=False).hexdigest()


def without_person(conversion: Conversion, *, forgotten: bool) -> Conversion:
    """Return *conversion* without anything that may identify its customer.

    Type, amount, currency, times, order id, event id, source, campaign, ad and items stay; of the
    custom data a product id, and of Meta's parameters the name of the event.

    Args:
        conversion: any conversion.
        forgotten: whether no destination is to get it any more, see `Consent.forgotten`.
    """
    consent = conversion.consent
    if forgotten:
        consent = attrs.evolve(consent or UNKNOWN_CONSENT, forgotten=True)
    custom_data = {
        name: value
        for name, value in conversion.custom_data.items()
        if name in _KEPT_OF_CUSTOM_DATA
    }
    meta = {name: value for name, value in (conversion.meta or {}).items() if name in _KEPT_OF_META}
    return attrs.evolve(
        conversion,
        customer=None,
        click_id=None,
        clicks=None,
        ip_address=None,
        user_agent=None,
        page_url=None,
        sub_ids=None,
        custom_data=custom_data,
        meta=MetaFields(**meta) if meta else None,  # type: ignore[typeddict-item]
        consent=consent,
    )
