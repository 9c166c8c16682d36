"""`MetaFields` on the wire: only what is set, by Meta's names."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from anytrack_async.models.meta import MetaFields
from anytrack_async.models.meta_origin import MetaAppData, MetaAttributionData, MetaOriginalEvent
from anytrack_async.models.meta_parts import MetaContent, MetaCustomData, MetaUserData

_PLACED = {"extra", "user_data", "custom_data"}
_WINDOWS = ("inactivity_window_hours", "reattribution_window_hours")
_LIMITED = {"data_processing_options_country": 0, "data_processing_options_state": 0}


def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(cls) if field.name not in _PLACED)


_NAMES = {
    cls: _names(cls)
    for cls in (
        *(MetaFields, MetaUserData, MetaCustomData, MetaContent),
        *(MetaAppData, MetaOriginalEvent, MetaAttributionData),
    )
}


def present(part: Any) -> dict[str, Any]:
    """Return the fields of *part* that are set, as JSON can hold them."""
    given = ((name, getattr(part, name)) for name in _NAMES[type(part)])
    return {
        name: json for name, value in given if value is not None and (json := plain(value)) != {}
    }


def plain(value: Any) -> Any:
    """Return *value* as JSON can hold it: numbers, unix seconds, lists and objects."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, MetaAttributionData):
        return _attribution(value)
    return present(value) if type(value) in _NAMES else value


def _attribution(data: MetaAttributionData) -> dict[str, Any]:
    found = present(data)
    windows = {name: found.pop(name) for name in _WINDOWS if name in found}
    return found | {"attribution_setting": windows} if windows else found


def event_fields(meta: MetaFields) -> dict[str, Any]:
    """Return the parameters of the event itself.

    Limited Data Use needs a country and a state: where none is given, Meta is asked to find out.

    Source: Meta: Conversions API, server event parameters; data processing options.
    """
    found = {**meta.extra, **present(meta)}
    return _LIMITED | found if meta.data_processing_options else found


def identifiers(data: MetaUserData) -> dict[str, Any]:
    """Return the identifiers that only Meta has, never hashed."""
    return {**data.extra, **present(data)}
