"""`MetaFields` on the wire: parameters by Meta's names, without empty objects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from anytrack_async.models.meta import MetaFields, MetaUserData

# Merged with the parameters from the conversion and its customer, elsewhere.
_MERGED = {"extra", "user_data", "custom_data"}
_WINDOWS = ("inactivity_window_hours", "reattribution_window_hours")
_LIMITED = {"data_processing_options_country": 0, "data_processing_options_state": 0}


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
    known = wire_form(meta)
    if "attribution_data" in known:
        known["attribution_data"] = _with_windows_grouped(known["attribution_data"])
    parameters = {**(meta.get("extra") or {}), **known}
    return _LIMITED | parameters if meta.get("data_processing_options") else parameters


def _with_windows_grouped(attribution: dict[str, Any]) -> dict[str, Any]:
    windows = {name: attribution.pop(name) for name in _WINDOWS if name in attribution}
    return attribution | {"attribution_setting": windows} if windows else attribution


def identifiers(data: MetaUserData) -> dict[str, Any]:
    """Return the identifiers of Meta's own products, never hashed."""
    return {**(data.get("extra") or {}), **wire_form(data)}
