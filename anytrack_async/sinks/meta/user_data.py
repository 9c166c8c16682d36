"""Who did it, in Meta's words: `user_data` and the names of what it holds.

Source: Meta: Conversions API, customer information parameters.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from anytrack_async.models import Conversion, Customer
from anytrack_async.settings import MetaSettings
from anytrack_async.sinks.meta.clicks import as_given, fbc, fbclid_of
from anytrack_async.sinks.meta.fields import identifiers
from anytrack_async.sinks.meta.hashing import (
    hashed_all,
    hashed_emails,
    hashed_names,
    hashed_phones,
    hashed_shared,
)
from anytrack_async.sinks.meta.normalise import DIGEST
from anytrack_async.sinks.meta.reading import read

_OTHERS = ("ge", "ct", "st", "zp", "country")
_others = attrgetter("gender", "city", "state", "postal_code", "country")
_NONE: tuple[tuple[str, ...], ...] = ((),) * len(_OTHERS)


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
    found: dict[str, Any] = {}
    customer, meta, page = conversion.customer, conversion.meta, conversion.page_url
    if customer is not None:
        if settings is not None and (settings.phone_region or settings.country_names):
            customer = read(customer, settings)
        _add_hashed(found, customer)
        if customer.external_id:
            hash_them = settings is None or settings.hash_external_id
            found["external_id"] = _external_ids(customer.external_id, hash_them)
    if conversion.ip_address is not None and _is_ip(address := conversion.ip_address.strip()):
        found["client_ip_address"] = address
    if conversion.user_agent is not None:
        found["client_user_agent"] = conversion.user_agent
    clicked = customer is not None and (customer.fbc or customer.fbp or customer.fbclid)
    if clicked or meta is not None or (page is not None and "fbclid=" in page):
        _add_click(found, conversion, seen_at or conversion.timestamp)
    if meta is not None and meta.user_data is not None:
        found |= identifiers(meta.user_data)
    return found


def _add_hashed(found: dict[str, Any], customer: Customer) -> None:
    # Written out, but for what few customers have: a loop over all is slower.
    if (given := customer.email) and (hashes := hashed_emails(given)):
        found["em"] = hashes
    if (given := customer.phone) and (hashes := hashed_phones(given)):
        found["ph"] = hashes
    if (given := customer.first_name) and (shared := hashed_names(given)):
        found["fn"] = [*shared]
    if (given := customer.last_name) and (shared := hashed_names(given)):
        found["ln"] = [*shared]
    if (given := customer.birth_date) and (hashes := hashed_all("db", given)):
        found["db"] = hashes
    if (others := _others(customer)) != _NONE:
        for name, given in zip(_OTHERS, others, strict=True):
            if given and (shared := hashed_shared(name, given)):
                found[name] = [*shared]


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


def _add_click(found: dict[str, Any], conversion: Conversion, seen_at: datetime) -> None:
    customer = conversion.customer
    fbclid = None
    if customer is not None:
        if customer.fbp is not None and (browser := as_given(customer.fbp)):
            found["fbp"] = browser
        if customer.fbc is not None and (click := as_given(customer.fbc)):
            found["fbc"] = click
            return
        fbclid = customer.fbclid
    fbclid = fbclid or _fbclid_of(conversion)
    if fbclid is not None and (built := _built(fbclid, seen_at)):
        found["fbc"] = built


def _fbclid_of(conversion: Conversion) -> str | None:
    meta = conversion.meta
    return fbclid_of(conversion.page_url, None if meta is None else meta.referrer_url)


def _built(fbclid: str, seen_at: datetime) -> str | None:
    try:
        return fbc(fbclid, seen_at)
    except ValueError:  # no click id
        return None
