"""Encodes conversions for AnyTrack's collect endpoint. Without I/O.

Core names (``click_id``, ``value``, …) are matched by AnyTrack without regard to case, ``_`` and
``-``. Traits of the customer, ``conversion_type`` and passthrough parameters (``xat_…``) are
matched exactly.

Source: AnyTrack, Custom Integration Params, readme.anytrack.io.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import orjson

from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.customer import UNUSABLE, Customer, digest_or_none, readable
from anytrack_async.models.email import is_email
from anytrack_async.models.line_item import LineItem

EVENT_NAMES: Final[Mapping[ConversionType, str]] = {
    ConversionType.SALE: "Purchase",
    ConversionType.LEAD: "Lead",
    ConversionType.SIGNUP: "CompleteRegistration",
}
"""Conversion type → AnyTrack's standard event. A custom event has its own name."""

TRAITS: Final[Mapping[str, str]] = {
    "phone": "phone",
    "first_name": "firstName",
    "last_name": "lastName",
    "city": "city",
    "state": "state",
    "postal_code": "zip",
    "country": "country",
}
"""Field of a `Customer` → trait. AnyTrack matches traits exactly and documents that customer traits
are taken, but not the names ``city``, ``state``, ``zip`` and ``country``: these are assumed, after
the spelling of its other traits, and not confirmed. An unknown trait is probably ignored."""

MISSING_IDENTITY: Final = (
    "AnyTrack needs a click id, an external id (ref_id) or an e-mail address, and would refuse "
    "this conversion: set click_id, or the customer's external_id or email"
)

NOTHING_LEFT: Final = "no consent to what AnyTrack could recognise the visitor by"
"""Why a conversion is skipped that would have an identity if its visitor had agreed."""

NO_CLICK_ID: Final = "no click id, so AnyTrack matches by ref_id or e-mail address only"
CLIENT_ID: Final = "client ids in place of click ids, which AnyTrack does not find"

_looks_like_client_id = re.compile(r"[A-Za-z0-9]{14}").fullmatch
_NO_CUSTOMER = Customer()


def identity(conversion: Conversion) -> dict[str, str]:
    """Return ``click_id``, ``ref_id`` and ``email``, as far as the conversion has them."""
    values: dict[str, str] = {}
    if conversion.click_id:
        values["click_id"] = conversion.click_id
    customer = conversion.customer or _NO_CUSTOMER
    if customer.external_id:
        own_id = customer.external_id[0]
        values["ref_id"] = (digest_or_none(own_id) if len(own_id) > 32 else None) or own_id
    if email := _first_email(customer):
        values["email"] = email.strip()
    return values


def _first_email(customer: Customer) -> str | None:
    return next((text for text in customer.email if is_email(text.strip().lower())), None)


def weakness(conversion: Conversion) -> str | None:
    """Return the kind of a conversion that AnyTrack may not match to a click, None if it may."""
    if not conversion.click_id:
        return NO_CLICK_ID
    # AnyTrack's client id, from the cookie `_atcid`, has 14 characters; a click id is the
    # property's id followed by it.
    return CLIENT_ID if _looks_like_client_id(conversion.click_id) else None


def weaknesses(conversion: Conversion) -> list[str]:
    """Return the kinds of *conversion*: `weakness`, and e-mail addresses that are none."""
    kind, customer = weakness(conversion), conversion.customer
    kinds = [] if kind is None else [kind]
    if customer and customer.email and _first_email(customer) is None:
        kinds.append(UNUSABLE["email"])
    return kinds


def to_payload(conversion: Conversion) -> dict[str, Any]:
    """Return *conversion* as the endpoint takes it, as types that JSON has.

    ``transaction_id`` is the order id or is left out: AnyTrack discards a repeat of the same event
    and transaction, and with a random id each attempt would be another conversion. The event id is
    sent as ``xat_event_id``. ``timestamp`` is in unix seconds.
    """
    payload: dict[str, Any] = {
        **identity(conversion),
        "event_name": event_name(conversion),
        "value": _number(conversion.revenue),
        "currency": conversion.currency,
        "timestamp": int(conversion.timestamp.timestamp()),
        "xat_event_id": conversion.event_id,
    }
    if conversion.order_id:
        payload["transaction_id"] = conversion.order_id
    if conversion.user_agent:
        payload["ua"] = conversion.user_agent
    if conversion.items:
        payload["items"] = [_item(item) for item in conversion.items]
        if conversion.items[0].brand:
            payload["brand_name"] = conversion.items[0].brand
    if conversion.customer:
        _add_traits(payload, conversion.customer)
    return payload


def _add_traits(payload: dict[str, Any], customer: Customer) -> None:
    for field, trait in TRAITS.items():
        if value := readable(getattr(customer, field)):
            payload[trait] = value


def encode(conversion: Conversion) -> bytes:
    """Return `to_payload` of *conversion* as JSON."""
    return orjson.dumps(to_payload(conversion))


def event_name(conversion: Conversion) -> str:
    """Return AnyTrack's name of the event; a custom event without a name is ``Custom``.

    It is always sent: without a name, AnyTrack takes any conversion with a value for a purchase.
    """
    if conversion.conversion_type is ConversionType.CUSTOM:
        return conversion.event_name or "Custom"
    return EVENT_NAMES[conversion.conversion_type]


def _item(item: LineItem) -> dict[str, Any]:
    values = {
        "id": item.id,
        "quantity": item.quantity,
        "price": None if item.price is None else _number(item.price),
        "name": item.title,
        "category": item.category,
        "brand": item.brand,
    }
    return {name: value for name, value in values.items() if value is not None}


def _number(amount: Decimal) -> int | float:
    integer = int(amount)
    return integer if integer == amount else float(amount)
