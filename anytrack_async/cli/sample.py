"""From lines of JSON to conversions, without I/O; and the sample that is shipped.

A line is an object as `to_conversion` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from itertools import count, islice
from typing import Any

import attrs
import orjson

from anytrack_async.cli.conversions import to_conversion
from anytrack_async.errors import AnyTrackError, DecodeError
from anytrack_async.models.conversion import Conversion

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


def _renamed(record: Mapping[str, Any], suffix: str) -> Mapping[str, Any]:
    own = {key: f"{record[key]}{suffix}" for key in _KEYS if suffix and record.get(key)}
    return {**record, **own}


def _order(record: Mapping[str, Any]) -> str | None:
    order = record.get("order_id")
    return order if isinstance(order, str) and order.isprintable() else None
