"""Conversions as plain data: dicts, JSON text, and the records of a data frame.

`to_conversion` reads back exactly the data that `to_dict` writes. Amounts are text, because a float
has no "49.90", and times are ISO 8601. The data has the fields of a `Conversion`, with `customer`,
`meta` and `items` as objects.

For data that is written by hand, `ago`, in minutes before now, replaces `timestamp`; `note` is a
remark and is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from math import isfinite
from numbers import Real
from typing import Any, TypeVar

import attrs
import orjson

from anytrack_async.descriptions import shown
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.consent import Consent, to_consent
from anytrack_async.models.conversion import ARGUMENTS, Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.missing import BLANK, is_iterable, is_missing, is_missing_number

_Model = TypeVar("_Model")

_MAPPINGS = ("sub_ids", "custom_data", "customer", "meta", "clicks", "consent")
_NESTED = (*_MAPPINGS, "items")
_EMPTY_IF_NOT_GIVEN = ("sub_ids", "custom_data", "items", "clicks")


# From a conversion


def to_dict(conversion: Conversion) -> dict[str, Any]:
    """Return *conversion* as values that JSON has; fields that are not given are left out."""
    record = {}
    for name in ARGUMENTS:
        value = getattr(conversion, name)
        if value is not None and (value or name not in _EMPTY_IF_NOT_GIVEN):
            record[name] = _plain(value)
    return record


def _plain(value: Any) -> Any:
    for kind, convert in _PLAIN_FORMS:
        if isinstance(value, kind):
            return convert(value)
    return value


def _plain_mapping(value: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: _plain(entry) for key, entry in value.items()}


def _plain_list(value: Iterable[Any]) -> list[Any]:
    return [_plain(entry) for entry in value]


def _plain_fields(value: Any) -> dict[str, Any]:
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return {name: _plain(entry) for name, entry in fields.items() if entry not in (None, ())}


_PLAIN_FORMS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Decimal, str),
    (str, str.__str__),  # a conversion type is a member of an enumeration
    (datetime, datetime.isoformat),
    (Mapping, _plain_mapping),
    ((list, tuple), _plain_list),
    (Consent, Consent.as_dict),
    ((Customer, LineItem), _plain_fields),
)
"""Type → the function that returns a value of it as plain data; all others are plain already."""


def to_json(conversion: Conversion) -> str:
    """Return `to_dict` of *conversion* as JSON."""
    return as_json(to_dict(conversion))


def as_json(value: object) -> str:
    """Return *value* as JSON, with integers of any size."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # AnyTrack's custom data may have integers of more than 64 bits
        return json.dumps(value, ensure_ascii=False)


def to_records(conversions: Iterable[Conversion]) -> list[dict[str, Any]]:
    """Return *conversions* as rows of a data frame or an Arrow table.

    Each row has the same keys, the fields of a `Conversion`, with values of the same types:
    `revenue` is a `Decimal`, `timestamp` an aware UTC `datetime`, and all others are text or None.
    `sub_ids`, `custom_data`, `customer`, `meta`, `clicks`, `consent` and `items` are JSON text,
    because their keys differ from row to row. `Conversion.from_dict` reads a row back.

        pandas.DataFrame(to_records(conversions))
        pyarrow.Table.from_pylist(to_records(conversions))

    Raises:
        TypeError: an item is no conversion.
    """
    return [_to_record(conversion) for conversion in conversions]


def _to_record(conversion: Conversion) -> dict[str, Any]:
    argument: Any = conversion
    if not isinstance(argument, Conversion):
        kind = type(argument).__name__
        raise TypeError(f"to_records needs Conversion objects, got {kind}")
    record = dict.fromkeys(ARGUMENTS) | to_dict(conversion)
    for name in _NESTED:
        if record[name] is not None:
            record[name] = as_json(record[name])
    return record | {"revenue": conversion.revenue, "timestamp": conversion.timestamp}


# To a conversion


def parse_json(text: str | bytes) -> Any:
    """Return the value in *text*, with integers of any size.

    Raises:
        InvalidConversionError: it is not JSON; the message has the position, and nothing of *text*.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        problem = f"must be JSON: see line {exc.lineno}, column {exc.colno}"
    except (ValueError, RecursionError):
        problem = "must be JSON in UTF-8"
    # Raised outside the `except` block: a JSON error as context would contain the text.
    raise InvalidConversionError("conversion", problem)


def to_conversion(record: Mapping[str, Any], *, now: datetime | None = None) -> Conversion:
    """Return the conversion that *record* describes.

    Args:
        record: field names and values, as JSON has them.
        now: the moment that `ago` counts back from; must carry a time zone.

    Raises:
        InvalidConversionError: a field is unknown, missing or invalid; the message names the field.
    """
    return from_dict(record, Conversion, now)


def from_dict(
    record: Mapping[str, Any], model: type[_Model], now: datetime | None = None
) -> _Model:
    """Return the conversion that *record* describes, of the class *model*; see `to_conversion`."""
    return _build(model, "", to_arguments(record, now))


def to_arguments(record: Mapping[str, Any], now: datetime | None = None) -> dict[str, Any]:
    """Return the arguments in *record*, with objects for `customer`, `consent` and `items`."""
    fields = _given_fields(record)
    if "ago" in fields:
        fields["timestamp"] = _minutes_before(now or datetime.now(UTC), fields.pop("ago"))
    elif isinstance(fields.get("timestamp"), str) and not is_missing_number(fields["timestamp"]):
        fields["timestamp"] = _from_iso(fields["timestamp"])
    customer = fields.get("customer")
    if not (isinstance(customer, Customer) or is_missing(customer)):
        fields["customer"] = _build(Customer, "customer", fields["customer"])
    if not is_missing(fields.get("consent")):
        fields["consent"] = to_consent(fields["consent"])
    if not is_missing(fields.get("items")):
        fields["items"] = [_line_item(item) for item in _as_list(fields["items"])]
    return fields


def _given_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    # JSON's null means "not given"; most fields of a `Conversion` take None themselves.
    if not isinstance(record, Mapping):
        raise InvalidConversionError(
            "conversion", f"must be an object, got {type(record).__name__}"
        )
    fields = {name: _parsed(value) if name in _NESTED else value for name, value in record.items()}
    fields.pop("note", None)
    if "ago" in fields and is_missing_number(fields["ago"]):
        del fields["ago"]
    for name in _WITHOUT_NONE:
        if fields.get(name, "") is None:
            del fields[name]
    if fields.get("revenue", 0) is None and fields.get("conversion_type") != "sale":
        del fields["revenue"]  # a sale needs an amount
    return fields


def _parsed(value: Any) -> Any:
    """Return the value of a nested field, which a data frame has as JSON text; None for "nan"."""
    if not isinstance(value, str):
        return value
    if is_missing_number(value):
        return None
    if (text := value.strip(BLANK))[:1] in ("{", "["):
        try:
            return parse_json(text)
        except InvalidConversionError:
            pass  # the field's own check raises
    return value


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
            raise _unknown_field_error(model, prefix, name, attributes)
    for name, attribute in attributes.items():
        if attribute.default is attrs.NOTHING and name not in fields:
            raise InvalidConversionError(f"{prefix}{name}", "is missing")


def _unknown_field_error(
    model: type[Any], prefix: str, name: Any, names: Iterable[str]
) -> InvalidConversionError:
    """Return the error for the field *name*, with the most similar one of *names*."""
    unknown = name if isinstance(name, str) and name.isprintable() else shown(name)
    problem = f"is not a field of {model.__name__}"
    for match in get_close_matches(unknown, names, n=1):
        problem += f"; did you mean {match!r}?"
    return InvalidConversionError(f"{prefix}{unknown}", problem)


def _as_list(items: Any) -> list[Any]:
    # A data frame that was read from Parquet has arrays for lists.
    if isinstance(items, str | bytes | Mapping) or not is_iterable(items):
        raise InvalidConversionError("items", "must be a list")
    return [item for item in items if not is_missing(item)]


def _line_item(item: Any) -> LineItem:
    return item if isinstance(item, LineItem) else _build(LineItem, "items", item)


def _minutes_before(now: datetime, minutes: Any) -> datetime:
    # A bool is an int, and JSON's 1e300 is a float that no calendar reaches.
    is_number = isinstance(minutes, Real) and not isinstance(minutes, bool)
    try:
        if is_number and isfinite(minutes):
            return now - timedelta(minutes=float(minutes))
    except OverflowError:
        pass
    raise InvalidConversionError("ago", "must be a number of minutes")


def _from_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip(BLANK))
    except ValueError:
        raise InvalidConversionError("timestamp", "must be an ISO 8601 time") from None
