"""`to_event`: a conversion as Meta's Conversions API takes it.

Source: Meta: Conversions API, server event parameters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from anytrack_async.destinations.meta.custom_data import custom_data
from anytrack_async.destinations.meta.fields import event_parameters
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.user_data import all_user_data
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.meta import MetaFields

_STANDARD = {
    ConversionType.SALE: "Purchase",
    ConversionType.LEAD: "Lead",
    ConversionType.SIGNUP: "CompleteRegistration",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400  # seconds
_WEB = ("https://", "http://")
_LIMITED = {
    "data_processing_options": ["LDU"],
    "data_processing_options_country": 0,
    "data_processing_options_state": 0,
}


def to_event(
    conversion: Conversion, settings: MetaSettings, *, now: float | None = None
) -> dict[str, Any]:
    """Return *conversion* as an event: JSON-ready, customer data normalised and hashed.

    Args:
        conversion: what was done.
        settings: names, action source and the other defaults.
        now: unix seconds; a conversion from the future is dated now.

    Source: Meta: Conversions API, server event parameters.
    """
    return to_events((conversion,), settings, now=time.time() if now is None else now)[0]


def to_events(
    conversions: Sequence[Conversion], settings: MetaSettings, *, now: float
) -> list[dict[str, Any]]:
    """Return `to_event` of each of *conversions*, sooner than one by one.

    Args:
        conversions: what was done.
        settings: names, action source and the other defaults.
        now: unix seconds; a conversion from the future is dated now.
    """
    latest = datetime.fromtimestamp(now, UTC)
    seen_at = [at if (at := one.timestamp) <= latest else latest for one in conversions]
    users = all_user_data(conversions, settings, seen_at)
    rows = zip(conversions, users, seen_at, strict=True)
    return [_event(conversion, user, at, settings) for conversion, user, at in rows]


def _event(
    conversion: Conversion, user: dict[str, Any], happened: datetime, settings: MetaSettings
) -> dict[str, Any]:
    name, page, since = event_name(conversion, settings), conversion.page_url, happened - _EPOCH
    custom = custom_data(conversion, name)
    # All keys at once, and a few taken out again: a dict that grows is copied.
    event: dict[str, Any] = {
        "event_name": name,
        "event_time": since.days * _DAY + since.seconds,
        "event_id": conversion.event_id,
        "action_source": settings.action_source,
        "event_source_url": page,
        "user_data": user,
        "custom_data": custom,
    }
    if page is None or not (page.startswith(_WEB) or page[:8].lower().startswith(_WEB)):
        del event["event_source_url"]
    if not custom:
        del event["custom_data"]
    if conversion.meta is not None or settings.opt_out or settings.limited_data_use:
        _add_options(event, conversion.meta, settings)
    return event


def event_name(conversion: Conversion, settings: MetaSettings) -> str:
    """Return what Meta calls *conversion*: its `MetaFields` first, then the settings."""
    if conversion.meta is not None and (name := conversion.meta.get("event_name")):
        return name
    if settings.event_name is not None and (name := settings.event_name(conversion)):
        return name
    kind = conversion.conversion_type
    return _STANDARD.get(kind) or conversion.event_name or "CustomEvent"


def _add_options(event: dict[str, Any], meta: MetaFields | None, settings: MetaSettings) -> None:
    if settings.opt_out:
        event["opt_out"] = True
    if settings.limited_data_use and (meta is None or "data_processing_options" not in meta):
        event |= _LIMITED
    if meta is not None:
        event |= event_parameters(meta)
