"""From a conversion to what AnyTrack takes, without I/O."""

from __future__ import annotations

import re
from decimal import Decimal
from string import ascii_letters, digits, punctuation
from typing import Any
from urllib.parse import quote

import orjson

from anytrack_async.models.conversion import Conversion, ConversionType

_TYPES = {one: one.value for one in ConversionType}  # `.value` is a function
_PLAIN = ascii_letters + digits + punctuation.replace("%", "") + " "
_is_plain = re.compile(r"[ -$&-~]*").fullmatch


def to_wire(conversion: Conversion) -> dict[str, Any]:
    """Return *conversion* as AnyTrack takes it.

    Nothing about the customer goes along but what AnyTrack has fields for. The event id travels in
    ``custom_data``, and so does the name of a custom event.

    Source: AnyTrack REST, ``POST /conversions``.
    """
    return _wire(conversion) | {"timestamp": conversion.timestamp.isoformat()}


def encode(conversion: Conversion) -> bytes:
    """Return `to_wire` of *conversion* as JSON."""
    return orjson.dumps(_wire(conversion))  # it writes times as `isoformat` does, for less


def _wire(conversion: Conversion) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "conversion_type": _TYPES[conversion.conversion_type],
        "revenue": _number(conversion.revenue),
        "currency": conversion.currency,
        "timestamp": conversion.timestamp,
        "custom_data": _custom_data(conversion),
    }
    # One by one: a loop over the names takes longer than all the rest.
    if conversion.click_id:
        wire["click_id"] = conversion.click_id
    if conversion.order_id:
        wire["order_id"] = conversion.order_id
    if conversion.source:
        wire["source"] = conversion.source
    if conversion.campaign_id:
        wire["campaign_id"] = conversion.campaign_id
    if conversion.ad_id:
        wire["ad_id"] = conversion.ad_id
    if conversion.sub_ids:
        wire["sub_ids"] = conversion.sub_ids
    if conversion.ip_address:
        wire["ip_address"] = conversion.ip_address
    if conversion.user_agent:
        wire["user_agent"] = conversion.user_agent
    if conversion.page_url:
        wire["page_url"] = conversion.page_url
    return wire


def _custom_data(conversion: Conversion) -> dict[str, Any]:
    custom_data = {**conversion.custom_data, "event_id": conversion.event_id}
    if conversion.event_name is not None:
        custom_data["event_name"] = conversion.event_name
    return custom_data


def idempotency_key(event_id: str) -> str:
    """Return *event_id* as a header can hold it; different ids stay different."""
    return event_id if _is_plain(event_id) else quote(event_id, safe=_PLAIN)


def _number(amount: Decimal) -> int | float:
    whole = int(amount)
    return whole if whole == amount else float(amount)
