"""`Affiliates`: who brings the conversions."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from anytrack_async.destinations.anytrack.api.base import Endpoint, at_least_one, given, unwrap
from anytrack_async.destinations.anytrack.api.date_range import DateRange, Window
from anytrack_async.destinations.anytrack.records import read_affiliate
from anytrack_async.errors import DecodeError, InvalidArgumentError
from anytrack_async.models.answers import AffiliatePerformance

AffiliateMetric: TypeAlias = Literal["revenue", "conversions", "epc", "conversion_rate"]
"""What affiliates can be ranked by; ``epc`` is revenue per click."""


class Affiliates(Endpoint):
    """`/affiliates`: who brings the conversions."""

    async def performance(
        self, affiliate_id: str, date_range: DateRange | None = None
    ) -> AffiliatePerformance:
        """Return what one affiliate brought.

        Args:
            affiliate_id: which one.
            date_range: first and last moment, both included; the last 30 days if not given.

        Raises:
            InvalidArgumentError: an argument is wrong; the message names it.
            NotFoundError: AnyTrack has no such affiliate.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /affiliates/performance``.
        """
        who = {"affiliate_id": given("affiliate_id", affiliate_id)}
        params = who | Window.of(date_range).params
        record = unwrap(await self._session.get("affiliates", "performance", params=params))
        if not isinstance(record, dict):
            raise DecodeError("anytrack: the response's 'data' is not an object")
        return read_affiliate(record | who)

    async def top(
        self,
        metric: AffiliateMetric = "revenue",
        limit: int = 10,
        date_range: DateRange | None = None,
    ) -> list[AffiliatePerformance]:
        """Return the *limit* best affiliates, best first.

        A record that cannot be read is logged and left out.

        Args:
            metric: what to rank by.
            limit: how many at most.
            date_range: first and last moment, both included; the last 30 days if not given.

        Raises:
            InvalidArgumentError: an argument is wrong; the message names it.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /affiliates/top``.
        """
        if metric not in get_args(AffiliateMetric):
            known = ", ".join(get_args(AffiliateMetric))
            raise InvalidArgumentError("metric", f"must be one of {known}")
        params = {"sort_by": metric, "limit": str(at_least_one("limit", limit))}
        params |= Window.of(date_range).params
        found = await self._list("affiliates", "top", params=params, read=read_affiliate)
        return sorted(found, key=lambda one: float(getattr(one, metric)), reverse=True)[:limit]
