"""`Endpoint`, and the code that all endpoints share: arguments, date ranges, requests, records.

AnyTrack's records are read tolerantly: numbers and ids may be text, empty fields and NaN count as
missing, unknown fields are ignored, and a value need not be one that could be sent. A record with a
value of another type, such as a revenue of "much", is unreadable: it is left out of its list, which
keeps all others, and logged with its id and the reason.
"""

from __future__ import annotations

import logging
import re
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any, Self, TypeAlias, TypeVar

import anyio
import attrs

from anytrack_async.errors import DecodeError, InvalidArgumentError, InvalidConversionError
from anytrack_async.models.validators import encodable, utc
from anytrack_async.transport.message import only_item
from anytrack_async.transport.session import Session

DateRange: TypeAlias = tuple[date | datetime, date | datetime]
"""First and last moment, both included. A `datetime` needs a time zone; a `date` is a whole UTC
day."""

DEFAULT_LENGTH = timedelta(days=30)
"""The default date range: this long, until now."""

_DAY = timedelta(days=1)
_SHORTEST_HALF = timedelta(seconds=0.5)
_COUNT_LIMIT = 2**63
_MAX_LOGGED = 5  # unreadable records of one list that are logged individually
_is_loggable_id = re.compile(r"[\w.:-]{1,64}", re.ASCII).fullmatch  # an id, and no e-mail address
_Key = TypeVar("_Key")
_T = TypeVar("_T")
_log = logging.getLogger("anytrack_async")


class Endpoint:
    """One part of the API.

    Args:
        session: requests to AnyTrack; closed by its owner.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _get_list(
        self, *path: str, params: Mapping[str, str] | None = None, read: Callable[[Any], _T]
    ) -> list[_T]:
        mask = self._session.mask  # a long list may quote a secret
        read_list = partial(read_records, read=read, mask=mask)
        results = read_data(await self._session.get(*path, params=params, read_list=read_list))
        if results is None:  # some languages write an empty list so
            return []
        if not isinstance(results, list):
            raise DecodeError(f"anytrack: expected a list of records, got {type(results).__name__}")
        return results


# Arguments


def text_argument(name: str, value: Any) -> str:
    """Return *value*, the argument called *name*.

    Raises:
        InvalidArgumentError: *value* is not text, or is empty.
    """
    if value is not None and not isinstance(value, str):
        raise InvalidArgumentError(name, f"must be text, got {type(value).__name__}")
    if not value or not value.strip():
        raise InvalidArgumentError(name, "must not be empty")
    if not encodable(value):
        raise InvalidArgumentError(
            name, "contains an unpaired surrogate, which UTF-8 cannot encode"
        )
    return str.__str__(value)


def id_argument(name: str, value: Any) -> str:
    """Return *value*, the argument called *name*, which becomes a segment of a URL's path.

    Raises:
        InvalidArgumentError: *value* cannot be an id.
    """
    if value in (".", ".."):  # would change the URL's path; everything else is percent-encoded
        raise InvalidArgumentError(name, "must not consist of dots only")
    return text_argument(name, value)


def count_argument(name: str, value: Any) -> int:
    """Return *value*, the argument called *name*.

    Raises:
        InvalidArgumentError: *value* is not a whole number from 1 to 2^63 - 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgumentError(name, "must be a whole number of at least 1")
    if value >= _COUNT_LIMIT:
        raise InvalidArgumentError(name, "must be less than 2^63")
    return int(value)


def utc_argument(name: str, value: datetime) -> datetime:
    """Return *value*, the argument called *name*, in UTC.

    Raises:
        InvalidArgumentError: *value* has no time zone, or is outside the years 1 to 9999 in UTC.
    """
    try:
        return utc(name, value)
    except InvalidConversionError as exc:  # `utc` is also used for the fields of models
        raise InvalidArgumentError(name, exc.problem) from None


@attrs.frozen
class TimeRange:
    """A date range in UTC, in the form that requests need.

    Attributes:
        start: first moment.
        end: last moment, included.
    """

    start: datetime
    end: datetime

    @classmethod
    def from_argument(cls, date_range: DateRange | None) -> Self:
        """Return *date_range* in UTC; by default the last 30 days.

        Raises:
            InvalidArgumentError: a time has no time zone, or the end is before the start.
        """
        if date_range is None:
            now = datetime.now(UTC)
            return cls(now - DEFAULT_LENGTH, now)
        first, last = _pair(date_range)
        start, end = _moment(first, time.min), _moment(last, time.max)
        if end < start:
            raise InvalidArgumentError("date_range", "ends before it starts")
        return cls(start, end)

    @property
    def params(self) -> dict[str, str]:
        """The query parameters that ask for this range."""
        return {"date_from": self.start.isoformat(), "date_to": self.end.isoformat()}

    def split(self, length: timedelta) -> Iterator[TimeRange]:
        """Return ranges of *length*, in order; each starts at the end of the previous range.

        Noon to 17:00 in steps of two hours: 12 to 14, 14 to 16, 16 to 17. Neighbours share a moment
        so that nothing falls between them, whether AnyTrack includes the end of a range or not.
        """
        start = self.start
        while self.end - start > length:
            yield TimeRange(start, start + length)
            start += length
        yield TimeRange(start, self.end)

    def halves(self) -> tuple[TimeRange, TimeRange] | None:
        """Return both halves, which share a moment; None if this range is a second or less."""
        half = (self.end - self.start) / 2
        if half < _SHORTEST_HALF:
            return None
        middle = self.start + half
        return TimeRange(self.start, middle), TimeRange(middle, self.end)

    def days(self) -> Iterator[date]:
        """Return each UTC day that has a moment in this range, in order."""
        last_day = self.end.date()
        day = self.start.date()
        while day < last_day:  # never computes a day after the last, as 9999-12-31 has none
            yield day
            day += _DAY
        yield last_day


def _pair(date_range: Any) -> tuple[Any, Any]:
    if not isinstance(date_range, tuple | list) or len(date_range) != 2:
        raise InvalidArgumentError("date_range", "must be a pair of dates: first and last")
    return date_range[0], date_range[1]


def _moment(value: object, time_of_day: time) -> datetime:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time_of_day, UTC)
    if not isinstance(value, datetime):
        kind = type(value).__name__
        raise InvalidArgumentError("date_range", f"must contain dates or datetimes, got {kind}")
    return utc_argument("date_range", value)


# Requests


async def fetch_in_order(
    fetch: Callable[[_Key], Awaitable[_T]], keys: Iterable[_Key], concurrency: int
) -> AsyncGenerator[_T, None]:
    """Yield ``await fetch(key)`` for each of *keys*, in order, up to *concurrency* at once.

    Fetches round by round, and nothing runs while the consumer works: it may stop or be cancelled
    at any point without leaving a task behind. Ten keys and a concurrency of 4 are three rounds of
    4, 4 and 2.
    """
    pending = iter(keys)
    while round_keys := list(islice(pending, concurrency)):
        for result in await _fetch_round(fetch, round_keys):
            yield result


async def _fetch_round(
    fetch: Callable[[_Key], Awaitable[_T]], keys: Sequence[_Key]
) -> Sequence[_T]:
    results: dict[int, _T] = {}
    failures: list[Exception] = []

    async def fetch_one(index: int, key: _Key) -> None:
        try:
            results[index] = await fetch(key)
        except Exception as exc:
            failures.append(exc)  # raised below, outside of the task group
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for index, key in enumerate(keys):
            tasks.start_soon(fetch_one, index, key)
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(keys))]


# Records


def read_data(body: object) -> Any:
    """Return the value of ``"data"`` in *body*.

    Raises:
        DecodeError: *body* has no ``"data"``.
    """
    if not isinstance(body, Mapping) or "data" not in body:
        raise DecodeError("anytrack: the response has no 'data'")
    return body["data"]


def read_object(body: object) -> Mapping[str, Any]:
    """Return the object in ``"data"`` of *body*, or *body* itself where it is not wrapped.

    A list of one object, in either place, is read as that object.

    Raises:
        DecodeError: *body* is not an object.
    """
    body = only_item(body)
    if not isinstance(body, Mapping):
        raise DecodeError("anytrack: the response is not an object")
    data = only_item(body.get("data"))
    return data if isinstance(data, Mapping) else body


def read_records(
    records: Iterable[Any], read: Callable[[Any], _T], mask: Callable[[str], str] = str
) -> list[_T]:
    """Return the results of *read* for *records*; an unreadable one is logged and left out.

    Args:
        records: those of a response, perhaps parsed one by one; each is forgotten once it is read.
        read: makes the result of one.
        mask: hides secrets in log messages.
    """
    results: list[_T] = []
    problems: list[tuple[int, str]] = []
    number = 0
    for number, record in enumerate(records, 1):
        try:
            results.append(read(record))
        except DecodeError as exc:
            if len(problems) < _MAX_LOGGED:
                problems.append((number, f"{_loggable_id(record)}: {exc}"))
    for place, problem in problems:
        text = mask(f"{place} of {number}{problem}")
        _log.warning("anytrack: left out unreadable record %s", text)
    unreadable = number - len(results)
    if unreadable > _MAX_LOGGED:
        _log.warning("anytrack: left out %d unreadable of %d records", unreadable, number)
    return results


def _loggable_id(record: object) -> str:
    # " (id c7)", or nothing where the record has no id: an unreadable record may have anything.
    fields = record if isinstance(record, Mapping) else {}
    id_ = fields.get("id", fields.get("affiliate_id"))
    is_id = isinstance(id_, str | int) and _is_loggable_id(str(id_))
    return f" (id {id_})" if is_id else ""


def read_fields(record: object, *mappings: str) -> dict[str, Any]:
    """Return the fields of *record* that are not empty, text without surrounding whitespace.

    NaN and infinities count as empty: JavaScript, for example, writes an average of nothing, 0/0,
    as null.

    Args:
        record: a JSON object.
        mappings: names of fields that are objects; empty numbers in them are left out too.

    Raises:
        DecodeError: *record* is not an object.
    """
    if not isinstance(record, Mapping):
        raise DecodeError(f"expected an object, got {type(record).__name__}")
    # `{"id": 7, "source": " google ", "ad_id": ""}` → `{"id": 7, "source": "google"}`
    fields = {name: _stripped(value, name in mappings) for name, value in record.items()}
    return {name: value for name, value in fields.items() if not _is_empty(value)}


def _stripped(value: Any, is_mapping: bool) -> Any:
    if isinstance(value, str):
        return value.strip()
    if is_mapping and isinstance(value, Mapping):
        items = {key: item for key, item in value.items() if item is not None and not _is_nan(item)}
        return {
            key: str(item).lower() if isinstance(item, bool) else item
            for key, item in items.items()
        }
    return value


def _is_empty(value: Any) -> bool:
    return _is_nan(value) if isinstance(value, float) else value in (None, "", [], {})


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not isfinite(value)
