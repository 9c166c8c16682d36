"""`anytrack report`, `affiliates`, `attribution` and `touchpoints`: AnyTrack's evaluations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import anyio
import attrs
import typer
from rich.text import Text
from typer.core import TyperCommand

from anytrack_async.cli import periods
from anytrack_async.cli.output import make_table, stdout_console, write_json
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.answers import AffiliatePerformance, DailyReport, Touchpoint

if TYPE_CHECKING:
    from anytrack_async.cli.plot import Chart, Plot

report_commands = typer.Typer(
    name="report", no_args_is_help=True, help="Totals by day, as AnyTrack counts them."
)
affiliate_commands = typer.Typer(
    name="affiliates", no_args_is_help=True, help="How affiliates perform."
)

_T = TypeVar("_T")

_Conversion: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="AnyTrack's id of the conversion, which `track` and `export` show.",
        metavar="ID",
        show_default=False,
    ),
]

_PLOT = "--plot"
_PlotTo: TypeAlias = Annotated[
    str | None,
    typer.Option(
        _PLOT,
        help="Draw a chart in the terminal, or to FILE, which ends in .png or .svg.",
        metavar="[FILE]",
        show_default=False,
    ),
]


class PlotCommand(TyperCommand):
    """A command with an option ``--plot`` that needs no file name."""

    # typer has no options with an optional value.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read *args*; a ``--plot`` at the end or before another option has the value ``-``."""
        pairs = zip(args, [*args[1:], "--"], strict=False)  # without arguments there is no pair
        return super().parse_args(ctx, [_with_value(arg, after) for arg, after in pairs])


def _with_value(arg: str, after: str) -> str:
    """Return *arg*; ``--plot`` before ``--json`` becomes ``--plot=-``, not before ``a.png``."""
    bare = arg == _PLOT and after.startswith("-") and after != "-"
    return f"{_PLOT}=-" if bare else arg


class Metric(StrEnum):
    """The number by which affiliates are ranked, highest first."""

    REVENUE = "revenue"
    CONVERSIONS = "conversions"
    EPC = "epc"
    CONVERSION_RATE = "conversion_rate"


def _read(read: Callable[[AnyTrackClient], Awaitable[_T]]) -> _T:
    async def steps() -> _T:
        async with periods.reading_client() as client:
            return await read(client)

    return anyio.run(steps)


def _plot(value: str | None, as_json: bool) -> Plot | None:
    if value is None:
        return None
    if as_json:
        raise InvalidArgumentError(_PLOT, "draws a chart and --json writes text: give only one")
    # Imported when a chart is wanted, which is rare.
    from anytrack_async.cli.plot import Plot

    return Plot(value)


def _chart(title: str, bars: Iterable[tuple[str, Decimal | float, str]]) -> Chart:
    from anytrack_async.cli.plot import Chart

    return Chart(title, [*bars])


# Days


@report_commands.command("daily", cls=PlotCommand)
def daily(
    day: Annotated[
        str | None,
        typer.Argument(help="A UTC day; default: today.", metavar="DATE", show_default=False),
    ] = None,
    as_json: periods.Json = False,
    plot: _PlotTo = None,
) -> None:
    """Show the totals of one UTC day, with its sources and campaigns."""
    drawing = _plot(plot, as_json)
    moment = None if day is None else periods.parse_moment(day, "DATE", datetime.now(UTC))
    report = _read(lambda client: client.get_daily_report(moment))
    if as_json:
        write_json(_record(report))
    elif drawing:
        drawing.draw(_charts_of_day(report))
    else:
        _show_days([report])
        _show_revenue("source", report.by_source)
        _show_revenue("campaign", report.by_campaign)


@report_commands.command("range", cls=PlotCommand)
def range_(
    first: periods.From = None,
    last: periods.To = None,
    as_json: periods.Json = False,
    plot: _PlotTo = None,
) -> None:
    """Show the totals of each UTC day of a period, and of all days together."""
    drawing = _plot(plot, as_json)
    period = periods.to_range(first, last)

    async def read(client: AnyTrackClient) -> list[DailyReport]:
        async with aclosing(client.reports.days(period)) as days:
            return [day async for day in days]

    reports = _read(read)
    if as_json:
        write_json([_record(report) for report in reports])
    elif drawing:
        drawing.draw([_chart_of_days(reports)])
    else:
        _show_days(reports)


def _show_days(reports: Iterable[DailyReport]) -> None:
    table = make_table("day", ">conversions", ">revenue", ">per conversion")
    conversions, revenue, days = 0, Decimal(0), 0
    for report in reports:
        table.add_row(*_day_cells(str(report.date), report.total_conversions, report.total_revenue))
        conversions += report.total_conversions
        revenue += report.total_revenue
        days += 1
    if days > 1:
        table.add_row(*_day_cells("all", conversions, revenue), style="bold")
    stdout_console(wide=True).print(table)


def _day_cells(name: str, conversions: int, revenue: Decimal) -> tuple[str, str, str, str]:
    """Return the cells of a day; 3 conversions of 29.70 are 9.90 each."""
    average = f"{revenue / conversions:,.2f}" if conversions else "-"
    return name, f"{conversions:,}", f"{revenue:,.2f}", average


def _show_revenue(name: str, revenue: Mapping[str, Decimal]) -> None:
    if not revenue:
        return
    table = make_table(name, ">revenue")
    for key, amount in _highest_first(revenue):
        table.add_row(Text(key), f"{amount:,.2f}")
    stdout_console().print()
    stdout_console(wide=True).print(table)


def _highest_first(revenue: Mapping[str, Decimal]) -> list[tuple[str, Decimal]]:
    return sorted(revenue.items(), key=lambda item: (-item[1], item[0]))


def _charts_of_day(report: DailyReport) -> list[Chart]:
    charts = [_chart_of_days([report])]
    for name, revenue in (("source", report.by_source), ("campaign", report.by_campaign)):
        bars = ((key, amount, f"{amount:,.2f}") for key, amount in _highest_first(revenue))
        charts.append(_chart(f"revenue by {name}, {report.date}", bars))
    return charts


def _chart_of_days(reports: Iterable[DailyReport]) -> Chart:
    revenue = ((str(report.date), report.total_revenue) for report in reports)
    return _chart("revenue by day", ((day, total, f"{total:,.2f}") for day, total in revenue))


# Affiliates


@affiliate_commands.command("top", cls=PlotCommand)
def top(
    metric: Annotated[Metric, typer.Option("--by", help="What to sort by.")] = Metric.REVENUE,
    limit: Annotated[int, typer.Option(min=1, help="How many.", metavar="COUNT")] = 10,
    first: periods.From = None,
    last: periods.To = None,
    as_json: periods.Json = False,
    plot: _PlotTo = None,
) -> None:
    """Show the best affiliates of a period, best first."""
    drawing = _plot(plot, as_json)
    period = periods.to_range(first, last)
    affiliates = _read(lambda client: client.get_top_affiliates(metric.value, limit, period))
    if as_json:
        write_json([_record(affiliate) for affiliate in affiliates])
    elif drawing:
        drawing.draw([_chart_of_affiliates(affiliates, metric)])
    else:
        _show_affiliates(affiliates)


@affiliate_commands.command("show")
def show(
    affiliate_id: Annotated[
        str, typer.Argument(help="The affiliate's id.", metavar="ID", show_default=False)
    ],
    first: periods.From = None,
    last: periods.To = None,
    as_json: periods.Json = False,
) -> None:
    """Show how one affiliate performed in a period."""
    period = periods.to_range(first, last)
    affiliate = _read(lambda client: client.get_affiliate_performance(affiliate_id, period))
    if as_json:
        write_json(_record(affiliate))
    else:
        _show_affiliates([affiliate])


def _show_affiliates(affiliates: Iterable[AffiliatePerformance]) -> None:
    table = make_table("affiliate", ">clicks", ">conversions", ">rate", ">revenue", ">per click")
    for affiliate in affiliates:
        table.add_row(
            Text(affiliate.affiliate_id),
            f"{affiliate.clicks:,}",
            f"{affiliate.conversions:,}",
            f"{affiliate.conversion_rate:.2%}",
            f"{affiliate.revenue:,.2f}",
            f"{affiliate.epc:,.4f}",
        )
    stdout_console(wide=True).print(table)


_FORMATS = {
    Metric.REVENUE: ",.2f",
    Metric.CONVERSIONS: ",",
    Metric.EPC: ",.4f",
    Metric.CONVERSION_RATE: ".2%",
}


def _chart_of_affiliates(affiliates: Sequence[AffiliatePerformance], metric: Metric) -> Chart:
    values = ((best.affiliate_id, getattr(best, metric.value)) for best in affiliates)
    bars = ((name, value, format(value, _FORMATS[metric])) for name, value in values)
    return _chart(f"affiliates by {metric.value.replace('_', ' ')}", bars)


# One conversion


def attribution(
    conversion_id: _Conversion, as_json: periods.Json = False, plot: _PlotTo = None
) -> None:
    """Show how a conversion's value is divided among its touchpoints."""
    drawing = _plot(plot, as_json)
    result = _read(lambda client: client.calculate_attribution(conversion_id))
    if as_json:
        write_json(_record(result))
    elif drawing:
        shares = ((name, share, f"{share:.1%}") for name, share in result.weights.items())
        drawing.draw([_chart(f"share by touchpoint, model: {result.model}", shares)])
    else:
        _show_shares(result.model, result.weights)


def _show_shares(model: str, weights: Mapping[str, float]) -> None:
    stdout_console().print(Text(f"model: {model}"))
    table = make_table("touchpoint", ">share")
    for name, share in weights.items():
        table.add_row(Text(name), f"{share:.1%}")
    stdout_console(wide=True).print(table)


def touchpoints(conversion_id: _Conversion, as_json: periods.Json = False) -> None:
    """Show the contacts with ads and pages that led to a conversion, earliest first."""
    contacts = _read(lambda client: client.get_touchpoints(conversion_id))
    if as_json:
        write_json([_record(contact) for contact in contacts])
    else:
        _show_touchpoints(contacts)


def _show_touchpoints(contacts: Iterable[Touchpoint]) -> None:
    table = make_table("time (UTC)", "type", "source", "campaign")
    for contact in contacts:
        texts = (contact.type, contact.source or "", contact.campaign_id or "")
        table.add_row(f"{contact.timestamp:%Y-%m-%d %H:%M:%S}", *map(Text, texts))
    stdout_console(wide=True).print(table)


def _record(answer: Any) -> dict[str, Any]:
    """Return *answer* as a JSON object; amounts are text, as a float has no 49.90."""
    return {name: _plain(value) for name, value in attrs.asdict(answer).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
