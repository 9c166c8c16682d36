"""Encodes conversions for AnyTrack and reads AnyTrack's responses to them. Without I/O.

This code runs for every conversion. So the values of enumerations are looked up in advance
(``.value`` is a function call), and optional fields are set one by one: a loop over their names
would take longer than everything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from math import inf
from string import ascii_letters, digits, punctuation
from typing import Any
from urllib.parse import quote

import orjson

from anytrack_async.destinations.sink import NeedsOperator, SinkSignal, Throttled
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.identifiers import id_from_number
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.errors import read_error_body
from anytrack_async.transport.message import Response

_TYPES = {kind: kind.value for kind in ConversionType}
_UNQUOTED = ascii_letters + digits + punctuation.replace("%", "") + " "
_is_unquoted = re.compile(r"[ -$&-~]*").fullmatch  # printable ASCII without "%"

_REJECTING_STATUSES = frozenset({400, 404, 409, 413, 422})  # a repeat would be rejected too
_DEFAULT_PAUSE = 1.0  # seconds, after a 429 without `Retry-After`


def to_payload(conversion: Conversion) -> dict[str, Any]:
    """Return *conversion* in AnyTrack's format, as types that JSON has.

    AnyTrack has no fields for a customer: it gets the visitor's IP address, user agent and page
    only. The event id is sent in ``custom_data``, and so is the name of a custom event.

    Source: AnyTrack REST, ``POST /conversions``.
    """
    return _payload(conversion) | {"timestamp": conversion.timestamp.isoformat()}


def encode(conversion: Conversion) -> bytes:
    """Return `to_payload` of *conversion* as JSON."""
    # orjson writes a datetime as `isoformat` does, and faster.
    return orjson.dumps(_payload(conversion))


def _payload(conversion: Conversion) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "conversion_type": _TYPES[conversion.conversion_type],
        "revenue": _number(conversion.revenue),
        "currency": conversion.currency,
        "timestamp": conversion.timestamp,
        "custom_data": _custom_data(conversion),
    }
    if conversion.click_id:
        payload["click_id"] = conversion.click_id
    if conversion.order_id:
        payload["order_id"] = conversion.order_id
    if conversion.source:
        payload["source"] = conversion.source
    if conversion.campaign_id:
        payload["campaign_id"] = conversion.campaign_id
    if conversion.ad_id:
        payload["ad_id"] = conversion.ad_id
    if conversion.sub_ids:
        payload["sub_ids"] = conversion.sub_ids
    if conversion.ip_address:
        payload["ip_address"] = conversion.ip_address
    if conversion.user_agent:
        payload["user_agent"] = conversion.user_agent
    if conversion.page_url:
        payload["page_url"] = conversion.page_url
    return payload


def _custom_data(conversion: Conversion) -> dict[str, Any]:
    custom_data = {**conversion.custom_data, "event_id": conversion.event_id}
    if conversion.event_name is not None:
        custom_data["event_name"] = conversion.event_name
    return custom_data


def _number(amount: Decimal) -> int | float:
    integer = int(amount)
    return integer if integer == amount else float(amount)


def idempotency_key(event_id: str) -> str:
    """Return *event_id* in a form that a header can contain; different ids stay different.

    ``"sale:1001"`` is unchanged; ``"sale:Ä%"`` becomes ``"sale:%C3%84%25"``.
    """
    return event_id if _is_unquoted(event_id) else quote(event_id, safe=_UNQUOTED)


# Responses


def read_outcome(response: Response) -> Outcome:
    """Return the outcome of the conversion that *response* answers.

    Raises:
        NeedsOperator: 401 or 403.
        Throttled: 429.
    """
    success, body = response.success, response.json_object()
    remote_id = _remote_id(body)
    if success:
        return _read_confirmation(response.status, body, remote_id)
    # A 409 that names AnyTrack's id means that AnyTrack already has the conversion.
    if response.status == 409 and remote_id:
        return Outcome.delivered(remote_id)
    reason, code = _reason(response)
    if response.status in (401, 403):
        raise NeedsOperator(reason, code=code)
    if response.status == 429:
        wait = response.retry_after
        raise Throttled(reason, code=code, after=_DEFAULT_PAUSE if wait is None else wait)
    if response.status in _REJECTING_STATUSES:
        return Outcome.rejected(reason, code=code)
    return Outcome.retry(reason, code=code, after=response.retry_after)


def severity(signal: SinkSignal) -> float:
    """Return the rank of *signal*: of several in one batch, the sink raises the highest.

    A longer pause outranks a shorter pause, and rejected credentials outrank every pause.
    """
    return signal.after if isinstance(signal, Throttled) else inf


def _read_confirmation(status: int, body: Mapping[str, Any], remote_id: str | None) -> Outcome:
    if body.get("status", "success" if remote_id else None) == "success":
        return Outcome.delivered(remote_id)
    # Some proxies answer 200 with a page of their own, so a 200 without confirmation is retried.
    return Outcome.retry(f"AnyTrack answered {status} without confirming the conversion")


def _remote_id(body: Mapping[str, Any]) -> str | None:
    remote_id = body.get("conversion_id")
    if isinstance(remote_id, str):
        return remote_id.strip() or None
    return id_from_number(remote_id) if remote_id else None


def _reason(response: Response) -> tuple[str, str]:
    error = read_error_body(response)
    return f"{error.message} (status {response.status})", error.code or str(response.status)
