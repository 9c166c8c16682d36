"""`/events/…/send`: custom (behavioural) events.

Source: HubSpot: send event completions. An answer has no body; a `uuid` that was seen is dropped.
"""

from __future__ import annotations

from typing import Any

from anytrack_async.sandbox.hubspot.call import Call
from anytrack_async.sandbox.hubspot.errors import invalid
from anytrack_async.sandbox.hubspot.portal import Portal
from anytrack_async.sandbox.request import Reply

MAX_EVENTS = 500


def send(portal: Portal, call: Call, *, batch: bool) -> Reply:
    """`POST …/send` and `POST …/send/batch`.

    Raises:
        HubSpotError: an event without a name, or about nobody; nothing was taken.
    """
    events = call.data.get("inputs") if batch else [call.data]
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise invalid(f"`inputs` must be an array of at most {MAX_EVENTS} events", reason="INPUTS")
    for event in events:
        _check(event)
    for event in events:
        _take(portal, event)
    return Reply(204)


def _check(event: Any) -> None:
    if not isinstance(event, dict) or not event.get("eventName"):
        raise invalid("Some required fields were not set: [eventName]", reason="EVENT_NAME")
    if not any(event.get(name) for name in ("email", "utk", "objectId")):
        raise invalid("One of email, utk or objectId is required", reason="EVENT_OBJECT")


def _take(portal: Portal, event: dict[str, Any]) -> None:
    uuid = str(event.get("uuid") or "")
    if uuid in portal.events:
        return
    if uuid:
        portal.events.add(uuid)
    portal.ledger.extra["events"] += 1
