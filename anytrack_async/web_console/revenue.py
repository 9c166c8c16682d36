"""Conversions of a day: by type, source, campaign and currency, beside the same weekday before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

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
        number: number of conversions on the day.
        value: their revenue, in one currency.
        number_before: number of conversions a week before.
        value_before: revenue of the conversions a week before.
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
    """AnyTrack's own numbers of the day.

    Attributes:
        report: the totals; None if AnyTrack did not answer.
        affiliates: the affiliates with the most revenue.
        problem: why AnyTrack did not answer; empty if it did.
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
    # 14 days: the seven that end with *day*, and the seven before them, to compare with.
    week = await _counts(past, day - _WEEK - timedelta(days=6), day) if past else ()
    return await context.page(
        request,
        "conversions.html",
        day=day,
        before=day - _WEEK,
        next_day=day + timedelta(days=1),
        previous_day=day - timedelta(days=1),
        is_today=day >= _today(),
        keeps_history=past is not None,
        **_comparisons(week, day, request.query_params.get("currency", "")),
        recent=await _recent(outbox, request),
        answers=await _answers(context, request, day),
    )


_TABLES: Final[Mapping[str, Callable[[AcceptedCount], str]]] = {
    "Type": lambda item: item.conversion_type,
    "Source": lambda item: item.source or "none",
    "Campaign": lambda item: item.campaign or "none",
}
"""Title of a table of the page → the name of the row that a count belongs to."""


def _comparisons(week: Sequence[AcceptedCount], day: date, currency: str) -> dict[str, Any]:
    """Return values for the template: *day* beside the same weekday before, in one currency.

    Args:
        week: counts of the 14 days that end with *day*.
        day: the day of the page.
        currency: the currency to show; empty for the one with the most conversions.
    """
    before = day - _WEEK
    counts, counts_before = _of_day(week, day), _of_day(week, before)
    if not currency:
        currencies = _by_number([*counts, *counts_before], lambda item: item.currency)
        currency = next(iter(currencies), "")
    now, then = _in_currency(counts, currency), _in_currency(counts_before, currency)
    return {
        "currency": currency,
        "currencies": compare(counts, counts_before, lambda item: item.currency),
        "total": compare(now, then, lambda _: "All"),
        "days": _days(_in_currency(week, currency), before),
        "tables": {title: compare(now, then, name) for title, name in _TABLES.items()},
        "revenue_by_hour": _chart(now, then, day, before),
    }


def _of_day(counts: Iterable[AcceptedCount], day: date) -> list[AcceptedCount]:
    return [item for item in counts if _date(item) == day]


def _in_currency(counts: Iterable[AcceptedCount], currency: str) -> list[AcceptedCount]:
    return [item for item in counts if item.currency == currency]


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
    """Return a row for each name, the highest value first; at most 20, and one row for all others.

    Args:
        counts: counts of the day.
        before: counts of the same weekday a week before.
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
    # Of 25 campaigns, twenty have a row, and the sums of the rest are in the row "5 others".
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
    # 18 digits fit into 64 bits, as databases have them; a longer number is not a position.
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
