"""`to_conversion`: plain data, such as a JSON object or a shell's options, as a `Conversion`.

The data has the fields of a `Conversion`, with `customer` and `items` as objects. `ago`, in minutes
before now, replaces `timestamp`; `note` is a remark for people and is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, TypeVar

import attrs

from anytrack_async.errors import InvalidConversionError, shown
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.validators import is_missing

_Model = TypeVar("_Model")


def to_conversion(record: Mapping[str, Any], *, now: datetime | None = None) -> Conversion:
    """Return the conversion that *record* describes.

    Args:
        record: field names and values, as JSON has them.
        now: the moment that `ago` counts back from; must carry a time zone.

    Raises:
        InvalidConversionError: a field is unknown, missing or invalid; the message names the field.
    """
    fields = _given_fields(record)
    if "ago" in fields:
        fields["timestamp"] = _minutes_before(now or datetime.now(UTC), fields.pop("ago"))
    elif isinstance(fields.get("timestamp"), str):
        fields["timestamp"] = _from_iso(fields["timestamp"])
    if not is_missing(fields.get("customer")):
        fields["customer"] = _build(Customer, "customer", fields["customer"])
    if fields.get("items"):
        fields["items"] = [_build(LineItem, "items", item) for item in _as_list(fields["items"])]
    return _build(Conversion, "", fields)


def _given_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    # JSON's null means "not given"; most fields of a `Conversion` take None themselves.
    fields = dict(record)
    fields.pop("note", None)
    for name in _WITHOUT_NONE:
        if fields.get(name, "") is None:
            del fields[name]
    if fields.get("conversion_type") != "sale" and is_missing(fields.get("revenue")):
        fields.pop("revenue", None)  # a sale needs an amount
    return fields


_WITHOUT_NONE = ("currency", "event_id", "timestamp")


def _build(model: type[_Model], path: str, fields: Any) -> _Model:
    """Return a *model* with *fields*; errors name a field below *path*."""
    if not isinstance(fields, Mapping):
        raise InvalidConversionError(path, "must be an object")
    prefix = f"{path}." if path else ""
    _check_names(model, prefix, fields)
    try:
        return model(**fields)
    except InvalidConversionError as exc:
        raise InvalidConversionError(f"{prefix}{exc.name}", exc.problem) from None


def _check_names(model: type[Any], prefix: str, fields: Mapping[Any, Any]) -> None:
    attributes = {field.alias: field for field in attrs.fields(model) if field.init}
    for name in fields:
        if name not in attributes:
            unknown = name if isinstance(name, str) and name.isprintable() else shown(name)
            raise InvalidConversionError(
                f"{prefix}{unknown}", f"is not a field of {model.__name__}"
            )
    for name, attribute in attributes.items():
        if attribute.default is attrs.NOTHING and name not in fields:
            raise InvalidConversionError(f"{prefix}{name}", "is missing")


def _as_list(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise InvalidConversionError("items", "must be a list")
    return items


def _minutes_before(now: datetime, minutes: Any) -> datetime:
    # A bool is an int, and JSON's 1e300 is a float that no calendar reaches.
    is_number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
    try:
        if is_number and isfinite(minutes):
            return now - timedelta(minutes=minutes)
    except OverflowError:
        pass
    raise InvalidConversionError("ago", "must be a number of minutes")


def _from_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidConversionError("timestamp", "must be an ISO 8601 time") from None
