"""The progress of `anytrack backfill`: a live table on a terminal, else lines.

Both go to standard error, so that standard output has the report alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from anytrack_async.backfilling.report import DestinationProgress, Progress, RowCounts, SourceInfo
from anytrack_async.cli.output import BAD, FAINT, NOTE, duration, errors_above, make_table
from anytrack_async.delivery.flow import LaneState

NARROW = 72
"""Columns of a terminal below which there are lines instead of tables."""

_LINE_EVERY = 5.0  # seconds
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", ":": "colon"}


class ProgressDisplay:
    """Shows the progress of a run while it is entered.

    Args:
        console: default: standard error.
        clock: returns seconds that never go back.

    Attributes:
        summary: the latest progress, as a line.
        latest: the latest progress; None before the first.
    """

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.summary = ""
        self.latest: Progress | None = None
        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._stack = ExitStack()
        self._live: Live | None = None
        self._line_at = clock() + _LINE_EVERY
        self._source = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live = self._stack.enter_context(live)
            self._stack.enter_context(errors_above(self._console))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def update(self, progress: Progress) -> None:
        """Show *progress*."""
        self.summary = progress_line(progress)
        self.latest = progress
        if self._live is not None:
            is_narrow = self._console.width < NARROW
            screen = _narrow_screen(progress) if is_narrow else _screen(progress)
            self._live.update(screen, refresh=True)
            return
        if progress.source is not None and progress.source.name != self._source:
            self._source = progress.source.name
            self._print(source_line(progress.source).plain)
        if self._clock() >= self._line_at:
            self._line_at = self._clock() + _LINE_EVERY
            self._print(self.summary)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


def source_line(info: SourceInfo) -> Text:
    """Return e.g. ``orders.csv: Shopify: Orders → Export, csv, utf-8 and comma (found)``."""
    kind = info.title or (f"your mapping {info.preset}" if info.preset else "no preset")
    line = Text.assemble((info.name, "bold"), ": ", kind, f", {info.format}")
    if info.recognised:
        line = Text.assemble(line, f", recognised by its columns as {info.preset}")
    details = {
        "encoding": info.encoding,
        "delimiter": _DELIMITERS.get(info.delimiter or "", info.delimiter),
    }
    for name, value in details.items():
        if value:
            origin = "found in the file" if name in info.guessed else "as stated"
            line.append(f", {name} {value} ({origin})")
    return line


def state_text(progress: DestinationProgress) -> Text:
    """Return why a destination is not sent to, e.g. ``throttled until 12:00:05 UTC``."""
    if progress.state is LaneState.RUNNING:
        return Text()
    reason = f" ({progress.reason})" if progress.reason else ""
    if progress.throttled_until is not None:
        return Text(f"throttled until {_time(progress.throttled_until)}{reason}", NOTE)
    if progress.state is None:
        return Text("not configured here", NOTE)
    style = BAD if progress.state is LaneState.HELD else NOTE
    return Text(f"{progress.state}{reason}", style)


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"


# Lines


def progress_line(progress: Progress) -> str:
    """Return *progress* as a line."""
    share = "" if progress.fraction is None else f" ({progress.fraction:.0%})"
    parts = [f"{counts_text(progress.counts)}{share}"]
    parts += [destination_text(name, item) for name, item in progress.destinations.items()]
    return " · ".join(parts)


def counts_text(counts: RowCounts) -> str:
    """Return e.g. ``1,000 rows: 990 accepted, 8 skipped, 2 rejected``."""
    return (
        f"{counts.rows:,} rows: {counts.accepted:,} accepted, {counts.all_skipped:,} skipped, "
        f"{counts.rejected:,} rejected"
    )


def destination_text(name: str, progress: DestinationProgress) -> str:
    """Return e.g. ``meta: 900 delivered, 100 waiting, 50/s, 2 s left``."""
    parts = [f"{name}: {progress.delivered:,} delivered, {progress.waiting:,} waiting"]
    if progress.retrying:
        parts.append(f"{progress.retrying:,} retrying")
    if progress.dead:
        parts.append(f"{progress.dead:,} dead")
    if progress.rate:
        parts.append(f"{progress.rate:,.0f}/s")
    if progress.eta:
        parts.append(f"{duration(progress.eta)} left")
    if state := state_text(progress).plain:
        parts.append(state)
    return ", ".join(parts)


# The live screen


def _narrow_screen(progress: Progress) -> RenderableType:
    """Return lines, because a table would cut off its numbers."""
    share = "" if progress.fraction is None else f" {progress.fraction:.0%}"
    name = "" if progress.source is None else f" {progress.source.name}"
    lines = [f"{progress.phase}{name}{share}", counts_text(progress.counts)]
    lines += [destination_text(name, item) for name, item in progress.destinations.items()]
    return Group(*map(Text, lines))


def _screen(progress: Progress) -> RenderableType:
    parts: list[RenderableType] = []
    if progress.source is not None:
        parts.append(source_line(progress.source))
    parts.append(_rows_table(progress))
    if progress.destinations:
        parts.append(_destination_table(progress))
    return Group(*parts)


def _rows_table(progress: Progress) -> Table:
    counts = progress.counts
    table = make_table(
        *("", "", ">rows", ">accepted", ">skipped", ">rejected", ">rows/s", ">elapsed")
    )
    bar: RenderableType = ""
    if progress.fraction is not None:
        bar = ProgressBar(total=1.0, completed=progress.fraction, width=24)
    speed = counts.rows / progress.seconds if progress.seconds else 0.0
    table.add_row(
        Text(progress.phase, FAINT),
        bar,
        f"{counts.rows:,}",
        f"{counts.accepted:,}",
        f"{counts.all_skipped:,}",
        Text(f"{counts.rejected:,}", BAD if counts.rejected else ""),
        f"{speed:,.0f}" if progress.phase == "reading" else "",
        duration(progress.seconds),
    )
    return table


def _destination_table(progress: Progress) -> Table:
    table = make_table(
        *("destination", ">delivered", ">waiting", ">retrying", ">dead", ">rate", ">left", "")
    )
    for name, item in progress.destinations.items():
        table.add_row(
            Text(name),
            f"{item.delivered:,}",
            f"{item.waiting:,}",
            f"{item.retrying:,}",
            Text(f"{item.dead:,}", BAD if item.dead else ""),
            f"{item.rate:,.0f}/s",
            "?" if item.eta is None else duration(item.eta),
            state_text(item),
        )
    return table
