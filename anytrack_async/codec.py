"""The two written forms of the models, and the only module that imports cattrs.

* **Storage**: what an outbox keeps. `encode` and `decode` are an exact round trip; each record
  carries its version, so that a later release reads an older file.
* **Wire**: what AnyTrack answers. `read` is tolerant: numbers may come as text, times without zone
  are UTC, unknown keys are ignored, and one bad record does not lose a list.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import orjson
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_unstructure_fn, override

from anytrack_async.errors import AnyTrackError, DecodeError
from anytrack_async.models import (
    AffiliatePerformance,
    Attribution,
    Conversion,
    ConversionType,
    DailyReport,
    Touchpoint,
)

_T = TypeVar("_T")
_Record = dict[str, Any]

_VERSION = 1
_UPGRADES: Mapping[int, Callable[[_Record], _Record]] = {}
"""Version → how to turn a record of it into the next one."""

_log = logging.getLogger("anytrack_async")


def _moment(value: object, _: object) -> datetime:
    """Return an aware time from ISO text or unix seconds; without zone it is UTC."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _decimal(value: object, _: object) -> Decimal:
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError("must be a number") from None


def _whole(value: object, _: object) -> int:
    return int(_decimal(value, None))


def _make_converter() -> Converter:
    converter = Converter(omit_if_default=True)
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, _moment)
    converter.register_structure_hook(date, lambda value, _: date.fromisoformat(str(value)[:10]))
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, _decimal)
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(bool, lambda value, _: value is True)  # an int to dispatch
    converter.register_structure_hook(float, lambda value, _: float(_decimal(value, None)))
    return converter


_converter = _make_converter()
_to_record = make_dict_unstructure_fn(
    Conversion,
    _converter,
    _cattrs_omit_if_default=True,
    event_id=override(omit_if_default=False),  # a file must not depend on how ids are made today
)


# Storage


class Encoded(NamedTuple):
    """A conversion as an outbox keeps it.

    Attributes:
        payload: the record, JSON.
        digest: 16 bytes that are equal for equal content. `timestamp` and `id` do not count: a web
            request that is repeated is the same sale a second later.
    """

    payload: bytes
    digest: bytes


def encode(conversion: Conversion) -> Encoded:
    """Return *conversion* in its storage form."""
    record = _to_record(conversion)
    head = {"v": _VERSION, "timestamp": conversion.timestamp.isoformat()}
    if record.pop("id", None) is not None:
        head["id"] = conversion.id
    record.pop("timestamp", None)
    content = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    payload = orjson.dumps({**head, "content": orjson.Fragment(content)})
    return Encoded(payload, blake2b(content, digest_size=16).digest())


def decode(payload: bytes) -> Conversion:
    """Return the conversion that `encode` wrote.

    Raises:
        DecodeError: the record is damaged, or of a later release.
    """
    try:
        head = orjson.loads(payload)
        version = head.pop("v")
    except (orjson.JSONDecodeError, AttributeError, KeyError) as exc:
        raise DecodeError("stored conversion: not a record of this library") from exc
    if version > _VERSION:
        raise DecodeError(
            f"stored conversion: written in form {version} by a later release; this one reads "
            f"up to {_VERSION}: upgrade"
        )
    for past in range(version, _VERSION):
        head = _UPGRADES[past](head)
    return load(head.pop("content") | head, Conversion)


# Wire


def load(data: object, cls: type[_T]) -> _T:
    """Return *data* as a *cls*.

    Raises:
        DecodeError: it does not fit; the message names each bad field's path, not its value.
    """
    try:
        return _converter.structure(data, cls)
    except (BaseValidationError, AnyTrackError, ValueError, TypeError, KeyError) as exc:
        raise DecodeError(f"{cls.__name__}: {_faults(exc)}") from exc


def _faults(exc: Exception) -> str:
    if isinstance(exc, BaseValidationError):
        return "; ".join(transform_error(exc, format_exception=_fault))
    return _fault(exc, None)


def _fault(exc: BaseException, _: type | None) -> str:
    # Only our own messages are known to be free of customers' data.
    if isinstance(exc, AnyTrackError):
        return str(exc)
    if isinstance(exc, KeyError):
        return f"field {exc.args[0]!r} is missing"
    return f"invalid value ({type(exc).__name__})"


def read_conversion(record: Mapping[str, Any]) -> Conversion:
    """Return a conversion as AnyTrack answers it.

    A type this release does not know becomes a custom event of that name. The event id is the one
    we sent along, else ``"anytrack:<id>"``.

    Raises:
        DecodeError: the record does not fit.
    """
    known = {key: value for key, value in _mapping(record).items() if value not in (None, "")}
    kind = str(known.get("conversion_type", ""))
    if kind not in set(ConversionType):
        known |= {"conversion_type": ConversionType.CUSTOM, "event_name": kind or "unknown"}
    custom_data = known.get("custom_data")
    sent = custom_data.get("event_id") if isinstance(custom_data, Mapping) else None
    known["event_id"] = sent or known.get("event_id") or f"anytrack:{known.get('id', '')}"
    return load(known, Conversion)


def read_touchpoint(record: Mapping[str, Any]) -> Touchpoint:
    """Return a touchpoint as AnyTrack answers it, or raise `DecodeError`."""
    return load(_mapping(record), Touchpoint)


def read_attribution(record: Mapping[str, Any]) -> Attribution:
    """Return an attribution as AnyTrack answers it, or raise `DecodeError`."""
    return load(_mapping(record), Attribution)


def read_affiliate(record: Mapping[str, Any]) -> AffiliatePerformance:
    """Return an affiliate's performance as AnyTrack answers it, or raise `DecodeError`."""
    return load(_present(record), AffiliatePerformance)


def read_daily_report(record: Mapping[str, Any]) -> DailyReport:
    """Return a day's totals as AnyTrack answers them, or raise `DecodeError`."""
    return load(_present(record), DailyReport)


def read_list(records: object, read: Callable[[Any], _T]) -> list[_T]:
    """Return what *read* makes of each of *records*; a bad one is logged and left out.

    Raises:
        DecodeError: *records* is not a list.
    """
    if not isinstance(records, list):
        raise DecodeError(f"expected a list of records, got {type(records).__name__}")
    good = []
    for at, record in enumerate(records):
        try:
            good.append(read(record))
        except DecodeError as exc:
            _log.warning("left out record %d of %d: %s", at, len(records), exc)
    return good


def _mapping(record: object) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise DecodeError(f"expected an object, got {type(record).__name__}")
    return record


def _present(record: object) -> Mapping[str, Any]:
    return {key: value for key, value in _mapping(record).items() if value is not None}
