from __future__ import annotations

import io
import threading
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from anytrack_async.cli.demo.audit import Account, Audit, Rejection
from anytrack_async.cli.demo.live import bars, showing
from anytrack_async.cli.demo.tables import show_intro, show_next, show_result
from anytrack_async.cli.demo.tally import Tally

ACCOUNT = Account(
    name="meta", delivered=9, dead=1, rate=1234.5, requests=2, unique=9, duplicates=0, faults=0
)


def paper(*, terminal: bool = False, width: int = 80) -> Console:
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


def rejection(number: int, reason: str = "too old", where: str = "meta") -> Rejection:
    return Rejection(lines=(number,), event_id=f"sale:{number}", where=where, reason=reason)


def result(*rejections: Rejection, problems: tuple[str, ...] = (), account=ACCOUNT) -> str:
    console = paper()
    found = Audit(accounts=(account,), rejections=rejections, problems=problems)
    show_result(console, some_tally(), found)
    return text(console)


def test_without_a_terminal_there_are_plain_lines_at_the_end_too():
    console = paper()

    with showing(console, some_tally(), every=60):
        assert text(console) == ""

    assert text(console) == "  10 of 10 lines read, delivered: anytrack 0, meta 3\n"


def test_without_a_terminal_lines_keep_coming():
    console, several = paper(), threading.Event()
    write = console.file.write

    def noticing(written: str) -> int:
        if text(console).count("lines read") >= 2:
            several.set()
        return write(written)

    console.file.write = noticing
    with showing(console, some_tally(), every=0.01):
        assert several.wait(5)


def test_on_a_terminal_there_are_bars():
    console = paper(terminal=True)

    with showing(console, some_tally()):
        pass

    assert "━" in text(console)
    assert "\x1b[" in text(console)


def test_bars_tell_what_each_service_does():
    console = paper(width=120)

    console.print(bars(some_tally()))

    assert "3" in text(console)
    for words in ("1 rejected", "4 tried again", "asked to slow down", "of 10 lines read"):
        assert words in text(console)


@pytest.mark.parametrize(("lines", "length"), [(10, 26), (9, 10)])
def test_a_bar_is_full_when_all_that_was_accepted_is_settled(lines, length):
    tally = some_tally()
    tally.lines, tally.accepted = lines, 4
    console = Console(file=io.StringIO(), width=120, no_color=True)

    console.print(bars(tally))

    (row,) = [row for row in text(console).splitlines() if "meta" in row]
    assert row.count("━") == length


def test_a_reason_is_told_once_for_all_its_lines():
    shown = result(rejection(1), rejection(2), rejection(3, "unknown", "hubspot"))

    assert shown.count("too old") == 1
    assert "line 1 sale:1, line 2 sale:2" in shown
    assert shown.index("unknown") < shown.index("line 3 sale:3")


def test_a_place_is_named_once_for_all_its_reasons():
    shown = result(rejection(1, "one", "reading"), rejection(2, "two", "reading"))

    assert shown.count("reading") == 1


def test_long_reasons_and_long_lists_are_cut():
    shown = result(*(rejection(number, "because " * 40) for number in range(20)))

    assert "and 8 more" in shown
    assert "…" in shown


def test_a_repeated_line_is_named_with_all_its_numbers():
    one = Rejection(lines=(3, 9), event_id=None, where="meta", reason="too old")

    assert "lines 3 and 9" in result(one)


def test_agreement_is_said():
    shown = result()

    assert "= 9" in shown
    assert "1,234" in shown
    assert "Every line is accounted for" in shown
    assert "Rejected" not in shown


def test_disagreement_is_said():
    account = attrs.evolve(ACCOUNT, unique=8)

    shown = result(problems=("meta: its ledger counts 8",), account=account)

    assert "≠ 8" in shown
    assert "Not everything is accounted for" in shown
    assert "meta: its ledger counts 8" in shown
    assert "Every line" not in shown


def test_faults_are_counted_where_there_were_some():
    shown = result(account=attrs.evolve(ACCOUNT, faults=17, duplicates=5))

    assert "faults" in shown
    assert "17" in shown
    assert "faults" not in result()


def test_no_line_is_wider_than_a_terminal():
    shown = result(*(rejection(n) for n in range(20)), account=attrs.evolve(ACCOUNT, faults=17))
    console = paper()
    show_intro(console, 1000, "http://127.0.0.1:54321", 0.2)
    show_next(console, None)

    assert max(map(len, (shown + text(console)).splitlines())) <= 80


def test_an_empty_run_divides_by_nothing():
    tally = Tally(1, ["meta"])
    console = paper()

    show_result(console, tally, Audit(accounts=(ACCOUNT,), rejections=(), problems=()))

    assert "0 a second" in text(console)


def test_a_kept_outbox_is_named_with_what_to_do_with_it():
    console = paper()

    show_next(console, Path("/somewhere/outbox.db"))

    assert "export ANYTRACK_OUTBOX=/somewhere/outbox.db" in text(console)
    assert "dead-letters" in text(console)


def test_markup_in_what_a_service_said_is_text():
    assert "[red]boo[/red]" in result(rejection(1, "[red]boo[/red]"))
