"""Reads one event of AnyTrack's webhook as a `Conversion`. Without I/O.

AnyTrack shows examples of its webhooks and promises nothing about them. So no key is required:
unknown keys are ignored, and a field is left out if its key is missing or its value has a wrong
type; `Conversion.weakened` then names the wrong value.

Source: AnyTrack, What are Webhooks, support.anytrack.io; keys seen in webhooks of real accounts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from math import isfinite
from typing import Any, Final, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.clicks import CLICK_NAMES
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.identifiers import id_from_number
from anytrack_async.models.line_item import LineItem
from anytrack_async.models.missing import NO_IDS, is_missing
from anytrack_async.models.notes import with_weaknesses

UNUSABLE: Final = "unusable values in webhooks"
"""The kind of conversions that lost a value of a wrong type."""

_TYPES = {
    "purchase": "sale",
    "sale": "sale",
    "lead": "lead",
    "completeregistration": "signup",
    "registration": "signup",
}
_MAX_ITEMS = 500
_MAX_NAME = 50
_LARGEST_SECONDS = 100_000_000_000  # a larger timestamp is in milliseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SMALLEST_AMOUNT, _LARGEST_AMOUNT = Decimal(0), Decimal(10) ** 12

_Keys: TypeAlias = tuple[tuple[str, str], ...]
"""Keys that may have a value, the best first; the second of a pair is a key inside of the first."""


def _keys(*keys: str) -> _Keys:
    """Return *keys* in two parts: ``"a.b"`` is ``("a", "b")``, the key b of the object a."""
    pairs = (key.partition(".") for key in keys)
    return tuple((outer, inner) for outer, _, inner in pairs)


@attrs.frozen
class _Field:
    """One field of a conversion that a webhook may have.

    Attributes:
        group: the part of the conversion, one of `_GROUPS`.
        name: of the field there.
        keys: where the value may be.
    """

    group: str
    name: str
    keys: _Keys


_GROUPS: Final = ("conversion", "customer", "clicks", "custom_data")
_FIELDS: Final[Sequence[_Field]] = (
    _Field("conversion", "click_id", _keys("clickId")),
    _Field("conversion", "order_id", _keys("transactionId", "orderId")),
    _Field("conversion", "user_agent", _keys("userAgent")),
    _Field("conversion", "ip_address", _keys("ip", "ipAddress", "userIp")),
    _Field("conversion", "page_url", _keys("location", "pageUrl", "url")),
    _Field("conversion", "source", _keys("mainAttribution.source", "source")),
    _Field(
        "conversion",
        "campaign_id",
        _keys("mainAttribution.campaignId", "mainAttribution.campaign", "campaignId"),
    ),
    _Field("conversion", "ad_id", _keys("mainAttribution.adId", "adId")),
    _Field("customer", "email", _keys("email")),
    _Field("customer", "phone", _keys("phone", "phoneNumber")),
    _Field("customer", "first_name", _keys("firstName")),
    _Field("customer", "last_name", _keys("lastName")),
    _Field("customer", "full_name", _keys("fullName")),
    _Field("customer", "city", _keys("city")),
    _Field("customer", "state", _keys("state", "region")),
    _Field("customer", "postal_code", _keys("zip", "zipcode", "zipCode", "postalCode")),
    _Field("customer", "country", _keys("country", "countryCode")),
    _Field("customer", "external_id", _keys("customerId", "refId", "externalId")),
    _Field("customer", "fbp", _keys("externalClientIds.facebook", "externalClientIds.fbp", "fbp")),
    _Field("customer", "fbc", _keys("externalClickIds.fbc", "fbc")),
    _Field("custom_data", "anytrack_asset_id", _keys("assetId")),
    _Field("custom_data", "anytrack_client_id", _keys("clientId")),
    *(_Field("clicks", name, _keys(f"mainAttribution.{name}", name)) for name in CLICK_NAMES),
)


def _fields_by_key() -> Mapping[str, Sequence[_Field]]:
    fields: dict[str, list[_Field]] = {}
    for field in _FIELDS:
        for outer in dict.fromkeys(outer for outer, _ in field.keys):
            fields.setdefault(outer, []).append(field)
    return fields


# A webhook has a dozen keys, and there are three times as many fields that it could have.
_FIELDS_BY_KEY: Final = _fields_by_key()
_VALUE = _keys("eventValue", "value", "orderTotal")
_CLICK = _keys("clickId", "externalClickId", "clientId")
_PRODUCT = _keys("id", "sku", "productId", "itemId")
_TITLE, _BRAND = _keys("name", "title"), _keys("brand", "brandName")
_KNOWN = frozenset(
    {
        *("assetId", "clickId", "clientId", "currency", "eventName", "eventTime"),
        *("eventTimestamp", "eventValue", "externalClickId", "transactionId"),
    }
)


def to_conversion(event: Mapping[str, Any], *, currency: str = "USD") -> Conversion:
    """Return the conversion that *event* tells of; only an event that tells nothing raises.

    ``Purchase`` is a sale, ``Lead`` a lead, ``CompleteRegistration`` a sign-up, and every other
    name a custom event. Without a name, a value makes it a sale, and a lead otherwise.

    Args:
        event: the JSON object.
        currency: of events that do not have one.

    Raises:
        InvalidConversionError: no key of *event* is one of a webhook's.
    """
    if _KNOWN.isdisjoint(event):
        raise InvalidConversionError("event", f"has none of the keys {', '.join(sorted(_KNOWN))}")
    stated = _first(event, _VALUE)
    value, moment, (texts, has_odd_text) = _amount(stated), event_time(event), _texts(event)
    fields: dict[str, Any] = {
        **texts["conversion"],
        **_kind(event, value),
        "event_id": _event_id(event, moment),
        "revenue": value or Decimal(0),
        "currency": currency if _is_gap(event.get("currency")) else event["currency"],
        "custom_data": texts["custom_data"],
        "items": _items(event.get("items")),
        "customer": _customer(texts["customer"]),
        "clicks": texts["clicks"] or None,
    }
    if moment is not None:
        fields["timestamp"] = moment
    is_odd = has_odd_text or (value is None and stated is not None)
    conversion: Conversion
    conversion, dropped = _without_unusable(Conversion, fields, {"currency": currency})
    return with_weaknesses(conversion, (UNUSABLE,)) if dropped or is_odd else conversion


def event_id(event: Mapping[str, Any]) -> str:
    """Return the id of *event*, the same for each repeat of the webhook.

    It is ``at:`` and the first 32 hexadecimal digits of the SHA-256 of asset id, click id (client
    id without one), event name and time in milliseconds. So two events of one name and click in the
    same millisecond are one conversion. Without a time, or without any click and client id, the
    whole event is hashed.
    """
    return _event_id(event, event_time(event))


def _event_id(event: Mapping[str, Any], moment: datetime | None) -> str:
    click = _scalar(_first(event, _CLICK))
    if click is None or moment is None:
        content = json.dumps(event, sort_keys=True).encode()
    else:
        name, asset = _scalar(event.get("eventName")), _scalar(event.get("assetId"))
        milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
        parts = (asset or "", click, name or "", str(milliseconds))
        content = "\0".join(parts).encode(errors="surrogatepass")
    return f"at:{sha256(content).hexdigest()[:32]}"


def event_time(event: Mapping[str, Any]) -> datetime | None:
    """Return when *event* happened, in UTC; None if it does not say so in a usable way.

    ``eventTime`` is ISO 8601, UTC without an offset; ``eventTimestamp`` unix seconds, or
    milliseconds from 100,000,000,000 on.
    """
    text = event.get("eventTime")
    if isinstance(text, str):
        try:
            moment = datetime.fromisoformat(text.strip())
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            pass
    for value in (event.get("eventTimestamp"), text):
        if (number := _number(value)) is not None and number > 0:
            seconds = number / 1000 if number >= _LARGEST_SECONDS else number
            try:
                return _EPOCH + timedelta(seconds=seconds)
            except OverflowError:
                continue
    return None


def _kind(event: Mapping[str, Any], value: Decimal | None) -> dict[str, Any]:
    name = _scalar(event.get("eventName"))
    if name is None:
        return {"conversion_type": "sale" if value else "lead"}
    kind = _TYPES.get(name.lower())
    if kind is not None:
        return {"conversion_type": kind}
    printable = "".join(char for char in name if char.isprintable())[:_MAX_NAME].strip()
    return {"conversion_type": "custom", "event_name": printable or "Custom"}


def _texts(event: Mapping[str, Any]) -> tuple[Mapping[str, dict[str, str]], bool]:
    """Return group → field → text of *event*, and whether a field has something else than text."""
    texts: dict[str, dict[str, str]] = {group: {} for group in _GROUPS}
    is_odd = False
    for key in event:
        for field in _FIELDS_BY_KEY.get(key, ()):
            group = texts[field.group]
            if field.name not in group:
                value = _first(event, field.keys)
                text = _scalar(value)
                if text is not None:
                    group[field.name] = text
                elif value is not None and not isinstance(value, str):
                    is_odd = True
    for group_name in ("clicks", "custom_data"):  # the same, whatever order the keys came in
        texts[group_name] = dict(sorted(texts[group_name].items()))
    return texts, is_odd


def _customer(texts: Mapping[str, str]) -> Customer | None:
    fields: dict[str, Any] = dict(texts)
    full_name = fields.pop("full_name", "")
    if full_name and not {"first_name", "last_name"} & fields.keys():
        first, _, last = full_name.partition(" ")
        fields |= {"first_name": first, "last_name": last}
    return _without_unusable(Customer, fields, {})[0] if fields else None


def _items(items: object) -> tuple[LineItem, ...]:
    if not isinstance(items, list):
        return ()
    lines = (_item(item) for item in items[:_MAX_ITEMS] if isinstance(item, Mapping))
    return tuple(line for line in lines if line is not None)


def _item(item: Mapping[str, Any]) -> LineItem | None:
    product = _scalar(_first(item, _PRODUCT))
    if product is None:
        return None
    fields = {
        "id": product,
        "quantity": item.get("quantity", 1),
        "price": item.get("price"),
        "title": _scalar(_first(item, _TITLE)),
        "category": _scalar(item.get("category")),
        "brand": _scalar(_first(item, _BRAND)),
    }
    try:
        line: LineItem = _without_unusable(LineItem, fields, {"id": product})[0]
    except InvalidConversionError:  # the id
        return None
    return line


def _without_unusable(
    make: Callable[..., Any], fields: dict[str, Any], defaults: Mapping[str, Any]
) -> tuple[Any, bool]:
    """Return ``make(**fields)`` without the fields that it refuses, and whether there were any."""
    dropped = False
    while True:
        try:
            return make(**fields), dropped
        except InvalidConversionError as exc:
            field = exc.name.partition(".")[0].partition("[")[0]
            if field not in fields or (field in defaults and fields[field] == defaults[field]):
                raise
            del fields[field]
            if field in defaults:
                fields[field] = defaults[field]
            dropped = True


# Values


def _first(event: Mapping[str, Any], keys: _Keys) -> Any:
    """Return the first value that is there."""
    for outer, inner in keys:
        value = event.get(outer)
        if inner:
            value = value.get(inner) if isinstance(value, dict) else None
        if value is not None and value != "":
            return value
    return None


def _is_gap(value: object) -> bool:
    return is_missing(value) or (isinstance(value, str) and value.strip() in NO_IDS)


def _scalar(value: object) -> str | None:
    """Return text or a whole number as text; None for anything else."""
    if isinstance(value, str):
        return value.strip() or None
    return None if value is None else id_from_number(value)


def _without_blanks(value: float | str) -> str:
    """Return *value* as text for a number; Python would take "49_90" for 4990."""
    text = str(value).strip()
    if "_" in text:
        raise ValueError("no number")
    return text


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(_without_blanks(value))
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(_without_blanks(value))
    except (InvalidOperation, ValueError):
        return None
    usable = amount.is_finite() and _SMALLEST_AMOUNT <= amount < _LARGEST_AMOUNT
    return amount if usable else None
