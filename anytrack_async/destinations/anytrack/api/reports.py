"""`Reports`: the totals of days."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, date, datetime

from anytrack_async.destinations.anytrack.api.base import Endpoint, at_least_one, utc_argument
from anytrack_async.destinations.anytrack.api.date_range import DateRange, Window
from anytrack_async.destinations.anytrack.api.rounds import in_order
from anytrack_async.destinations.anytrack.records import read_daily_report
from anytrack_async.errors import DecodeError, InvalidArgumentError
from anytrack_async.models.answers import DailyReport


class Reports(Endpoint):
    """`/reports`: the totals of days."""

    async def daily(self, day: date | None = None) -> DailyReport:
        """Return the totals of one UTC day.

        Args:
            day: which one; today in UTC if not given. A `datetime` needs a time zone.

        Raises:
            InvalidArgumentError: *day* is no date.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /reports/daily``.
        """
        params = {"date": _day(day).isoformat()}
        body = await self._session.get("reports", "daily", params=params)
        if not isinstance(body, Mapping):
            raise DecodeError("anytrack: the response is not an object")
        inner = body.get("data")
        return read_daily_report({**(inner if isinstance(inner, Mapping) else body), **params})

    def days(
        self, date_range: DateRange | None = None, concurrency: int = 4
    ) -> AsyncGenerator[DailyReport, None]:
        """Return the totals of each UTC day that a range touches, in order.

        Args:
            date_range: first and last moment, both included; the last 30 days if not given.
            concurrency: requests at once.

        Raises:
            InvalidArgumentError: an argument is wrong; the message names it. At once.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: a response cannot be read.

        Source: AnyTrack REST, ``GET /reports/daily``.
        """
        width = at_least_one("concurrency", concurrency)
        return in_order(self.daily, Window.of(date_range).days(), width)


def _day(day: date | None) -> date:
    if day is None:
        return datetime.now(UTC).date()
    if isinstance(day, datetime):
        return utc_argument("day", day).date()
    if not isinstance(day, date):
        raise InvalidArgumentError("day", f"must be a date, got {type(day).__name__}")
    return day
