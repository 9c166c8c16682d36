"""What Meta would refuse a whole request for, found before sending; and what only weakens an event.

Meta rejects a request for one bad event and does not say which. These checks cost no request.

Source: Meta: Conversions API, using the API; best practices (combinations too broad to match).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    return find_faults({0: event}, now).get(0)


def find_faults(events: Mapping[int, Mapping[str, Any]], now: float) -> dict[int, Fault]:
    """Return `find_fault` of those of *events*, place → event, that have one."""
    faults = {}
    for place, event in events.items():
        fault = (
            (now - event["event_time"] > _WEEK and _too_old(event, now))
            or (event["event_name"] == "Purchase" and _no_price(event))
            # Nearly all have one of these, and so are in none of the sets.
            or ("em" not in (known := event["user_data"]) and "ph" not in known and _broad(known))
        )
        if fault:
            faults[place] = fault
    return faults


def _no_price(event: Mapping[str, Any]) -> Fault | None:
    custom = event.get("custom_data", {})
    if custom.get("value") is None:
        return _NO_VALUE
    return None if custom.get("currency") else _NO_CURRENCY


def _broad(known: Mapping[str, Any]) -> Fault | None:
    return _NO_IDENTITY if any(known.keys() <= broad for broad in _TOO_BROAD) else None


def _too_old(event: Mapping[str, Any], now: float) -> Fault | None:
    days = _DAYS_IN_STORE if event["action_source"] == "physical_store" else _DAYS
    if now - event["event_time"] <= days * _DAY:
        return None
    return Fault("2804003", f"too old: Meta takes this event for {days} days after it happened")


def find_weakness(event: Mapping[str, Any]) -> str | None:
    """Return what will make Meta match or use *event* less well, if anything."""
    return next(iter(find_weaknesses((event,))), None)


def find_weaknesses(events: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """Return `find_weakness` of *events*, each kind once, as keys in order."""
    kinds: dict[str, None] = {}
    for event in events:
        source = event["action_source"]
        if source == "website":
            if "client_user_agent" not in event["user_data"]:
                kinds["website events without user_agent"] = None
            elif "event_source_url" not in event:
                kinds["website events without an http(s) page_url"] = None
        elif source == "app" and "app_data" not in event:
            kinds["app events without app_data"] = None
    return kinds
