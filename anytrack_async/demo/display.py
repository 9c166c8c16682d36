"""The demo's output: progress while it runs, then the rejections and the counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Event, Thread

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from anytrack_async.demo.audit import Audit, Rejection, ServiceCounts, ServiceTally, Tally

GOOD = "green"
BAD = "bold red"
NOTE = "yellow"
FAINT = "dim"

_BAR_WIDTH = 26
_MAX_NAMED = 12
_MAX_REASON = 120
_INTRO = """\
  AnyTrack, Meta and HubSpot are stand-ins on {url};
  nothing leaves this machine. Each conversion is stored in an outbox on disk
  first, and then delivered to each service independently of the others.
  Some lines of the sample are invalid on purpose.
"""
_NEXT_STEPS = """\
  anytrack demo --console      the same, and then its deliveries in a browser
  anytrack demo --faults 0.2   the same, while a fifth of the requests fail
  anytrack sandbox             the three stand-ins, to test your own code with
  https://anytrack-async.readthedocs.io/en/latest/start/web-app/
                               how to track conversions from your own code
"""


# While it runs


@contextmanager
def show_progress(console: Console, tally: Tally, *, interval: float = 1.0) -> Iterator[None]:
    """Show *tally* while the block runs: bars on a terminal, else a line every *interval* s.

    A thread of its own prints, so that the event loop is not delayed.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(
            get_renderable=lambda: progress_bars(tally), console=console, refresh_per_second=12
        ):
            yield
        return
    stop = Event()
    thread = Thread(target=_print_lines, args=(console, tally, stop, interval), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _print_lines(console: Console, tally: Tally, stop: Event, interval: float) -> None:
    while not stop.wait(interval):
        console.print(_progress_line(tally))
    console.print(_progress_line(tally))


def _progress_line(tally: Tally) -> Text:
    parts = [f"{name} {len(service.delivered)}" for name, service in tally.services.items()]
    return Text(f"  {tally.lines} of {tally.size} lines read, delivered: {', '.join(parts)}")


def progress_bars(tally: Tally) -> Table:
    """Return one bar for the lines read, and one for each service."""
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "  file",
        _bar(tally.lines, tally.size),
        Text(f"{tally.lines:>5}"),
        Text(f"of {tally.size} lines read", FAINT),
    )
    # How many conversions the file has is known only at its end: invalid and repeated lines are
    # not sent.
    total = tally.size if tally.lines < tally.size else max(tally.accepted, 1)
    for name, service in tally.services.items():
        table.add_row(
            f"  {name}",
            _bar(len(service.delivered) + service.dead, total),
            Text(f"{len(service.delivered):>5}", GOOD),
            _remarks(service),
        )
    return table


def _bar(completed: int, total: int) -> ProgressBar:
    return ProgressBar(
        total,
        completed,
        width=_BAR_WIDTH,
        complete_style="cyan",
        finished_style=GOOD,
        style="bright_black",
    )


def _remarks(service: ServiceTally) -> Text:
    text = Text("delivered", FAINT)
    if service.dead:
        text.append(f" · {service.dead} rejected", BAD)
    if service.retried:
        text.append(f" · {service.retried} retried", NOTE)
    if service.state:
        text.append(f" · {service.state}", NOTE)
    return text


# Before and after


def show_intro(console: Console, size: int, url: str, faults: float) -> None:
    """Print the title, the addresses of the stand-ins and the rate of faults."""
    console.print(Text(f"{size:,} made-up conversions to three services at once", "bold"))
    console.print(_INTRO.format(url=url), end="", soft_wrap=True)
    if faults:
        console.print(
            f"  {faults:.0%} of all requests go wrong on purpose: errors, resets, lost responses."
        )
    console.print()


def show_result(console: Console, tally: Tally, audit: Audit) -> None:
    """Print the rejections, the counts of every service, and whether all of it adds up."""
    if audit.rejections:
        console.print()
        console.print("Rejected, with the reason of each", style="bold")
        console.print(_rejection_table(audit.rejections))
    console.print()
    console.print("Our count beside that of each service", style="bold")
    console.print(_service_table(audit.services))
    console.print()
    _print_summary(console, tally, audit)
    _print_conclusion(console, audit)


def show_next_steps(console: Console, outbox: Path | None) -> None:
    """Print some commands to try next; *outbox* is the file that was kept, if any."""
    console.print()
    console.print("Next", style="bold")
    if outbox:
        console.print(Text(f"  export ANYTRACK_OUTBOX={outbox}"), soft_wrap=True)
        console.print("  anytrack outbox dead         the rejected conversions, and the reasons")
    console.print(_NEXT_STEPS, end="", soft_wrap=True)


def _rejection_table(rejections: Iterable[Rejection]) -> Table:
    table = Table.grid(padding=(0, 2))
    groups: dict[tuple[str, str], list[Rejection]] = {}
    for rejection in rejections:
        groups.setdefault((rejection.rejected_by, rejection.reason), []).append(rejection)
    previous = ""
    for (rejected_by, reason), group in groups.items():
        details = Text.assemble(_shorten(reason), "\n", (_names(group), FAINT))
        table.add_row(Text(f"  {rejected_by}" if rejected_by != previous else ""), details)
        previous = rejected_by
    return table


def _names(group: list[Rejection]) -> str:
    more = len(group) - _MAX_NAMED
    names = ", ".join(map(_name, islice(group, _MAX_NAMED)))
    return names + (f" and {more} more" if more > 0 else "")


def _name(rejection: Rejection) -> str:
    noun = "line" if len(rejection.lines) == 1 else "lines"
    event_id = f" {rejection.event_id}" if rejection.event_id else ""
    return f"{noun} {' and '.join(map(str, rejection.lines))}{event_id}"


def _shorten(reason: str) -> str:
    return reason if len(reason) <= _MAX_REASON else reason[: _MAX_REASON - 1] + "…"


def _service_table(services: Sequence[ServiceCounts]) -> Table:
    with_faults = any(counts.faults for counts in services)
    names = ["delivered", "its ledger", "rejected", "requests", "per s"]
    names += ["faults", "repeats"] if with_faults else []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=FAINT)
    table.add_column("  service")
    for name in names:
        table.add_column(name, justify="right")
    for counts in services:
        extra = (str(counts.faults), str(counts.duplicates)) if with_faults else ()
        table.add_row(*_row(counts), *extra)
    return table


def _row(counts: ServiceCounts) -> tuple[Text, ...]:
    agrees = counts.delivered == counts.unique
    return (
        Text(f"  {counts.name}"),
        Text(str(counts.delivered), GOOD),
        Text(f"{'=' if agrees else '≠'} {counts.unique}", GOOD if agrees else BAD),
        Text(str(counts.dead)),
        Text(str(counts.requests)),
        Text(f"{counts.rate:,.0f}"),
    )


def _print_summary(console: Console, tally: Tally, audit: Audit) -> None:
    deliveries = sum(counts.delivered for counts in audit.services)
    rate = deliveries / tally.seconds if tally.seconds else 0.0
    console.print(
        f"{tally.size:,} lines: {tally.accepted:,} conversions; repeats, not sent again: "
        f"{tally.repeats:,}; contradictions: {len(tally.contradictions):,}; unreadable: "
        f"{len(tally.invalid):,}.\n"
        f"{deliveries:,} deliveries in {tally.seconds:.1f} s, {rate:,.0f} a second."
    )
    for counts in audit.services:
        if counts.counted_again:
            console.print(
                f"{counts.name} counted {counts.counted_again:,} more: without an order id, its "
                "collect URL counts a conversion again that is sent again."
            )


def _print_conclusion(console: Console, audit: Audit) -> None:
    if not audit.problems:
        text = "Every line is accounted for, and every service's count agrees with ours."
        console.print(Text(text, f"bold {GOOD}"))
        return
    console.print(Text("Not everything is accounted for:", BAD))
    for problem in audit.problems:
        console.print(Text(f"  {problem}"), soft_wrap=True)
