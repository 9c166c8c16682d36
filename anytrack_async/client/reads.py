"""`Reads`: conversions, attribution, affiliates and reports, read back from AnyTrack.

A client that only tracks never imports the modules that reads need. Each of them is a `_LazyModule`
here, imported by the first read, or when a method's annotations are evaluated.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from datetime import date
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from anytrack_async.models.conversion import Conversion
from anytrack_async.transport.session import Session


class _LazyModule(ModuleType):
    """A proxy that imports the module of its name when one of its attributes is first used."""

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self.__name__), attribute)


if TYPE_CHECKING:
    from anytrack_async.client import export, export_formats
    from anytrack_async.destinations.anytrack.api import base as base_api
    from anytrack_async.destinations.anytrack.api import conversions as conversions_api
    from anytrack_async.destinations.anytrack.api import reports as reports_api
    from anytrack_async.models import answers
else:
    export = _LazyModule("anytrack_async.client.export")
    export_formats = _LazyModule("anytrack_async.client.export_formats")
    base_api = _LazyModule("anytrack_async.destinations.anytrack.api.base")
    conversions_api = _LazyModule("anytrack_async.destinations.anytrack.api.conversions")
    reports_api = _LazyModule("anytrack_async.destinations.anytrack.api.reports")
    answers = _LazyModule("anytrack_async.models.answers")


class Reads:
    """The part of the client that reads; each docstring names the endpoint method that is called.

    All raise `InvalidArgumentError` for a wrong argument, a `ServiceError` after the last retry,
    `DecodeError` for a response that cannot be read, and `ClosedError` once the client is closed.
    """

    _session: Session

    @cached_property
    def conversions(self) -> conversions_api.Conversions:
        """The conversions that AnyTrack has recorded."""
        return conversions_api.Conversions(self._session)

    @cached_property
    def attribution(self) -> reports_api.Attributions:
        """Attribution weights and touchpoints of a conversion."""
        return reports_api.Attributions(self._session)

    @cached_property
    def affiliates(self) -> reports_api.Affiliates:
        """How affiliates perform."""
        return reports_api.Affiliates(self._session)

    @cached_property
    def reports(self) -> reports_api.Reports:
        """Totals by day."""
        return reports_api.Reports(self._session)

    async def get_conversions(
        self,
        date_range: base_api.DateRange | None = None,
        *,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> list[Conversion]:
        """Return the conversions in a range, by default the last 30 days: `Conversions.list`.

        They are `RecordedConversion` objects: with the values that AnyTrack has, valid or not.
        """
        return await self.conversions.list(
            date_range=date_range, source=source, campaign_id=campaign_id
        )

    def stream_conversions(
        self,
        date_range: base_api.DateRange | None = None,
        *,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> AsyncGenerator[Conversion, None]:
        """Yield the conversions in a long range one at a time, in order: `Conversions.stream`."""
        return self.conversions.stream(
            date_range=date_range, source=source, campaign_id=campaign_id
        )

    async def get_conversions_by_source(
        self, source: str, date_range: base_api.DateRange | None = None
    ) -> list[Conversion]:
        """Return the conversions from *source*: `Conversions.by_source`."""
        return await self.conversions.by_source(source, date_range=date_range)

    async def get_conversion_details(self, conversion_id: str) -> Conversion:
        """Return one conversion, or raise `NotFoundError`: `Conversions.get`."""
        return await self.conversions.get(conversion_id)

    async def calculate_attribution(self, conversion_id: str) -> answers.Attribution:
        """Return the attribution model and weights of a conversion: `Attributions.calculate`."""
        return await self.attribution.calculate(conversion_id)

    async def get_touchpoints(self, conversion_id: str) -> list[answers.Touchpoint]:
        """Return a conversion's touchpoints, earliest first: `Attributions.touchpoints`."""
        return await self.attribution.touchpoints(conversion_id)

    async def get_affiliate_performance(
        self, affiliate_id: str, date_range: base_api.DateRange | None = None
    ) -> answers.AffiliatePerformance:
        """Return the totals of one affiliate: `Affiliates.performance`."""
        return await self.affiliates.performance(affiliate_id, date_range=date_range)

    async def get_top_affiliates(
        self,
        metric: reports_api.AffiliateMetric = "revenue",
        limit: int = 10,
        date_range: base_api.DateRange | None = None,
    ) -> list[answers.AffiliatePerformance]:
        """Return the best affiliates, best first: `Affiliates.top`."""
        return await self.affiliates.top(metric=metric, limit=limit, date_range=date_range)

    async def get_daily_report(self, day: date | None = None) -> answers.DailyReport:
        """Return the totals of one UTC day, by default today: `Reports.daily`."""
        return await self.reports.daily(day)

    async def export_conversions_csv(
        self,
        path: str | os.PathLike[str],
        date_range: base_api.DateRange | None = None,
        *,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> int:
        """Write the conversions in a range to a CSV file, in flat memory; return the row count.

        The file appears complete or not at all. Cells that a spreadsheet would run as a formula get
        a leading apostrophe.

        Raises:
            OSError: the file cannot be written.
        """
        conversions = self.stream_conversions(date_range, source=source, campaign_id=campaign_id)
        return await export.export(conversions, path, "csv", export_formats.CSV_COLUMNS)

    async def export_conversions(
        self,
        path: str | os.PathLike[str],
        date_range: base_api.DateRange | None = None,
        *,
        source: str | None = None,
        campaign_id: str | None = None,
        format: str | None = None,  # noqa: A002 - the name that everyone expects
        columns: Sequence[str] | None = None,
    ) -> int:
        """Write the conversions in a range to a file, in flat memory and in order of time.

        The file appears complete or not at all, and `backfill` reads it back by the preset
        ``anytrack``. In CSV, cells that a spreadsheet would run as a formula get a leading
        apostrophe.

        Args:
            path: path of the file.
            date_range: first and last moment, both included; default: the last 30 days.
            source: only conversions from this source.
            campaign_id: only conversions of this campaign.
            format: ``"csv"`` (the columns of `export_conversions_csv`, then the order's id and the
                event's), ``"jsonl"`` (an object a line), ``"parquet"`` (extra ``[parquet]``; all
                text except the time), or the import file of a service: ``"google-ads"`` and
                ``"microsoft-ads"`` (only conversions with a ``gclid`` or ``msclkid`` in their
                custom data or sub ids) and ``"meta-events"`` (only those with an IP address,
                ``fbc``, ``fbp`` or ``fbclid``). Default: the suffix of *path*.
            columns: fields of a `Conversion`, in order; not with the formats of services.

        Returns:
            The number of conversions written.

        Raises:
            ConfigurationError: the format or a column is unknown, or pyarrow is not installed.
            OSError: the file cannot be written.
        """
        conversions = self.stream_conversions(date_range, source=source, campaign_id=campaign_id)
        return await export.export(conversions, path, format, columns)
