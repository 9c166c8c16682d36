"""Reads: lists, affiliates and days, computed from the stored conversions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from anytrack_async.sandbox.anytrack.store import Stored, money
from anytrack_async.sandbox.anytrack.validation import parse_time

METRICS = ("revenue", "conversions", "epc", "conversion_rate")

_CENT = Decimal("0.01")


class InvalidParameterError(ValueError):
    """A query parameter with a value that AnyTrack rejects.

    Attributes:
        field: its name.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@attrs.frozen(kw_only=True)
class Query:
    """A filter of conversions; both ends of the time range are included."""

    first: datetime
    last: datetime
    source: str | None = None
    campaign_id: str | None = None

    @classmethod
    def parse(cls, params: dict[str, str], *, now: datetime) -> Query:
        """Return the filter in *params*, by default of the last 30 days."""
        last = _parse_time(params, "date_to", end=True) or now
        return cls(
            first=_parse_time(params, "date_from") or last - timedelta(days=30),
            last=last,
            source=params.get("source"),
            campaign_id=params.get("campaign_id"),
        )

    def matches(self, stored: Stored) -> bool:
        """Return whether *stored* passes the filter."""
        return (
            self.first <= stored.time <= self.last
            and self.source in (None, stored.source)
            and self.campaign_id in (None, stored.campaign_id)
        )


def _parse_time(params: dict[str, str], name: str, *, end: bool = False) -> datetime | None:
    text = params.get(name)
    if not text:
        return None
    try:
        moment = parse_time(text)
    except ValueError:
        raise InvalidParameterError(name, "must be an ISO 8601 date or time") from None
    # A date without a time means the whole day.
    is_date = len(text) <= len("2026-01-01")
    return moment + timedelta(days=1, microseconds=-1) if end and is_date else moment


def parse_day(params: dict[str, str]) -> Query:
    """Return the filter for the `date` in *params*, a day in UTC."""
    try:
        day = date.fromisoformat(params.get("date", ""))
    except ValueError:
        raise InvalidParameterError("date", "must be YYYY-MM-DD") from None
    first = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Query(first=first, last=first + timedelta(days=1, microseconds=-1))


def daily_report(conversions: Iterable[Stored]) -> dict[str, Any]:
    """Return the figures of one day, without empty groups."""
    stored = list(conversions)
    total = _total(stored)
    average = total / len(stored) if stored else Decimal(0)
    groups = {
        "by_source": _revenue_by(stored, lambda conversion: conversion.source),
        "by_campaign": _revenue_by(stored, lambda conversion: conversion.campaign_id),
    }
    return {
        "total_revenue": money(total),
        "total_conversions": len(stored),
        "avg_order_value": money(average.quantize(_CENT)),
    } | {name: group for name, group in groups.items() if group}


def performance(affiliate_id: str, conversions: Iterable[Stored], *, seed: int) -> dict[str, Any]:
    """Return one affiliate's figures; the clicks are made up, and never fewer than conversions."""
    own = [stored for stored in conversions if stored.affiliate_id == affiliate_id]
    chance = random.Random(f"{seed}:{affiliate_id}")
    # 8 to 40 clicks for each conversion: a conversion rate of 2.5 % to 12.5 %.
    clicks = len(own) * chance.randint(8, 40) + chance.randint(0, 7)
    revenue = _total(own)
    return {
        "clicks": clicks,
        "conversions": len(own),
        "revenue": money(revenue),
        "epc": str((revenue / clicks).quantize(Decimal("0.0001"))) if clicks else "0",
        "conversion_rate": round(len(own) / clicks, 6) if clicks else 0.0,
    }


def top_affiliates(
    params: dict[str, str], conversions: Iterable[Stored], *, seed: int
) -> list[dict[str, Any]]:
    """Return the best affiliates by the metric in *params*, best first."""
    metric = params.get("sort_by", "revenue")
    if metric not in METRICS:
        raise InvalidParameterError("sort_by", "must be one of " + ", ".join(METRICS))
    limit = params.get("limit", "10")
    if not limit.isdecimal() or int(limit) < 1:
        raise InvalidParameterError("limit", "must be a whole number, 1 or more")
    by_affiliate: dict[str, list[Stored]] = defaultdict(list)
    for stored in conversions:
        by_affiliate[stored.affiliate_id].append(stored)
    rows = [
        {"affiliate_id": name, **performance(name, own, seed=seed)}
        for name, own in by_affiliate.items()
    ]
    # Largest first; equal figures in order of the id, so that a page does not change between calls.
    rows.sort(key=lambda row: (-Decimal(str(row[metric])), row["affiliate_id"]))
    return rows[: int(limit)]


def _total(conversions: Iterable[Stored]) -> Decimal:
    return sum((stored.revenue for stored in conversions), Decimal(0))


def _revenue_by(conversions: list[Stored], key: Callable[[Stored], str]) -> dict[str, str]:
    groups: dict[str, Decimal] = defaultdict(Decimal)
    for stored in conversions:
        groups[key(stored)] += stored.revenue
    return {name: money(revenue) for name, revenue in groups.items()}
