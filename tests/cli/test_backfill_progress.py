"""The table of a back-fill's progress, and its lines without a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from anytrack_async.backfilling.report import DestinationProgress, Progress, RowCounts, SourceInfo
from anytrack_async.cli.backfill_progress import ProgressDisplay
from anytrack_async.cli.output import duration, write_error
from anytrack_async.delivery.flow import LaneState

# Progress


def progress(**changes) -> Progress:
    destinations = {
        "anytrack": DestinationProgress(
            state=LaneState.RUNNING, delivered=900, waiting=100, rate=50.0, eta=2.0
        ),
        "meta": DestinationProgress(
            state=LaneState.THROTTLED,
            waiting=1_000,
            retrying=3,
            dead=2,
            throttled_until=datetime(2026, 5, 1, 12, 0, 5, tzinfo=UTC),
            reason="too many requests",
        ),
    }
    counts = RowCounts(rows=1_234, accepted=1_000, skipped={"test mode": 200}, rejected=34)
    values = {
        "phase": "reading",
        "source": SourceInfo(name="orders.csv", format="csv", title="Shopify", encoding="utf-8"),
        "counts": counts,
        "fraction": 0.5,
        "seconds": 10.0,
        "destinations": destinations,
    }
    return Progress(**values | changes)


def test_without_a_terminal_there_is_a_line_every_few_seconds():
    output, now = io.StringIO(), [0.0]
    console = Console(file=output, width=200)

    with ProgressDisplay(console, clock=lambda: now[0]) as display:
        for second in range(11):
            now[0] = float(second)
            display.update(progress())

    source, *lines = output.getvalue().splitlines()
    assert source == "orders.csv: Shopify, csv, encoding utf-8 (as stated)"
    line = (
        "1,234 rows: 1,000 accepted, 200 skipped, 34 rejected (50%) · anytrack: 900 delivered, "
        "100 waiting, 50/s, 2 s left · meta: 0 delivered, 1,000 waiting, 3 retrying, 2 dead, "
        "throttled until 12:00:05 UTC (too many requests)"
    )
    assert lines == [line, line]


def test_on_a_terminal_the_table_is_live_and_errors_stay_above_it():
    output = io.StringIO()
    console = Console(file=output, width=140, force_terminal=True)

    with ProgressDisplay(console) as display:
        display.update(progress())
        write_error("a warning", label="warning")

    text = output.getvalue()
    assert "reading" in text
    assert "throttled until 12:00:05 UTC" in text
    assert "1,234" in text
    assert "a warning" in text


@pytest.mark.parametrize("width", [30, 40, 71])
def test_on_a_narrow_terminal_no_number_is_cut_off(width):
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, no_color=True)

    with ProgressDisplay(console) as display:
        display.update(progress())

    words = " ".join(output.getvalue().split())
    for number in ("1,234 rows", "1,000 accepted", "900 delivered", "3 retrying"):
        assert number in words
    assert "…" not in words


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.4, "12 s"), (180, "3 min"), (3_900, "65 min"), (7_500, "2 h 05 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
