"""`Reads`: what AnyTrack knows, under the names that a synchronous client has."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from datetime import date
from functools import cached_property

from anytrack_async.destinations.anytrack.api.base import DateRange
from anytrack_async.destinations.anytrack.api.conversions import Conversions
from anytrack_async.destinations.anytrack.api.reports import (
    AffiliateMetric,
    Affiliates,
    Attributions,
    Reports,
)
from anytrack_async.models.answers import AffiliatePerformance, Attribution, DailyReport, Touchpoint
from anytrack_async.models.conversion import Conversion
from anytrack_async.transport.session import Session


class Reads:
    """The part of the client that asks AnyTrack; each method names the endpoint's that does it.

    All raise `InvalidArgumentError` for an argument that is not valid, the `ServiceError` that fits
    after the last retry, `DecodeError` for an answer that cannot be read, and `ClosedError` once
    the client is closed.
    """

    _session: Session

    @cached_property
    def conversions(self) -> Conversions:
        """Conversions that AnyTrack knows."""
        return Conversions(self._session)

    @cached_property
    def attribution(self) -> Attributions:
        """How they came about."""
        return Attributions(self._session)

    @cached_property
    def affiliates(self) -> Affiliates:
        """Who brings them."""
        return Affiliates(self._session)

    @cached_property
    def reports(self) -> Reports:
        """Totals by day."""
        return Reports(self._session)

    async def get_conversions(
        self,
        date_range: DateRange | None = None,
        *,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> list[Conversion]:
        """Return the conversions of a range, default the last 30 days: `Conversions.list`."""
        return await self.conversions.list(
            date_range=date_range, source=source, campaign_id=campaign_id
        )

    def stream_conversions(
        self,
        date_range: DateRange | None = None,
        *,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> AsyncGenerator[Conversion, None]:
        """Return the conversions of a long range one by one, in order: `Conversions.stream`."""
        return self.conversions.stream(
            date_range=date_range, source=source, campaign_id=campaign_id
        )

    async def get_conversions_by_source(
        self, source: str, date_range: DateRange | None = None
    ) -> list[Conversion]:
        """Return the conversions from *source*: `Conversions.by_source`."""
        return await self.conversions.by_source(source, date_range=date_range)

    async def get_conversion_details(self, conversion_id: str) -> Conversion:
        """Return one conversion, or raise `NotFoundError`: `Conversions.get`."""
        return await self.conversions.get(conversion_id)

    async def calculate_attribution(self, conversion_id: str) -> Attribution:
        """Return model and weights of a conversion: `Attributions.calculate`."""
        return await self.attribution.calculate(conversion_id)

    async def get_touchpoints(self, conversion_id: str) -> list[Touchpoint]:
        """Return the journey to a conversion in time order: `Attributions.touchpoints`."""
        return await self.attribution.touchpoints(conversion_id)

    async def get_affiliate_performance(
        self, affiliate_id: str, date_range: DateRange | None = None
    ) -> AffiliatePerformance:
        """Return what one affiliate brought: `Affiliates.performance`."""
        return await self.affiliates.performance(affiliate_id, date_range=date_range)

    async def get_top_affiliates(
        self,
        metric: AffiliateMetric = "revenue",
        limit: int = 10,
        date_range: DateRange | None = None,
    ) -> list[AffiliatePerformance]:
        """Return the best affiliates, best first: `Affiliates.top`."""
        return await self.affiliates.top(metric=metric, limit=limit, date_range=date_range)

    async def get_daily_report(self, day: date | None = None) -> DailyReport:
        """Return the totals of one UTC day, default today: `Reports.daily`."""
        return await self.reports.daily(day)

    async def export_conversions_csv(
        self,
        path: str | os.PathLike[str],
        date_range: DateRange | None = None,
        *,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> int:
        """Write the conversions of a range to a CSV file, in flat memory; return how many.

        The file appears whole or not at all. Cells that a spreadsheet would run as a formula get a
        leading apostrophe.

        Raises:
            OSError: the file cannot be written.
        """
        found = self.stream_conversions(date_range, source=source, campaign_id=campaign_id)
        return await _export(found, path, "csv")

    async def export_conversions(
        self,
        path: str | os.PathLike[str],
        date_range: DateRange | None = None,
        *,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> int:
        """Write the conversions of a range to a file; its name's ending tells the format.

        ``.csv`` is as `export_conversions_csv` writes it, ``.jsonl`` has one JSON object a line.

        Raises:
            ConfigurationError: the file's name ends otherwise.
            OSError: the file cannot be written.
        """
        found = self.stream_conversions(date_range, source=source, campaign_id=campaign_id)
        return await _export(found, path)


async def _export(
    found: AsyncGenerator[Conversion, None],
    path: str | os.PathLike[str],
    format_: str | None = None,
) -> int:
    from anytrack_async.client.export import export

    return await export(found, path, format_)
