"""Who did it, in Meta's words: `user_data` and the names of what it holds.

Source: Meta: Conversions API, customer information parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from anytrack_async.destinations.meta.clicks import as_given, fbc, fbclid_of
from anytrack_async.destinations.meta.columns import hashed_emails, hashed_names, hashed_phones
from anytrack_async.destinations.meta.fields import identifiers
from anytrack_async.destinations.meta.hashing import hashed_all, hashed_shared
from anytrack_async.destinations.meta.normalise import DIGEST
from anytrack_async.destinations.meta.reading import read
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

_SHARED = ("ge", "ct", "st", "zp", "country")
_shared = attrgetter("gender", "city", "state", "postal_code", "country")
_NOBODY = Customer()


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
    """Return who did it: hashed where Meta wants it hashed, and without what is unusable.

    Args:
        conversion: what was done.
        settings: whether external ids are hashed (they are if not given), how phones and countries
            are read.
        seen_at: when the click id was first seen; the conversion's time if not given.
    """
    return all_user_data((conversion,), settings, (seen_at or conversion.timestamp,))[0]


def all_user_data(
    conversions: Sequence[Conversion], settings: MetaSettings | None, seen_at: Sequence[datetime]
) -> list[dict[str, Any]]:
    """Return the `user_data` of each of *conversions*, sooner than one by one.

    Args:
        conversions: what was done.
        settings: how it is read and whether external ids are hashed, as for one.
        seen_at: when the click id of each was first seen.
    """
    customers = _customers(conversions, settings)
    hash_ids = settings is None or settings.hash_external_id
    made = _hashed_data(customers)
    for found, conversion, customer, at in zip(made, conversions, customers, seen_at, strict=True):
        if (address := conversion.ip_address) is not None and _is_ip(address := address.strip()):
            found["client_ip_address"] = address
        if (agent := conversion.user_agent) is not None:
            found["client_user_agent"] = agent
        if customer is not _NOBODY:
            _add_rare(found, customer, hash_ids)
        meta, page = conversion.meta, conversion.page_url
        clicked = customer.fbc or customer.fbp or customer.fbclid
        if clicked or meta is not None or (page is not None and "fbclid=" in page):
            _add_click(found, customer, conversion, at)
        if meta is not None and (ids := meta.get("user_data")):
            found |= identifiers(ids)
    return made


def _customers(conversions: Sequence[Conversion], settings: MetaSettings | None) -> list[Customer]:
    customers = [one.customer or _NOBODY for one in conversions]
    if settings is not None and (settings.phone_region or settings.country_names):
        return [one if one is _NOBODY else read(one, settings) for one in customers]
    return customers


def _hashed_data(customers: Sequence[Customer]) -> list[dict[str, Any]]:
    made = []
    for em, ph, fn, ln in zip(
        hashed_emails([one.email for one in customers]),
        hashed_phones([one.phone for one in customers]),
        hashed_names([one.first_name for one in customers]),
        hashed_names([one.last_name for one in customers]),
        strict=True,
    ):
        found: dict[str, Any] = {}
        if em:
            found["em"] = em
        if ph:
            found["ph"] = ph
        if fn:
            found["fn"] = fn
        if ln:
            found["ln"] = ln
        made.append(found)
    return made


def _add_rare(found: dict[str, Any], one: Customer, hash_ids: bool) -> None:
    if one.city or one.state or one.postal_code or one.country or one.gender:
        for name, given in zip(_SHARED, _shared(one), strict=True):
            if given and (hashes := hashed_shared(name, given)):
                found[name] = [*hashes]
    if one.birth_date and (dates := hashed_all("db", one.birth_date)):
        found["db"] = dates
    if one.external_id:
        found["external_id"] = _external_ids(one.external_id, hash_ids)


def _external_ids(values: tuple[str, ...], hash_them: bool) -> list[str]:
    ids = hashed_all("external_id", values)
    return sorted({_digest(one) for one in ids}) if hash_them else ids


def _digest(external_id: str) -> str:
    # Trimmed and in lower case, as Meta's parameter builder hashes it in the browser.
    text = external_id.strip().lower()
    return text if DIGEST.fullmatch(text) else sha256(text.encode()).hexdigest()


def _is_ip(address: str) -> bool:
    try:
        inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, ValueError):  # ValueError: a NUL character
        return False
    return True


def _add_click(
    found: dict[str, Any], customer: Customer, conversion: Conversion, seen_at: datetime
) -> None:
    if customer.fbp is not None and (browser := as_given(customer.fbp)):
        found["fbp"] = browser
    if customer.fbc is not None and (click := as_given(customer.fbc)):
        found["fbc"] = click
        return
    fbclid = customer.fbclid or _fbclid_of(conversion)
    if fbclid is not None and (built := _built(fbclid, seen_at)):
        found["fbc"] = built


def _fbclid_of(conversion: Conversion) -> str | None:
    meta = conversion.meta
    return fbclid_of(conversion.page_url, None if meta is None else meta.get("referrer_url"))


def _built(fbclid: str, seen_at: datetime) -> str | None:
    try:
        return fbc(fbclid, seen_at)
    except ValueError:  # no click id
        return None
