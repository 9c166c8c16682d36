"""Encodes a conversion as a webhook, and signs it. Without I/O.

Source: Standard Webhooks, www.standardwebhooks.com: "Payload structure", "Signature scheme".
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import orjson

from anytrack_async.destinations.anytrack.payload import idempotency_key
from anytrack_async.destinations.webhook.settings import CustomerData
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import digest_or_none

MASK: Final = "***"
_PERSONAL = ("ip_address", "user_agent", "page_url")
_IDS = ("external_id", "fbc", "fbp", "fbclid")  # may look like digests, and be secret


def to_payload(conversion: Conversion, customer: CustomerData) -> dict[str, Any]:
    """Return the body of the webhook: ``type``, ``timestamp`` and ``data``, the conversion.

    ``data`` has the fields of `Conversion.to_dict`, and ``event_id`` always. The type is
    ``conversion.sale``, ``conversion.lead``, ``conversion.signup`` or ``conversion.custom``.
    """
    data = {**conversion.to_dict(), "event_id": conversion.event_id}
    if customer != "raw":
        data.pop("meta", None)
        for name in _PERSONAL:
            if name in data:
                data[name] = _protected(name, data[name], customer)
        if "customer" in data:
            data["customer"] = {
                name: _protected(name, value, customer) for name, value in data["customer"].items()
            }
    return {
        "type": f"conversion.{conversion.conversion_type.value}",
        "timestamp": conversion.timestamp.isoformat(),
        "data": data,
    }


def encode(conversion: Conversion, customer: CustomerData) -> bytes:
    """Return `to_payload` as JSON."""
    return orjson.dumps(to_payload(conversion, customer))


def signed_headers(
    message_id: str, content: bytes, keys: Sequence[bytes], *, now: float
) -> Mapping[str, str]:
    """Return ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature`` of *content*.

    The signature of ``{id}.{timestamp}.{body}`` is made with each key: ``v1,g0hM9… v1,K5oZf…``. A
    receiver accepts the webhook if one of them is right.

    Args:
        message_id: the event id, the same for each attempt; escaped where a header needs it.
        content: the body.
        keys: see `signing_key`.
        now: unix seconds. A receiver refuses a time that is minutes away.
    """
    message_id, timestamp = idempotency_key(message_id), str(int(now))
    message = b".".join((message_id.encode(), timestamp.encode(), content))
    signatures = (hmac.new(key, message, sha256).digest() for key in keys)
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": timestamp,
        "Webhook-Signature": " ".join(f"v1,{b64encode(item).decode()}" for item in signatures),
    }


def _protected(name: str, value: Any, customer: CustomerData) -> Any:
    if isinstance(value, list | tuple):
        return [_protected(name, item, customer) for item in value]
    if customer == "masked":
        return MASK
    text = str(value).strip().lower()
    if len(text) > 63 and name not in _IDS and (digest := digest_or_none(text)):
        return digest  # the sender has hashed it for Meta
    if name == "phone":
        text = "".join(char for char in text if char.isdecimal())
    return sha256(text.encode()).hexdigest()
