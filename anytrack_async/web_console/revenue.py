"""Conversions of a day: by type, source, campaign and currency, beside the same weekday before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response

from anytrack_async.errors import AnyTrackError, ConfigurationError, InvalidArgumentError
from anytrack_async.models.answers import AffiliatePerformance, DailyReport
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.history import (
    DAY,
    HOUR,
    AcceptedCount,
    KeepsHistory,
    RememberedConversion,
)
from anytrack_async.web_console import history
from anytrack_async.web_console.pages import Context
from anytrack_async.web_console.trends import Chart, Series

_WEEK = timedelta(days=7)
_ROWS = 20
_RECENT = 30


@attrs.frozen(kw_only=True)
class Row:
    """Conversions of a kind on a day, and on the same weekday a week before.

    Attributes:
        name: the kind.
        number: how many.
        value: their revenue, in one currency.
        number_before: how many a week before.
        value_before: their revenue.
    """

    name: str
    number: int = 0
    value: Decimal = Decimal(0)
    number_before: int = 0
    value_before: Decimal = Decimal(0)

    @property
    def change(self) -> str:
        """The change of the value, or of the number where there is no value: ``+12 %``."""
        now, before = self.value, self.value_before
        if not now and not before:
            now, before = Decimal(self.number), Decimal(self.number_before)
        if not before:
            return "new" if now else "–"
        return f"{(now - before) / before * 100:+,.0f} %"


@attrs.frozen(kw_only=True)
class Answers:
    """What AnyTrack says of the day.

    Attributes:
        report: its totals; None if it did not tell.
        affiliates: the affiliates with the most revenue.
        problem: why it did not tell; else empty.
    """

    report: DailyReport | None = None
    affiliates: Sequence[AffiliatePerformance] = ()
    problem: str = ""


_FIRST_DAY, _LAST_DAY = date(1971, 1, 1), date(9000, 1, 1)
"""The page also has the weeks around a day, which must be dates."""


async def conversions(context: Context, request: Request) -> Response:
    """Return the page."""
    outbox, day = await context.source.outbox(), _day(request.query_params.get("day", ""))
    past = history.kept(outbox)
    before = day - _WEEK
    week = await _counts(past, before - timedelta(days=6), day) if past else ()
    counts = [item for item in week if _date(item) == day]
    counts_before = [item for item in week if _date(item) == before]
    currencies = _by_number([*counts, *counts_before], lambda item: item.currency)
    currency = request.query_params.get("currency", "") or (currencies[0] if currencies else "")
    of_currency = [item for item in counts if item.currency == currency]
    of_currency_before = [item for item in counts_before if item.currency == currency]
    return await context.page(
        request,
        "conversions.html",
        day=day,
        before=before,
        next_day=day + timedelta(days=1),
        previous_day=day - timedelta(days=1),
        is_today=day >= _today(),
        keeps_history=past is not None,
        currency=currency,
        currencies=compare(counts, counts_before, lambda item: item.currency),
        total=compare(of_currency, of_currency_before, lambda _: "All"),
        days=_days([item for item in week if item.currency == currency], before),
        tables={
            "Type": compare(of_currency, of_currency_before, lambda item: item.conversion_type),
            "Source": compare(of_currency, of_currency_before, lambda item: item.source or "none"),
            "Campaign": compare(
                of_currency, of_currency_before, lambda item: item.campaign or "none"
            ),
        },
        revenue_by_hour=_chart(of_currency, of_currency_before, day, before),
        recent=await _recent(outbox, request),
        answers=await _answers(context, request, day),
    )


async def _counts(past: KeepsHistory, first: date, last: date) -> Sequence[AcceptedCount]:
    """Return the counts from the first day to the last."""
    since, until = _start(first), _start(last) + DAY
    return await past.accepted_counts(since=since, until=until)


def _days(counts: Sequence[AcceptedCount], before: date) -> Sequence[Row]:
    """Return the last seven days, the latest first, each beside the same weekday before."""
    later = [item for item in counts if _date(item) > before]
    earlier = [item for item in counts if _date(item) <= before]
    rows = compare(later, earlier, lambda item: str(_date(item) + _WEEK * (_date(item) <= before)))
    return sorted(rows, key=lambda row: row.name, reverse=True)


def _date(item: AcceptedCount) -> date:
    return datetime.fromtimestamp(item.hour, UTC).date()


def _start(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def compare(
    counts: Iterable[AcceptedCount],
    before: Iterable[AcceptedCount],
    name: Callable[[AcceptedCount], str],
) -> Sequence[Row]:
    """Return a row for each name, the highest value first; at most twenty and one for the others.

    Args:
        counts: `AcceptedCount` objects of the day.
        before: those of a week before.
        name: returns the name of the row that a count belongs to.
    """
    sums: dict[str, list[Any]] = defaultdict(lambda: [0, Decimal(0), 0, Decimal(0)])
    for offset, items in ((0, counts), (2, before)):
        for item in items:
            row = sums[name(item)]
            row[offset] += item.count
            row[offset + 1] += item.value
    rows = [_row(key, values) for key, values in sums.items()]
    rows.sort(key=lambda row: (-row.value, -row.number, row.name))
    if len(rows) <= _ROWS:
        return rows
    small_rows = [attrs.astuple(row)[1:] for row in rows[_ROWS:]]
    return [
        *rows[:_ROWS],
        _row(
            f"{len(small_rows)} others", [sum(column) for column in zip(*small_rows, strict=True)]
        ),
    ]


def _row(name: str, values: Sequence[Any]) -> Row:
    number, value, number_before, value_before = values
    return Row(
        name=name,
        number=number,
        value=value,
        number_before=number_before,
        value_before=value_before,
    )


def _by_number(
    counts: Iterable[AcceptedCount], name: Callable[[AcceptedCount], str]
) -> Sequence[str]:
    numbers: dict[str, int] = defaultdict(int)
    for item in counts:
        numbers[name(item)] += item.count
    return sorted(numbers, key=lambda key: (-numbers[key], key))


def _chart(
    counts: Sequence[AcceptedCount], before: Sequence[AcceptedCount], day: date, week_ago: date
) -> Chart:
    """Return the revenue by hour of both days."""
    start = _start(day)
    times = range(start, start + DAY, HOUR)
    lines = []
    for name, items, shift in ((day, counts, 0), (week_ago, before, 7 * DAY)):
        values: dict[int, float] = defaultdict(float)
        for item in items:
            values[item.hour + shift] += float(item.value)
        lines.append(Series(name=str(name), values=[round(values[hour], 2) for hour in times]))
    return Chart(title="Revenue by hour", times=list(times), series=lines)


async def _recent(
    outbox: Outbox, request: Request
) -> Sequence[tuple[RememberedConversion, Report | None]]:
    """Return the latest conversions with their reports."""
    past = history.kept(outbox)
    if past is None:
        return ()
    text = request.query_params.get("before", "")
    before = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    recent = await past.recent(before=before, limit=_RECENT)
    reports = await outbox.reports([item.event_id for item in recent])
    return [(item, reports.get(item.event_id)) for item in recent]


async def _answers(context: Context, request: Request, day: date) -> Answers | None:
    """Ask AnyTrack, if the address says so: its answer may take seconds."""
    if "anytrack" not in request.query_params:
        return None
    period = (day - timedelta(days=29), day)
    try:
        async with context.source.reader() as client:
            return Answers(
                report=await client.get_daily_report(day),
                affiliates=await client.get_top_affiliates("revenue", 10, period),
            )
    except (AnyTrackError, ConfigurationError) as exc:
        return Answers(problem=str(exc))


def _day(text: str) -> date:
    if not text:
        return _today()
    try:
        day = date.fromisoformat(text)
        return min(max(day, _FIRST_DAY), _LAST_DAY)
    except ValueError:
        raise InvalidArgumentError("day", "must be a date such as 2026-11-27") from None


def _today() -> date:
    return datetime.now(UTC).date()
