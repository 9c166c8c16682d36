"""`Attributions`, `Affiliates`, `Reports`: the endpoints of AnyTrack's evaluations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Literal, TypeAlias, get_args

from anytrack_async.codec.converter import load
from anytrack_async.destinations.anytrack.api.base import (
    DateRange,
    Endpoint,
    TimeRange,
    count_argument,
    fetch_in_order,
    id_argument,
    read_data,
    read_fields,
    read_object,
    text_argument,
    utc_argument,
)
from anytrack_async.errors import DecodeError, InvalidArgumentError
from anytrack_async.models.answers import AffiliatePerformance, Attribution, DailyReport, Touchpoint
from anytrack_async.transport.message import only_item

AffiliateMetric: TypeAlias = Literal["revenue", "conversions", "epc", "conversion_rate"]
"""A measure that affiliates can be ranked by; ``epc`` is revenue per click."""


class Attributions(Endpoint):
    """`/conversions/{id}/…`: the touchpoints before a conversion, and their shares of it."""

    async def calculate(self, conversion_id: str) -> Attribution:
        """Return the attribution model of a conversion and the weight of each touchpoint.

        Raises:
            InvalidArgumentError: *conversion_id* cannot be an id.
            NotFoundError: AnyTrack has no such conversion.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /conversions/{id}/attribution``.
        """
        conversion_id = id_argument("conversion_id", conversion_id)
        body = await self._session.get("conversions", conversion_id, "attribution")
        return read_attribution(read_object(body))

    async def touchpoints(self, conversion_id: str) -> list[Touchpoint]:
        """Return the touchpoints before a conversion, earliest first.

        An unreadable record is left out, and logged with its id and the reason.

        Raises:
            InvalidArgumentError: *conversion_id* cannot be an id.
            NotFoundError: AnyTrack has no such conversion.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /conversions/{id}/touchpoints``.
        """
        conversion_id = id_argument("conversion_id", conversion_id)
        path = ("conversions", conversion_id, "touchpoints")
        touchpoints = await self._get_list(*path, read=read_touchpoint)
        return sorted(touchpoints, key=lambda touchpoint: touchpoint.timestamp)


def read_attribution(record: Mapping[str, Any]) -> Attribution:
    """Return the attribution in a record of AnyTrack, or raise `DecodeError`."""
    fields = read_fields(record, "weights")
    unknown = {"model": "unknown"} if "weights" in fields else {}
    return load(unknown | fields, Attribution)


def read_touchpoint(record: Mapping[str, Any]) -> Touchpoint:
    """Return the touchpoint in a record of AnyTrack, or raise `DecodeError`."""
    return load({"type": "unknown"} | read_fields(record), Touchpoint)


class Affiliates(Endpoint):
    """`/affiliates`: the conversions and revenue that affiliates bring."""

    async def performance(
        self, affiliate_id: str, date_range: DateRange | None = None
    ) -> AffiliatePerformance:
        """Return the clicks, conversions and revenue of one affiliate.

        Args:
            affiliate_id: the affiliate.
            date_range: first and last moment, both included; default: the last 30 days.

        Raises:
            InvalidArgumentError: an argument is not valid; the message names it.
            NotFoundError: AnyTrack has no such affiliate.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /affiliates/performance``.
        """
        # Added to the record as well, because AnyTrack's record has no id.
        affiliate = {"affiliate_id": text_argument("affiliate_id", affiliate_id)}
        params = affiliate | TimeRange.from_argument(date_range).params
        body = await self._session.get("affiliates", "performance", params=params)
        record = only_item(read_data(body))
        if not isinstance(record, dict):
            raise DecodeError("anytrack: 'data' in the response is not an object")
        return read_affiliate(record | affiliate)

    async def top(
        self,
        metric: AffiliateMetric = "revenue",
        limit: int = 10,
        date_range: DateRange | None = None,
    ) -> list[AffiliatePerformance]:
        """Return the *limit* best affiliates, best first.

        An unreadable record is left out, and logged with its id and the reason.

        Args:
            metric: the measure to rank by.
            limit: maximum number of affiliates to return.
            date_range: first and last moment, both included; default: the last 30 days.

        Raises:
            InvalidArgumentError: an argument is not valid; the message names it.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /affiliates/top``.
        """
        if metric not in get_args(AffiliateMetric):
            metrics = ", ".join(get_args(AffiliateMetric))
            raise InvalidArgumentError("metric", f"must be one of {metrics}")
        params = {"sort_by": metric, "limit": str(count_argument("limit", limit))}
        params |= TimeRange.from_argument(date_range).params
        affiliates = await self._get_list("affiliates", "top", params=params, read=read_affiliate)
        # Sorted and cut here too, in case the service ignores the metric or the limit.
        affiliates.sort(key=lambda affiliate: float(getattr(affiliate, metric)), reverse=True)
        return affiliates[:limit]


def read_affiliate(record: Mapping[str, Any]) -> AffiliatePerformance:
    """Return an affiliate's performance in a record of AnyTrack, or raise `DecodeError`."""
    return load(read_fields(record), AffiliatePerformance)


class Reports(Endpoint):
    """`/reports`: totals by day."""

    async def daily(self, day: date | None = None) -> DailyReport:
        """Return the totals of one UTC day.

        Args:
            day: default: today in UTC. A `datetime` needs a time zone.

        Raises:
            InvalidArgumentError: *day* is not a date.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /reports/daily``.
        """
        params = {"date": _utc_day(day).isoformat()}
        body = await self._session.get("reports", "daily", params=params)
        return read_daily_report({**read_object(body), **params})

    def days(
        self, date_range: DateRange | None = None, concurrency: int = 4
    ) -> AsyncGenerator[DailyReport, None]:
        """Yield the totals of each UTC day that overlaps a range, in order.

        Args:
            date_range: first and last moment, both included; default: the last 30 days.
            concurrency: number of requests at once.

        Raises:
            InvalidArgumentError: an argument is not valid; the message names it. Raised at once.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: a response cannot be read.

        Source: AnyTrack REST, ``GET /reports/daily``.
        """
        concurrency = count_argument("concurrency", concurrency)
        return fetch_in_order(self.daily, TimeRange.from_argument(date_range).days(), concurrency)


def read_daily_report(record: Mapping[str, Any]) -> DailyReport:
    """Return a day's totals in a record of AnyTrack, or raise `DecodeError`."""
    return load(read_fields(record, "by_source", "by_campaign"), DailyReport)


def _utc_day(day: date | None) -> date:
    if day is None:
        return datetime.now(UTC).date()
    if isinstance(day, datetime):
        return utc_argument("day", day).date()
    if not isinstance(day, date):
        raise InvalidArgumentError("day", f"must be a date, got {type(day).__name__}")
    return day
