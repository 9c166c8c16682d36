"""What Meta would refuse a whole request for, found before sending; and what only weakens an event.

Meta rejects a request for one bad event and does not say which. These checks cost no request.

Source: Meta: Conversions API, using the API; best practices (combinations too broad to match).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_DAY = 86_400
_DAYS = 7
_DAYS_IN_STORE = 62
_WEEK = _DAYS * _DAY
_TOO_BROAD = (
    frozenset(("ct", "country", "st", "zp", "ge", "client_user_agent")),
    frozenset(("db", "client_user_agent")),
    frozenset(("fn", "ge")),
    frozenset(("ln", "ge")),
)


class Fault(NamedTuple):
    """Why Meta would refuse an event.

    Attributes:
        code: Meta's subcode for it.
        reason: what to do about it; free of customers' data.
    """

    code: str
    reason: str


_NO_VALUE = Fault("2804009", "a Purchase needs a value")
_NO_CURRENCY = Fault("2804010", "a Purchase needs a currency")
_NO_IDENTITY = Fault(
    "2804050",
    "too little to match a customer by: add an e-mail address, phone number, external id, IP "
    "address, fbc or fbp",
)


def find_fault(event: Mapping[str, Any], now: float) -> Fault | None:
    """Return why Meta would refuse a request with *event* at *now* (unix seconds), if it would."""
    if now - event["event_time"] > _WEEK and (too_old := _too_old(event, now)):
        return too_old
    if event["event_name"] == "Purchase":
        custom = event.get("custom_data", {})
        if custom.get("value") is None:
            return _NO_VALUE
        if not custom.get("currency"):
            return _NO_CURRENCY
    known = event["user_data"]
    if "em" in known or "ph" in known:  # nearly all: in none of the sets below
        return None
    if any(known.keys() <= broad for broad in _TOO_BROAD):
        return _NO_IDENTITY
    return None


def _too_old(event: Mapping[str, Any], now: float) -> Fault | None:
    days = _DAYS_IN_STORE if event["action_source"] == "physical_store" else _DAYS
    if now - event["event_time"] <= days * _DAY:
        return None
    return Fault("2804003", f"too old: Meta takes this event for {days} days after it happened")


def find_weakness(event: Mapping[str, Any]) -> str | None:
    """Return what will make Meta match or use *event* less well, if anything."""
    source = event["action_source"]
    if source == "website":
        if "client_user_agent" not in event["user_data"]:
            return "website events without user_agent"
        if "event_source_url" not in event:
            return "website events without an http(s) page_url"
    elif source == "app" and "app_data" not in event:
        return "app events without app_data"
    return None
