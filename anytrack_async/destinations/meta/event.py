"""`to_event`: a conversion as an event of Meta's Conversions API.

An event has parameters of its own, `custom_data`, and `user_data` (see that module). Parameters
from `Conversion.meta` override those from the conversion, and these override the settings.

Source: Meta: Conversions API, server event, custom data and data processing parameters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs

from anytrack_async.clock import CLOCK_ERROR
from anytrack_async.destinations.consent import withhold_clicks
from anytrack_async.destinations.meta.click_ids import (
    Weaknesses,
)
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.user_data import (
    all_user_data,
)
from anytrack_async.models.consent import UNKNOWN_CONSENT
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.meta import MetaFields
from anytrack_async.settings.consent import ConsentRule

_EVENT_NAMES = {
    ConversionType.SALE: "Purchase",
    ConversionType.LEAD: "Lead",
    ConversionType.SIGNUP: "CompleteRegistration",
}
FUTURE = "times in the future, replaced by the current one"
"""The kind of conversions that have not happened yet."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400  # seconds
_WEB = ("https://", "http://")
# 0 lets Meta find out where the visitor is.
_ANYWHERE = {"data_processing_options_country": 0, "data_processing_options_state": 0}
_LIMITED_DATA_USE = {"data_processing_options": ["LDU"], **_ANYWHERE}

# Not copied from `Conversion.custom_data`: the event id is a parameter of the event, a product id
# becomes `content_ids`, and `value` and `currency` are the conversion's alone.
_NOT_COPIED = frozenset(("event_id", "product_id", "value", "currency"))

# Not written by `wire_form`: merged with the parameters from the conversion and its customer.
_MERGED = frozenset(("extra", "user_data", "custom_data"))
_APP_FLAGS = ("advertiser_tracking_enabled", "application_tracking_enabled")  # sent as 0 or 1
_ATTRIBUTION_WINDOWS = ("inactivity_window_hours", "reattribution_window_hours")


# Consent


def limited(conversion: Conversion, rule: ConsentRule) -> Conversion:
    """Return *conversion* without the data that Meta must not get; itself if it may get all.

    Source: Meta: Conversions API, data processing options for US users.
    """
    consent = conversion.consent or UNKNOWN_CONSENT
    conversion = withhold_clicks(conversion, rule)
    states = (consent.ad_user_data, consent.ad_personalization)
    if all(rule.action(state) == "send" for state in states):
        return conversion
    meta = MetaFields(**{**(conversion.meta or {}), "data_processing_options": ("LDU",)})
    return attrs.evolve(conversion, meta=meta)


# Events


def to_event(
    conversion: Conversion, settings: MetaSettings, *, now: float | None = None
) -> dict[str, Any]:
    """Return *conversion* as an event: JSON-ready, customer data normalised and hashed.

    Args:
        conversion: any conversion.
        settings: event names, action source and other defaults.
        now: unix seconds; a conversion from the future is dated now.

    Source: Meta: Conversions API, server event parameters.
    """
    return to_events((conversion,), settings, now=time.time() if now is None else now)[0]


def to_events(
    conversions: Sequence[Conversion],
    settings: MetaSettings,
    *,
    now: float,
    weaknesses: Weaknesses | None = None,
) -> list[dict[str, Any]]:
    """Return `to_event` of each of *conversions*, faster than one at a time.

    Args:
        conversions: any conversions.
        settings: event names, action source and other defaults.
        now: unix seconds; a conversion from the future is dated now.
        weaknesses: gets the `user_data` of conversions with unusable values, and their kinds; also
            of those that are dated more than ten minutes ahead.
    """
    latest = datetime.fromtimestamp(now, UTC)
    times = [
        moment if (moment := conversion.timestamp) <= latest else latest
        for conversion in conversions
    ]
    users = all_user_data(conversions, settings, times, weaknesses)
    if weaknesses is not None and latest in times:
        weaknesses += [
            (user, FUTURE)
            for conversion, user in zip(conversions, users, strict=True)
            if conversion.timestamp - latest > CLOCK_ERROR
        ]
    rows = zip(conversions, users, times, strict=True)
    return [_event(conversion, user, moment, settings) for conversion, user, moment in rows]


def _event(
    conversion: Conversion, user: dict[str, Any], moment: datetime, settings: MetaSettings
) -> dict[str, Any]:
    name, page, since = event_name(conversion, settings), conversion.page_url, moment - _EPOCH
    custom = custom_data(conversion, name)
    # All keys at once, and a few deleted: a dict that grows is copied.
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
    if settings.event_id is not None and (own_id := settings.event_id(conversion)):
        event["event_id"] = str(own_id)
    if conversion.meta is not None or settings.opt_out or settings.limited_data_use:
        _add_options(event, conversion.meta, settings)
    return event


def event_name(conversion: Conversion, settings: MetaSettings) -> str:
    """Return Meta's name for *conversion*: from its `MetaFields`, the settings, or its type."""
    if conversion.meta is not None and (name := conversion.meta.get("event_name")):
        return name
    if settings.event_name is not None and (name := settings.event_name(conversion)):
        return name
    return _EVENT_NAMES.get(conversion.conversion_type) or conversion.event_name or "CustomEvent"


def _add_options(event: dict[str, Any], meta: MetaFields | None, settings: MetaSettings) -> None:
    if settings.opt_out:
        event["opt_out"] = True
    if settings.limited_data_use and (meta is None or "data_processing_options" not in meta):
        event |= _LIMITED_DATA_USE
    if meta is not None:
        event |= event_parameters(meta)


# Custom data


def custom_data(conversion: Conversion, event_name: str) -> dict[str, Any]:
    """Return the parameters of the purchase: the caller's own, overridden by the conversion's.

    A revenue of 0 is a value for a purchase; for other events it means that there is none.
    ``content_type`` is left out unless given: without it Meta matches products and groups alike.

    Source: Meta: Conversions API, custom data parameters.
    """
    data = _own_parameters(conversion.custom_data) if conversion.custom_data else {}
    if conversion.revenue or event_name == "Purchase":
        data["value"] = float(conversion.revenue)
        data["currency"] = conversion.currency
    if conversion.order_id is not None:
        data["order_id"] = conversion.order_id
    if conversion.items:
        data |= _contents(conversion.items)
    elif "product_id" in conversion.custom_data:
        _add_product(data, conversion.custom_data["product_id"])
    if conversion.meta is not None and (standard := conversion.meta.get("custom_data")):
        data |= wire_form(standard)
    return data


def _own_parameters(custom_data: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {}
    for name, value in custom_data.items():  # no comprehension: here that is one more call
        if value is not None and name not in _NOT_COPIED:
            parameters[name] = value  # noqa: PERF403
    return parameters


def _add_product(data: dict[str, Any], product_id: object) -> None:
    if isinstance(product_id, str | int) and product_id != "":
        data.setdefault("content_ids", [str(product_id)])


def _contents(items: tuple[LineItem, ...]) -> dict[str, Any]:
    return {
        "contents": [_content(item) for item in items],
        "content_ids": list(dict.fromkeys(item.id for item in items)),
        "num_items": sum(item.quantity for item in items),
    }


def _content(item: LineItem) -> dict[str, Any]:
    content: dict[str, Any] = {"id": item.id, "quantity": item.quantity}
    if item.price is not None:
        content["item_price"] = float(item.price)
    for name in ("title", "category", "brand"):
        if (value := getattr(item, name)) is not None:
            content[name] = value
    return content


# Parameters from `Conversion.meta`


def wire_form(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return *parameters* as JSON can hold them: numbers, unix seconds, lists and objects."""
    form = ((name, _json(value)) for name, value in parameters.items() if name not in _MERGED)
    return {name: value for name, value in form if value != {}}


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return wire_form(value) if isinstance(value, dict) else value


def event_parameters(meta: MetaFields) -> dict[str, Any]:
    """Return the parameters of the event itself.

    Limited Data Use needs a country and a state: where none is given, Meta is asked to find out.

    Source: Meta: Conversions API, server event parameters; data processing options.
    """
    checked = wire_form(meta)
    if "app_data" in checked:
        app_data = checked["app_data"]
        app_data |= {name: int(app_data[name]) for name in _APP_FLAGS if name in app_data}
    if "attribution_data" in checked:
        checked["attribution_data"] = _with_windows_grouped(checked["attribution_data"])
    parameters = {**(meta.get("extra") or {}), **checked}
    return _ANYWHERE | parameters if meta.get("data_processing_options") else parameters


def _with_windows_grouped(attribution: dict[str, Any]) -> dict[str, Any]:
    windows = {name: attribution.pop(name) for name in _ATTRIBUTION_WINDOWS if name in attribution}
    return attribution | {"attribution_setting": windows} if windows else attribution
