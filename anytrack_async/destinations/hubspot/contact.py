"""From a conversion's customer to a HubSpot contact, without I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.values import extras
from anytrack_async.models.conversion import Conversion

_ATOM = r"""[^\s@<>()\[\],;:"\\.]+"""
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:[\w-]+\.)+[\w-]{{2,}}")
_LONGEST_EMAIL = 254
_FIELDS = (
    ("firstname", "first_name"),
    ("lastname", "last_name"),
    ("phone", "phone"),
    ("city", "city"),
    ("state", "state"),
    ("zip", "postal_code"),
    ("country", "country"),
)


def to_contact(conversion: Conversion, settings: HubSpotSettings) -> dict[str, Any] | None:
    """Return the customer of *conversion* as one input of a batch upsert of contacts.

    The key is their first valid e-mail address, lower-cased as HubSpot keeps it.
    `contact_properties` of the settings may add to or replace any property but the key.

    Returns:
        None without such an address, or where the settings want no contacts.

    Source: HubSpot, CRM API, contacts, "Create or update a batch of contacts by unique property".
    """
    customer = conversion.customer
    if customer is None or not settings.contacts:
        return None
    email = first_email(customer.email)
    if email is None:
        return None
    properties = {"email": email}
    for name, field in _FIELDS:
        values = getattr(customer, field)
        if values:
            properties[name] = values[0].strip()
    if settings.contact_properties:
        properties |= extras(conversion, settings.contact_properties)
        properties = {name: value for name, value in properties.items() if value}
        properties["email"] = email
    return {
        "id": email,
        "idProperty": "email",
        "properties": properties,
        "objectWriteTraceId": conversion.event_id,
    }


def first_email(addresses: Iterable[str]) -> str | None:
    """Return the first of *addresses* that can be one, lower-cased."""
    for address in addresses:
        tidy = address.strip().lower()
        if len(tidy) <= _LONGEST_EMAIL and _EMAIL.fullmatch(tidy):
            return tidy
    return None
