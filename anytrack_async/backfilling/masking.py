"""Customer data, masked for a terminal: enough to recognise it, too little to use it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

_HASH = re.compile(r"[0-9a-f]{64}")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_PRIVATE_FIELDS = ("click_id", "ip_address", "user_agent", "page_url")
# Keys of the services for values that are, or may be, a customer's.
_PRIVATE_KEYS = frozenset(
    (
        *("email", "phone", "firstname", "lastname", "first_name", "last_name", "city", "zip"),
        *("state", "address", "ip_address", "user_agent", "page_url", "click_id", "user_data"),
        *("event_source_url", "anytrack_click_id", "utk", "referrer_url"),
    )
)


def masked(value: str) -> str:
    """Return *value* with most of it hidden: ``j…@e…`` for an address, ``sha256 1f2e…`` for a hash.

    Other texts keep their first two characters if they have at least six.
    """
    if _HASH.fullmatch(value):
        return f"sha256 {value[:4]}…"
    if _EMAIL.fullmatch(value):
        name, _, host = value.partition("@")
        return f"{name[:1]}…@{host[:1]}…"
    return f"{value[:2]}…" if len(value) >= 6 else "…"


def masked_request(request: Any, conversion: Conversion) -> Any:
    """Return *request*, which a service would get for *conversion*, without customer data.

    A value is masked if its key is one of the service's names for customer data, or if the value is
    equal to one of the customer's.
    """
    return _mask(request, _private_values(conversion), private=False)


def _private_values(conversion: Conversion) -> frozenset[str]:
    values = [getattr(conversion, name) for name in _PRIVATE_FIELDS]
    if conversion.customer is not None:
        for field in attrs.fields(Customer):
            value = getattr(conversion.customer, field.name)
            values += [value] if isinstance(value, str) else [*(value or ())]
    return frozenset(str(value).strip().casefold() for value in values if value)


def _mask(value: Any, private_values: frozenset[str], *, private: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _mask(item, private_values, private=private or key in _PRIVATE_KEYS)
            for key, item in value.items()
        }
    if isinstance(value, str):
        hide = private or value.strip().casefold() in private_values or _EMAIL.search(value)
        return masked(value) if hide else value
    if isinstance(value, Sequence):
        return [_mask(item, private_values, private=private) for item in value]
    return value
