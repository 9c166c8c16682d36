"""`user_data`: the identifiers of an event's customer, normalised and hashed.

Source: Meta: Conversions API, customer information parameters; fbp and fbc parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from typing import Any

import attrs

from anytrack_async.destinations.meta.click_ids import Weaknesses, add_clicks
from anytrack_async.destinations.meta.hashing import (
    UNUSABLE_VALUES,
    Hashes,
    hashed_all,
    hashed_emails,
    hashed_names,
    hashed_phones,
    hashed_plain_ids,
    hashed_shared,
)
from anytrack_async.destinations.meta.normalise import DIGEST, is_digest, without_marker
from anytrack_async.destinations.meta.regions import country_code, phone_with_region
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import UNUSABLE, Customer
from anytrack_async.models.meta import MetaFields

_EMPTY = Customer()

# Numbers that are certainly without a country code: "0170 1234567", "(020) 7946 0958", and, in the
# notation of North America, "(650) 555-1212" and "650-555-1212". Digits alone may have one.
_NATIONAL = re.compile(
    r"\s*(?![0-9a-fA-F]{32})(?:\(?0(?!0)|\([2-9]\d\d\)\s*\d{3}[-. ]?\d{4}\s*$"
    r"|[2-9]\d\d[-. ]\d{3}[-. ]\d{4}\s*$)"
)

# Fields with values that many customers share, so that their hashes are cached.
_SHARED = ("ge", "ct", "st", "zp", "country")
_SHARED_FIELDS = ("gender", "city", "state", "postal_code", "country")
_shared_values = attrgetter(*_SHARED_FIELDS)


def match_keys(conversion: Conversion, settings: MetaSettings | None = None) -> tuple[str, ...]:
    """Return Meta's names of the identifiers that *conversion* will be matched by.

    Values that are unusable do not count: an address without "@" gives no ``em``.
    """
    return tuple(user_data(conversion, settings))


def user_data(
    conversion: Conversion,
    settings: MetaSettings | None = None,
    *,
    seen_at: datetime | None = None,
) -> dict[str, Any]:
    """Return the identifiers of *conversion*, hashed where Meta wants that, without unusable ones.

    Args:
        conversion: any conversion.
        settings: how phone numbers and countries are read, and whether external ids are hashed
            (they are without settings).
        seen_at: when the click id was first seen; the conversion's time if not given.
    """
    return all_user_data((conversion,), settings, (seen_at or conversion.timestamp,))[0]


def all_user_data(
    conversions: Sequence[Conversion],
    settings: MetaSettings | None,
    seen_at: Sequence[datetime],
    weaknesses: Weaknesses | None = None,
) -> list[dict[str, Any]]:
    """Return the `user_data` of each of *conversions*, faster than one at a time.

    Args:
        conversions: any conversions.
        settings: as for `user_data`.
        seen_at: when the click id of each was first seen.
        weaknesses: gets the `user_data` of conversions with unusable values, and their kinds.
    """
    all_weaknesses = [] if weaknesses is None else weaknesses
    customers = _customers(conversions, settings)
    users = _contact_data(customers, all_weaknesses)
    _add_visits(users, conversions)
    _add_other_data(users, customers, all_weaknesses)
    _add_external_ids(users, customers, settings is None or settings.hash_external_id)
    _add_meta_ids(users, customers, conversions, seen_at, all_weaknesses)
    return users


def _customers(conversions: Sequence[Conversion], settings: MetaSettings | None) -> list[Customer]:
    customers = [conversion.customer or _EMPTY for conversion in conversions]
    if settings is not None and (settings.phone_region or settings.country_names):
        return [
            customer if customer is _EMPTY else read_with_libraries(customer, settings)
            for customer in customers
        ]
    return customers


# Each function below goes through the whole slice: a call for each conversion would cost more
# than most of the work in it.


def _contact_data(customers: Sequence[Customer], weaknesses: Weaknesses) -> list[dict[str, Any]]:
    phones = [customer.phone for customer in customers]
    columns = (
        hashed_emails([customer.email for customer in customers]),
        hashed_phones(phones),
        hashed_names([customer.first_name for customer in customers]),
        hashed_names([customer.last_name for customer in customers]),
    )
    users = []
    for em, ph, fn, ln in zip(*columns, strict=True):
        user: dict[str, Any] = {}
        if em:
            user["em"] = em
        if ph:
            user["ph"] = ph
        if fn:
            user["fn"] = fn
        if ln:
            user["ln"] = ln
        users.append(user)
    _note_unusable(weaknesses, users, columns)
    _note_national(weaknesses, users, phones)
    return users


def _note_unusable(
    weaknesses: Weaknesses, users: Iterable[dict[str, Any]], columns: Iterable[Hashes]
) -> None:
    for field, column in zip(("email", "phone", "first_name", "last_name"), columns, strict=True):
        if UNUSABLE_VALUES in column:  # rare
            rows = zip(users, column, strict=True)
            weaknesses += [(user, UNUSABLE[field]) for user, row in rows if row == UNUSABLE_VALUES]


def _note_national(
    weaknesses: Weaknesses, users: Iterable[dict[str, Any]], phones: Iterable[tuple[str, ...]]
) -> None:
    if not any(phones):
        return
    for user, numbers in zip(users, phones, strict=True):
        # Most numbers start with "+": comparing a character is faster than a pattern.
        if numbers and numbers[0][0] != "+" and all(map(_NATIONAL.match, numbers)) and "ph" in user:
            weaknesses.append((user, "phone numbers without country code"))


def _add_visits(users: Iterable[dict[str, Any]], conversions: Sequence[Conversion]) -> None:
    for user, conversion in zip(users, conversions, strict=True):
        if (address := conversion.ip_address) is not None:
            user["client_ip_address"] = address
        if (agent := conversion.user_agent) is not None:
            user["client_user_agent"] = agent


def _add_other_data(
    users: Iterable[dict[str, Any]], customers: Sequence[Customer], weaknesses: Weaknesses
) -> None:
    for user, customer in zip(users, customers, strict=True):
        if customer is _EMPTY:
            continue
        if (
            customer.city
            or customer.state
            or customer.postal_code
            or customer.country
            or customer.gender
        ):
            _add_shared(user, customer, weaknesses)
        if customer.birth_date:
            if dates := hashed_all("db", customer.birth_date):
                user["db"] = dates
            else:
                weaknesses.append((user, UNUSABLE["birth_date"]))


def _add_shared(user: dict[str, Any], customer: Customer, weaknesses: Weaknesses) -> None:
    rows = zip(_SHARED, _SHARED_FIELDS, _shared_values(customer), strict=True)
    for name, field, values in rows:
        if values:
            if hashes := hashed_shared(name, values):
                user[name] = [*hashes]
            else:
                weaknesses.append((user, UNUSABLE[field]))


def _add_external_ids(
    users: Iterable[dict[str, Any]], customers: Sequence[Customer], hash_them: bool
) -> None:
    column = [customer.external_id for customer in customers]
    if not any(column):
        return
    rows = hashed_plain_ids(column) if hash_them else [()] * len(column)
    for user, values, hashes in zip(users, column, rows, strict=True):
        if values:
            user["external_id"] = hashes or _external_ids(values, hash_them)


def _external_ids(values: tuple[str, ...], hash_them: bool) -> list[str]:
    ids = hashed_all("external_id", values)
    return sorted({_digest(external_id) for external_id in ids}) if hash_them else ids


def _digest(external_id: str) -> str:
    # Without whitespace and in lower case, as Meta's parameter builder hashes it in the browser.
    text = "".join(external_id.lower().replace("\ufeff", "").split())
    text = without_marker(text)
    return text if DIGEST.fullmatch(text) else sha256(text.encode()).hexdigest()


def _add_meta_ids(
    users: Iterable[dict[str, Any]],
    customers: Sequence[Customer],
    conversions: Sequence[Conversion],
    seen_at: Sequence[datetime],
    weaknesses: Weaknesses,
) -> None:
    for user, customer, conversion, moment in zip(
        users, customers, conversions, seen_at, strict=True
    ):
        meta, page = conversion.meta, conversion.page_url
        clicked = customer.fbc or customer.fbp or customer.fbclid or "fbclid" in conversion.clicks
        if clicked or meta is not None or (page is not None and "fbclid=" in page):
            add_clicks(user, customer, conversion, moment, weaknesses)
        if meta is not None:
            user |= _identifiers(meta)


def _identifiers(meta: MetaFields) -> dict[str, Any]:
    """Return the identifiers of Meta's own products, never hashed; empty if there are none."""
    data = meta.get("user_data")
    if not data:
        return {}
    parameters = {name: value for name, value in data.items() if name != "extra"}
    return {**(data.get("extra") or {}), **parameters}


# The [normalise] extra


def check_normalise_extra(settings: MetaSettings) -> None:
    """Check that the libraries that *settings* need are installed.

    Raises:
        ConfigurationError: one is missing; the message has the command that installs it.
    """
    try:
        if settings.phone_region is not None:
            phone_with_region("+16505551212", settings.phone_region)
        if settings.country_names:
            country_code("France")
    except ModuleNotFoundError as exc:
        raise ConfigurationError(str(exc)) from exc


def read_with_libraries(customer: Customer, settings: MetaSettings) -> Customer:
    """Return *customer* with phone numbers and countries as the [normalise] libraries read them.

    Hashed values, and those that the libraries cannot read, are left to the rules of `normalise`.

    Source: Meta: Conversions API, customer information parameters (phone numbers with country code,
    countries as ISO 3166-1 alpha-2).
    """
    phones, countries = customer.phone, customer.country
    if (region := settings.phone_region) is not None:
        phones = tuple(
            phone if is_digest(phone) else phone_with_region(phone, region) or phone
            for phone in phones
        )
    if settings.country_names:
        countries = tuple(country_code(country) or country for country in countries)
    return attrs.evolve(customer, phone=phones, country=countries)
