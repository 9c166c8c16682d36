"""From lines of JSON to conversions, without I/O; and the sample that is shipped.

A line is an object with the fields of a `Conversion`, its `customer` and `items` as objects.
`ago`, minutes before now, takes the place of `timestamp`; `note` is for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import count, islice
from math import isfinite
from typing import Any, TypeVar

import attrs
import orjson

from anytrack_async.errors import AnyTrackError, DecodeError, InvalidConversionError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.line_item import LineItem

_T = TypeVar("_T")
_KEYS = ("order_id", "event_id")


@attrs.frozen(kw_only=True)
class Fault:
    """A line that is no conversion.

    Attributes:
        line: its number, from 1.
        reason: what is wrong, by field; free of a customer's data.
        order_id: the order it speaks of, where that could be read.
    """

    line: int
    reason: str
    order_id: str | None = None


def read_lines(
    lines: Iterable[str], *, now: datetime, suffix: str = "", start: int = 1
) -> Iterator[tuple[int, Conversion] | Fault]:
    """Return, for each of *lines*, its number with the conversion, or its fault.

    Args:
        lines: JSON objects.
        now: what `ago` counts from; must carry a time zone.
        suffix: goes behind every order and event id, so that the same lines are other orders.
        start: number of the first line.
    """
    for line, text in enumerate(lines, start):
        record: Mapping[str, Any] = {}
        try:
            record = _record(text)
            yield line, to_conversion(_renamed(record, suffix), now=now)
        except AnyTrackError as exc:
            yield Fault(line=line, reason=str(exc), order_id=_order(record))


def to_conversion(record: Mapping[str, Any], *, now: datetime | None = None) -> Conversion:
    """Return the conversion that *record* describes.

    Raises:
        InvalidConversionError: a field is not valid; the message names it.
    """
    fields = {name: value for name, value in record.items() if name != "note"}
    if "ago" in fields:
        fields["timestamp"] = _moment(fields.pop("ago"), now or datetime.now(UTC))
    elif isinstance(fields.get("timestamp"), str):
        fields["timestamp"] = _iso(fields["timestamp"])
    if fields.get("customer") is not None:
        fields["customer"] = _made(Customer, "customer", fields["customer"])
    if fields.get("items"):
        fields["items"] = [_made(LineItem, "items", item) for item in _list(fields["items"])]
    return _made(Conversion, "", fields)


def sample(
    size: int = 1000, *, now: datetime | None = None
) -> Iterator[tuple[int, Conversion] | Fault]:
    """Return *size* lines of the shipped sample, read; from the start again when it ends.

    Each further round has order ids of its own. What has no order id gets a new event id each time.
    """
    moment = now or datetime.now(UTC)
    lines = sample_lines()
    rounds = (
        read_lines(
            lines,
            now=moment,
            suffix=f"~{turn}" if turn else "",
            start=turn * len(lines) + 1,
        )
        for turn in count()
    )
    return islice((read for turn in rounds for read in turn), size)


def sample_lines() -> list[str]:
    """Return the lines of the shipped sample."""
    text = files("anytrack_async.cli").joinpath("sample.jsonl").read_text(encoding="utf-8")
    return text.splitlines()


def _record(text: str) -> Mapping[str, Any]:
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise DecodeError(f"the line is not JSON: {exc.msg}, column {exc.colno}") from None
    if not isinstance(record, dict):
        raise DecodeError(f"the line must be an object, not {type(record).__name__}")
    return record


def _made(cls: type[_T], where: str, fields: Any) -> _T:
    if not isinstance(fields, Mapping):
        raise InvalidConversionError(where, "must be an object")
    known = {field.name: field for field in attrs.fields(cls)}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    for name in (name for name in fields if name not in known):
        raise InvalidConversionError(f"{prefix}{name}", f"is no field of a {cls.__name__}")
    for name in (name for name, field in known.items() if field.default is attrs.NOTHING):
        if name not in fields:
            raise InvalidConversionError(f"{prefix}{name}", "is missing")
    try:
        return cls(**fields)
    except InvalidConversionError as exc:
        raise InvalidConversionError(f"{prefix}{exc.name}", exc.problem) from None


def _list(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise InvalidConversionError("items", "must be a list")
    return items


def _moment(ago: Any, now: datetime) -> datetime:
    number = isinstance(ago, int | float) and not isinstance(ago, bool) and isfinite(ago)
    try:
        if number:
            return now - timedelta(minutes=ago)
    except OverflowError:
        pass
    raise InvalidConversionError("ago", "must be a number of minutes")


def _iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidConversionError("timestamp", "must be an ISO 8601 time") from None


def _renamed(record: Mapping[str, Any], suffix: str) -> Mapping[str, Any]:
    own = {key: f"{record[key]}{suffix}" for key in _KEYS if suffix and record.get(key)}
    return {**record, **own}


def _order(record: Mapping[str, Any]) -> str | None:
    order = record.get("order_id")
    return order if isinstance(order, str) and order.isprintable() else None
