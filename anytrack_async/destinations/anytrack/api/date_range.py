"""`Window`: a stretch of time to ask about."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self, TypeAlias

import attrs

from anytrack_async.destinations.anytrack.api.base import utc_argument
from anytrack_async.errors import InvalidArgumentError

DateRange: TypeAlias = tuple[date | datetime, date | datetime]
"""First and last moment, both included. A `datetime` needs a time zone; a `date` is a UTC day,
whole."""

DEFAULT = timedelta(days=30)
"""How far back to look when no range is given."""

_DAY = timedelta(days=1)


@attrs.frozen
class Window:
    """A stretch of time.

    Attributes:
        start: its first moment, UTC.
        end: its last moment, UTC.
    """

    start: datetime
    end: datetime

    @classmethod
    def of(cls, date_range: DateRange | None) -> Self:
        """Return *date_range* in UTC; the last 30 days if not given.

        Raises:
            InvalidArgumentError: a time has no time zone, or the end lies before the start.
        """
        if date_range is None:
            now = datetime.now(UTC)
            return cls(now - DEFAULT, now)
        first, last = _pair(date_range)
        found = cls(_moment(first, time.min), _moment(last, time.max))
        if found.end < found.start:
            raise InvalidArgumentError("date_range", "ends before it starts")
        return found

    @property
    def params(self) -> dict[str, str]:
        """The query for it."""
        return {"date_from": self.start.isoformat(), "date_to": self.end.isoformat()}

    def split(self, size: timedelta) -> Iterator[Window]:
        """Return windows of *size*, in order; each starts with the moment that ends the last.

        So nothing falls between them, whether the service counts the end in or not.
        """
        start = self.start
        while self.end - start > size:
            yield Window(start, start + size)
            start += size
        yield Window(start, self.end)

    def days(self) -> Iterator[date]:
        """Return each UTC day that it touches, in order."""
        last = self.end.date()
        day = self.start.date()
        while day < last:
            yield day
            day += _DAY
        yield last


def _pair(date_range: Any) -> tuple[Any, Any]:
    if not isinstance(date_range, tuple | list) or len(date_range) != 2:
        raise InvalidArgumentError("date_range", "must be a pair of dates: first and last")
    return date_range[0], date_range[1]


def _moment(value: object, of_day: time) -> datetime:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, of_day, UTC)
    if not isinstance(value, datetime):
        kind = type(value).__name__
        raise InvalidArgumentError("date_range", f"must hold dates or datetimes, got {kind}")
    return utc_argument("date_range", value)
