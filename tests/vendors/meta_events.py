"""The same conversion, made into an event by Meta's own client and by this library.

They agree but for what is listed here, where this library does what Meta's documentation says:

* lists of identifiers: Meta's client gives them in random order, here they are sorted;
* currency: in lower case there, as ISO 4217 writes it here;
* external ids: never hashed there; here hashed unless the settings say otherwise;
* values: `test_meta_hashes` lists what is brought into another form before it is hashed;
* parameters: `test_meta_parameters` lists those that one side has no field for.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.user_data import UserData

from anytrack_async.destinations.meta.event import to_event
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

THEN = datetime(2026, 9, 1, 12, tzinfo=UTC)
SECONDS = int(THEN.timestamp())
SETTINGS = MetaSettings(pixel_id="1", access_token="t", hash_external_id=False)


def theirs(*, user=None, custom=None, **event):
    """Return the event as Meta's client sends it, in this library's order and case."""
    built = Event(
        **{
            "event_name": "Purchase",
            "event_time": SECONDS,
            "event_id": "e1",
            "action_source": ActionSource.WEBSITE,
            "user_data": UserData(**(user or {})),
            "custom_data": CustomData(**{"value": 19.99, "currency": "USD", **(custom or {})}),
            **event,
        }
    ).normalize()
    built["custom_data"]["currency"] = built["custom_data"]["currency"].upper()
    return _ordered(json.loads(json.dumps(built, default=lambda value: value.value)))


def ours(*, conversion=None, **customer):
    defaults = {
        "conversion_type": "sale",
        "revenue": "19.99",
        "timestamp": THEN,
        "event_id": "e1",
        "customer": Customer(**customer),
    }
    return _ordered(to_event(Conversion(**{**defaults, **(conversion or {})}), SETTINGS))


def _ordered(event):
    user = event["user_data"].items()
    sets = {name: sorted(v) if isinstance(v, list) else v for name, v in user}
    return {**event, "user_data": sets}
