"""The wire form: what AnyTrack answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from anytrack_async.codec.converter import load
from anytrack_async.errors import DecodeError
from anytrack_async.models.answers import AffiliatePerformance, Attribution, DailyReport, Touchpoint
from anytrack_async.models.conversion import Conversion, ConversionType

_T = TypeVar("_T")

_TOLD = 5  # bad records of one list that are logged one by one
_log = logging.getLogger("anytrack_async")

_WIRE = frozenset(
    (
        *("id", "click_id", "conversion_type", "event_name", "revenue", "currency", "timestamp"),
        *("order_id", "source", "campaign_id", "ad_id", "sub_ids", "custom_data"),
        *("ip_address", "user_agent", "page_url"),
    )
)
"""What AnyTrack answers of a conversion; what else it may have is ignored."""


def read_conversion(record: Mapping[str, Any]) -> Conversion:
    """Return a conversion as AnyTrack answers it.

    A type this release does not know becomes a custom event of that name. The event id is the one
    we sent along, else ``"anytrack:<id>"``.

    Raises:
        DecodeError: the record does not fit.
    """
    given = _given(record, "sub_ids")
    known = {name: value for name, value in given.items() if name in _WIRE}
    if "timestamp" not in known:
        raise DecodeError("Conversion: field 'timestamp' is missing @ $.timestamp")
    sent = known.get("custom_data")
    ours: Mapping[str, Any] = _given(sent) if isinstance(sent, Mapping) else {}
    known |= _kind(str(known.get("conversion_type", "unknown")), ours.get("event_name"))
    event_id = ours.get("event_id") or given.get("event_id")
    if event_id is None and "id" in known:
        event_id = f"anytrack:{known['id']}"
    return load(known if event_id is None else known | {"event_id": event_id}, Conversion)


def _kind(kind: str, event_name: object) -> dict[str, Any]:
    if kind.lower() not in set(ConversionType):
        return {"conversion_type": ConversionType.CUSTOM, "event_name": kind[:50].strip()}
    known: dict[str, Any] = {"conversion_type": kind.lower()}
    return known | {"event_name": event_name} if isinstance(event_name, str) else known


def read_touchpoint(record: Mapping[str, Any]) -> Touchpoint:
    """Return a touchpoint as AnyTrack answers it, or raise `DecodeError`."""
    return load(_given(record), Touchpoint)


def read_attribution(record: Mapping[str, Any]) -> Attribution:
    """Return an attribution as AnyTrack answers it, or raise `DecodeError`."""
    return load(_given(record, "weights"), Attribution)


def read_affiliate(record: Mapping[str, Any]) -> AffiliatePerformance:
    """Return an affiliate's performance as AnyTrack answers it, or raise `DecodeError`."""
    return load(_given(record), AffiliatePerformance)


def read_daily_report(record: Mapping[str, Any]) -> DailyReport:
    """Return a day's totals as AnyTrack answers them, or raise `DecodeError`."""
    return load(_given(record, "by_source", "by_campaign"), DailyReport)


def read_list(records: object, read: Callable[[Any], _T]) -> list[_T]:
    """Return what *read* makes of each of *records*; a bad one is left out, the first few logged.

    Raises:
        DecodeError: *records* is not a list.
    """
    if not isinstance(records, list):
        raise DecodeError(f"expected a list of records, got {type(records).__name__}")
    good, bad = [], 0
    for at, record in enumerate(records):
        try:
            good.append(read(record))
        except DecodeError as exc:
            bad += 1
            if bad <= _TOLD:
                _log.warning("left out record %d of %d: %s", at + 1, len(records), exc)
    if bad > _TOLD:
        _log.warning("left out %d records of %d", bad, len(records))
    return good


def _given(record: object, *maps: str) -> dict[str, Any]:
    """Return what *record* says: text without blanks around it, nothing that is null or empty.

    In the fields named *maps*, null values are left out too.
    """
    if not isinstance(record, Mapping):
        raise DecodeError(f"expected an object, got {type(record).__name__}")
    bare = {name: _bare(value, name in maps) for name, value in record.items()}
    return {name: value for name, value in bare.items() if value not in (None, "", [], {})}


def _bare(value: Any, is_map: bool) -> Any:
    if isinstance(value, str):
        return value.strip()
    if is_map and isinstance(value, Mapping):
        return {name: one for name, one in value.items() if one is not None}
    return value
