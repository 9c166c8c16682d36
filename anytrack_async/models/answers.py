"""Results of AnyTrack's read API: touchpoints, attribution, affiliates, daily reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import attrs

from anytrack_async.models.validators import utc

__all__ = ["AffiliatePerformance", "Attribution", "DailyReport", "Touchpoint"]


def _timestamp(value: datetime) -> datetime:
    return utc("timestamp", value)


@attrs.frozen(kw_only=True)
class Touchpoint:
    """One contact of a visitor with an ad or page before a conversion.

    Attributes:
        type: ``"click"`` or ``"view"``.
        source: where it happened.
        timestamp: when it happened; aware, UTC.
        campaign_id: the campaign's id at the source, if known.
    """

    type: str
    source: str | None = None
    timestamp: datetime = attrs.field(converter=_timestamp)
    campaign_id: str | None = None


@attrs.frozen(kw_only=True)
class Attribution:
    """How a conversion's value is divided among its touchpoints.

    Attributes:
        model: ``"last_click"``, ``"first_click"``, ``"linear"``, ``"time_decay"`` or a newer one.
        weights: touchpoint key → share, 0 to 1.
    """

    model: str
    weights: Mapping[str, float] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class AffiliatePerformance:
    """Clicks, conversions and revenue of one affiliate in a date range.

    Attributes:
        affiliate_id: the affiliate.
        clicks: number of clicks.
        conversions: number of conversions.
        revenue: major units of the account's currency.
        epc: earnings per click, major units.
        conversion_rate: conversions per click, 0 to 1.
    """

    affiliate_id: str
    clicks: int = 0
    conversions: int = 0
    revenue: Decimal = Decimal(0)
    epc: Decimal = Decimal(0)
    conversion_rate: float = 0.0


@attrs.frozen(kw_only=True)
class DailyReport:
    """The totals of one day.

    Attributes:
        date: the day, UTC.
        total_revenue: major units of the account's currency.
        total_conversions: number of conversions.
        avg_order_value: revenue per conversion, major units.
        by_source: source → revenue.
        by_campaign: campaign id → revenue.
    """

    date: date
    total_revenue: Decimal = Decimal(0)
    total_conversions: int = 0
    avg_order_value: Decimal = Decimal(0)
    by_source: Mapping[str, Decimal] = attrs.field(factory=dict, hash=False)
    by_campaign: Mapping[str, Decimal] = attrs.field(factory=dict, hash=False)
