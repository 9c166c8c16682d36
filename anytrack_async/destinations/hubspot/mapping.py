"""Mappings from a conversion to a HubSpot deal, contact or custom event. Without I/O.

Every property value is text without surrounding whitespace; properties without a value are left
out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

import orjson

from anytrack_async.destinations.consent import withhold_clicks, without_identity
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, PropertySource
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.consent import UNKNOWN_CONSENT
from anytrack_async.models.conversion import ARGUMENTS, Conversion
from anytrack_async.models.customer import UNUSABLE, Customer, readable
from anytrack_async.models.email import MAX_EMAIL, is_email
from anytrack_async.models.mappings import nearest_float
from anytrack_async.models.validators import encodable
from anytrack_async.settings.consent import ConsentRule

EVENT_ID_PROPERTY = "anytrack_event_id"
"""The deal property with the event id; its values are unique, so a repeated write changes nothing.
"""


# Consent


def limited(conversion: Conversion, rule: ConsentRule) -> Conversion:
    """Return *conversion* without the data that HubSpot must not get; itself if it may get all."""
    consent = conversion.consent or UNKNOWN_CONSENT
    conversion = withhold_clicks(conversion, rule)
    if rule.action(consent.ad_user_data) == "send":
        return conversion
    return without_identity(conversion)


# Deals


def to_deal(conversion: Conversion, settings: HubSpotSettings) -> dict[str, Any]:
    """Return *conversion* as one input of a batch upsert of deals.

    Pipeline and stage are sent as the settings name them: `HubSpotSink` replaces labels by ids
    before. The settings' `properties` may add and replace any property but `EVENT_ID_PROPERTY`.

    Source: HubSpot, CRM API, deals, "Create or update a batch of deals by unique property values".
    """
    # Written out, and with one dict for each deal: a loop over all properties takes twice as long.
    event_id, conversion_type = conversion.event_id, conversion.conversion_type
    properties = {
        "dealname": _deal_name(conversion, settings).strip(),
        "amount": format_decimal(conversion.revenue),
        "deal_currency_code": conversion.currency,
        "closedate": format_time(conversion.timestamp),
        "anytrack_conversion_type": conversion_type.strip(),  # as plain text
        EVENT_ID_PROPERTY: event_id.strip(),
    }
    if pipeline := settings.pipeline[conversion_type].strip():
        properties["pipeline"] = pipeline
    if stage := settings.stages[conversion_type].strip():
        properties["dealstage"] = stage
    if (source := conversion.source) and (source := source.strip()):
        properties["anytrack_source"] = source
    if (campaign_id := conversion.campaign_id) and (campaign_id := campaign_id.strip()):
        properties["anytrack_campaign_id"] = campaign_id
    if (click_id := conversion.click_id) and (click_id := click_id.strip()):
        properties["anytrack_click_id"] = click_id
    if (ad_id := conversion.ad_id) and (ad_id := ad_id.strip()):
        properties["anytrack_ad_id"] = ad_id
    if (order_id := conversion.order_id) and (order_id := order_id.strip()):
        properties["anytrack_order_id"] = order_id
    if settings.properties:
        properties = _configured(properties, conversion, settings)
    return {
        "id": event_id,
        "idProperty": EVENT_ID_PROPERTY,
        "properties": properties,
        "objectWriteTraceId": event_id,
    }


def _configured(
    properties: Mapping[str, str], conversion: Conversion, settings: HubSpotSettings
) -> dict[str, str]:
    """Return *properties* of a deal, changed by the settings; a blank value removes a property."""
    configured = configured_properties(conversion, settings.properties)
    merged = {**properties, **configured, EVENT_ID_PROPERTY: properties[EVENT_ID_PROPERTY]}
    return {
        name: stripped for name, value in merged.items() if value and (stripped := value.strip())
    }


def _deal_name(conversion: Conversion, settings: HubSpotSettings) -> str:
    if settings.deal_name is not None and (name := property_text(settings.deal_name(conversion))):
        return name
    return f"Conversion {conversion.id or conversion.event_id}"


# Contacts

# HubSpot refuses addresses in quotes, and top-level domains of one letter.
_REFUSED_EMAIL = re.compile(r'".*|.*\..', re.DOTALL)
_CONTACT_FIELDS = (
    ("firstname", "first_name"),
    ("lastname", "last_name"),
    ("phone", "phone"),
    ("city", "city"),
    ("state", "state"),
    ("zip", "postal_code"),
    ("country", "country"),
)
"""Pairs of a contact property and the customer's field; the first value of the field is written."""


def to_contact(conversion: Conversion, settings: HubSpotSettings) -> dict[str, Any] | None:
    """Return the customer of *conversion* as one input of a batch upsert of contacts.

    The key is the first valid e-mail address, in lower case as HubSpot stores it. The settings'
    `contact_properties` may add and replace any property but the key.

    Returns:
        None without a valid address, or if the settings switch contacts off.

    Source: HubSpot, CRM API, contacts, "Create or update a batch of contacts by unique property".
    """
    if not settings.contacts or (customer := conversion.customer) is None:
        return None
    email = first_email(customer.email)
    if email is None:
        return None
    properties = {"email": email} | _person(customer)
    if settings.contact_properties:
        properties |= configured_properties(conversion, settings.contact_properties)
        properties = {name: value for name, value in properties.items() if value}
        properties["email"] = email
    return {
        "id": email,
        "idProperty": "email",
        "properties": properties,
        "objectWriteTraceId": conversion.event_id,
    }


def _person(customer: Customer) -> dict[str, str]:
    properties = {}
    for name, field in _CONTACT_FIELDS:
        if value := readable(getattr(customer, field)):
            properties[name] = value
    return properties


def first_email(addresses: Iterable[str]) -> str | None:
    """Return the first valid address in *addresses*, in lower case; None if none is valid."""
    return next(filter(None, map(_key_or_none, addresses)), None)


@lru_cache(maxsize=1024)  # asked twice for each conversion: see `count_weaknesses`
def _key_or_none(address: str) -> str | None:
    email = address.strip().lower()
    usable = len(email) <= MAX_EMAIL and is_email(email) and not _REFUSED_EMAIL.fullmatch(email)
    return email if usable else None


def count_weaknesses(conversions: Iterable[Conversion]) -> Mapping[str, int]:
    """Return how many of *conversions* have e-mail addresses that HubSpot does not accept."""
    customers = (conversion.customer for conversion in conversions)
    addresses = [customer.email for customer in customers if customer and customer.email]
    count = sum(first_email(emails) is None for emails in addresses)
    return {UNUSABLE["email"]: count} if count else {}


# Custom events


def to_custom_event(conversion: Conversion, settings: HubSpotSettings) -> dict[str, Any] | None:
    """Return *conversion* as one input of a batch of custom events; its ``uuid`` is the event id.

    HubSpot finds the contact by the customer's first valid e-mail address, or by the visitor's
    cookie ``hubspotutk`` if the custom data has an entry of that name. The event's properties are
    ``amount``, ``currency``, ``conversion_type``, ``source``, ``campaign_id``, ``click_id``,
    ``ad_id``, ``order_id`` and those of the settings; define them with the event in HubSpot.

    Returns:
        None with neither an address nor a cookie: HubSpot accepts only events of known visitors.

    Source: HubSpot, custom events, "Send a batch of event occurrences".
    """
    customer = conversion.customer
    email = first_email(customer.email) if customer else None
    cookie = conversion.custom_data.get("hubspotutk")
    if not email and not cookie:
        return None
    return {
        "eventName": settings.event_name,
        "uuid": conversion.event_id,
        "occurredAt": format_time(conversion.timestamp),
        "properties": _event_properties(conversion, settings),
        **({"email": email} if email else {"utk": str(cookie)}),
    }


def _event_properties(conversion: Conversion, settings: HubSpotSettings) -> dict[str, str]:
    properties = {
        "amount": format_decimal(conversion.revenue),
        "currency": conversion.currency,
        "conversion_type": conversion.conversion_type.value,
        "source": conversion.source,
        "campaign_id": conversion.campaign_id,
        "click_id": conversion.click_id,
        "ad_id": conversion.ad_id,
        "order_id": conversion.order_id,
    }
    properties.update(configured_properties(conversion, settings.properties))
    return {
        name: stripped
        for name, value in properties.items()
        if value and (stripped := value.strip())
    }


# Properties from the settings


def validate_source(setting: str, source: PropertySource) -> None:
    """Check that *source* names only fields that conversions have.

    Raises:
        ConfigurationError: it names an unknown field.
    """
    for name, path in () if callable(source) else source.items():
        if not path.startswith("=") and path.partition(".")[0] not in ARGUMENTS:
            raise ConfigurationError(
                f"{setting}[{name!r}]: a conversion has no field {path!r}; "
                "write '=text' for a constant"
            )


def configured_properties(conversion: Conversion, source: PropertySource) -> dict[str, str]:
    """Return the properties that *source* defines for *conversion*, as text."""
    if callable(source):
        return {name: property_text(value) for name, value in source(conversion).items()}
    return {name: _look_up(conversion, path) for name, path in source.items()}


def _look_up(conversion: Conversion, path: str) -> str:
    """Return the value at *path*, e.g. ``"custom_data.plan"``, or the constant after ``"="``."""
    if path.startswith("="):
        return path[1:].strip()
    value: Any = conversion
    while path and value is not None:
        if isinstance(value, Mapping):
            # A key may contain dots: custom_data={"x.y": 1} has "x.y" but no "x".
            if path in value:
                return property_text(value[path])
            key, _, path = path.partition(".")
            value = value.get(key)
        else:
            field, _, path = path.partition(".")
            value = getattr(value, field, None)
    # A customer's field may have several values; a property has only the first.
    return property_text(value[0] if isinstance(value, tuple) and value else value)


# Values

_LONGEST_NUMBER = 40


def format_decimal(number: Decimal) -> str:
    """Return *number* as plain digits: no exponent, no thousands separators, no negative zero."""
    digits = str(number)
    if "E" in digits:
        # Without an exponent, 1E-1000000 would have a million zeros: below 1e-20 it becomes 0.
        digits = format(number if number.adjusted() > -20 else Decimal(0), "f")
    if len(digits) > _LONGEST_NUMBER:
        digits = format(number, ".12f")
    return digits[1:] if digits.startswith("-") and not number else digits


def format_time(moment: datetime) -> str:
    """Return *moment*, aware UTC, as ``YYYY-MM-DDThh:mm:ss.sssZ``."""
    if type(moment) is datetime:  # orjson takes half the time, but no subclasses
        # It writes "2026-10-02T09:30:00.123456+00:00" in quotes, without the fraction if that is 0.
        if moment.microsecond:
            return orjson.dumps(moment)[1:24].decode() + "Z"
        return orjson.dumps(moment)[1:20].decode() + ".000Z"
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def property_text(value: Any) -> str:
    """Return *value* as a property value without surrounding whitespace; None as ``""``.

    Raises:
        ValueError: the text contains an unpaired surrogate, which UTF-8 cannot encode.
    """
    text = (value if isinstance(value, str) else _format(value)).strip()
    if text.isascii() or encodable(text):
        return text
    raise ValueError("contains an unpaired surrogate, which UTF-8 cannot encode")


def _format(value: Any) -> str:
    for kind, format_value in _FORMATS:
        if isinstance(value, kind):
            return format_value(value)
    return str(value)


def _format_datetime(value: datetime) -> str:
    return format_time(value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


def _join_choices(values: Iterable[Any]) -> str:
    # HubSpot separates the choices of a multiple-choice property by semicolons.
    return ";".join(map(property_text, values))


# The first type that fits decides: a bool is an int, and a datetime a date.
_FORMATS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (type(None), lambda _: ""),
    (bool, lambda value: "true" if value else "false"),
    (Decimal, format_decimal),
    (float, lambda value: format_decimal(Decimal(float.__repr__(value)))),
    (datetime, _format_datetime),
    (date, date.isoformat),
    (Mapping, lambda value: orjson.dumps(value).decode()),
    ((list, tuple), _join_choices),
    (Integral, str),
    (Real, lambda value: property_text(nearest_float(value))),
)
