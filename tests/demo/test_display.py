from __future__ import annotations

import io
import threading
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from anytrack_async.demo.audit import Audit, Rejection, ServiceCounts, Tally
from anytrack_async.demo.display import (
    progress_bars,
    show_intro,
    show_next_steps,
    show_progress,
    show_result,
)

COUNTS = ServiceCounts(
    name="meta", delivered=9, dead=1, rate=1234.5, requests=2, unique=9, duplicates=0, faults=0
)


def make_console(*, terminal: bool = False, width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False)


def text(console: Console) -> str:
    return console.file.getvalue()


def some_tally() -> Tally:
    tally = Tally(10, ["anytrack", "meta"])
    tally.lines = tally.accepted = 10
    tally.seconds = 2.0
    tally.services["meta"].delivered = {"a", "b", "c"}
    tally.services["meta"].dead = 1
    tally.services["meta"].retried = 4
    tally.services["meta"].state = "asked to slow down"
    return tally


def rejection(number: int, reason: str = "too old", rejected_by: str = "meta") -> Rejection:
    return Rejection(
        lines=(number,), event_id=f"sale:{number}", rejected_by=rejected_by, reason=reason
    )


def result(*rejections: Rejection, problems: tuple[str, ...] = (), counts=COUNTS) -> str:
    console = make_console()
    audit = Audit(services=(counts,), rejections=rejections, problems=problems)
    show_result(console, some_tally(), audit)
    return text(console)


def test_without_a_terminal_a_last_line_is_printed_at_the_end():
    console = make_console()

    with show_progress(console, some_tally(), interval=60):
        assert text(console) == ""

    assert text(console) == "  10 of 10 lines read, delivered: anytrack 0, meta 3\n"


def test_without_a_terminal_a_line_is_printed_every_interval():
    console, second_line = make_console(), threading.Event()
    write = console.file.write

    def watch(output: str) -> int:
        if text(console).count("lines read") >= 2:
            second_line.set()
        return write(output)

    console.file.write = watch
    with show_progress(console, some_tally(), interval=0.01):
        assert second_line.wait(5)


def test_a_terminal_shows_bars():
    console = make_console(terminal=True)

    with show_progress(console, some_tally()):
        pass

    assert "━" in text(console)
    assert "\x1b[" in text(console)


def test_bars_show_the_state_of_each_service():
    console = make_console(width=120)

    console.print(progress_bars(some_tally()))

    assert "3" in text(console)
    for words in ("1 rejected", "4 retried", "asked to slow down", "of 10 lines read"):
        assert words in text(console)


@pytest.mark.parametrize(("lines", "length"), [(10, 26), (9, 10)])
def test_a_bar_is_full_when_every_accepted_conversion_has_an_outcome(lines, length):
    tally = some_tally()
    tally.lines, tally.accepted = lines, 4
    console = Console(file=io.StringIO(), width=120, no_color=True)

    console.print(progress_bars(tally))

    (row,) = [row for row in text(console).splitlines() if "meta" in row]
    assert row.count("━") == length


def test_a_reason_is_printed_once_for_all_its_lines():
    shown = result(rejection(1), rejection(2), rejection(3, "unknown", "hubspot"))

    assert shown.count("too old") == 1
    assert "line 1 sale:1, line 2 sale:2" in shown
    assert shown.index("unknown") < shown.index("line 3 sale:3")


def test_a_service_is_printed_once_for_all_its_reasons():
    shown = result(rejection(1, "one", "reading"), rejection(2, "two", "reading"))

    assert shown.count("reading") == 1


def test_long_reasons_and_long_lists_are_abridged():
    shown = result(*(rejection(number, "because " * 40) for number in range(20)))

    assert "and 8 more" in shown
    assert "…" in shown


def test_a_repeated_line_has_all_its_numbers():
    repeated = Rejection(lines=(3, 9), event_id=None, rejected_by="meta", reason="too old")

    assert "lines 3 and 9" in result(repeated)


def test_equal_counts_are_confirmed():
    shown = result()

    assert "= 9" in shown
    assert "1,234" in shown
    assert "Every line is accounted for" in shown
    assert "Rejected" not in shown


def test_different_counts_are_reported():
    counts = attrs.evolve(COUNTS, unique=8)

    shown = result(problems=("meta: its ledger counts 8",), counts=counts)

    assert "≠ 8" in shown
    assert "Not everything is accounted for" in shown
    assert "meta: its ledger counts 8" in shown
    assert "Every line" not in shown


def test_fault_columns_appear_only_with_faults():
    shown = result(counts=attrs.evolve(COUNTS, faults=17, duplicates=5))

    assert "faults" in shown
    assert "17" in shown
    assert "faults" not in result()


def test_no_line_is_wider_than_a_terminal():
    shown = result(*(rejection(n) for n in range(20)), counts=attrs.evolve(COUNTS, faults=17))
    console = make_console()
    show_intro(console, 1000, "http://127.0.0.1:54321", 0.2)
    show_next_steps(console, None)

    assert max(map(len, (shown + text(console)).splitlines())) <= 80


def test_a_run_of_zero_seconds_does_not_divide_by_zero():
    tally = Tally(1, ["meta"])
    console = make_console()

    show_result(console, tally, Audit(services=(COUNTS,), rejections=(), problems=()))

    assert "0 a second" in text(console)


def test_a_kept_outbox_is_named_with_commands_for_it():
    console = make_console()

    show_next_steps(console, Path("/somewhere/outbox.db"))

    assert "export ANYTRACK_OUTBOX=/somewhere/outbox.db" in text(console)
    assert "anytrack outbox dead " in text(console)


def test_markup_in_a_service_message_is_printed_as_text():
    assert "[red]boo[/red]" in result(rejection(1, "[red]boo[/red]"))
