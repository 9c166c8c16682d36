"""What is seen when the demo is over: the count, who refused what and why, the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.demo.audit import Account, Audit, Rejection
from anytrack_async.cli.demo.tally import Tally
from anytrack_async.cli.output import BAD, FAINT, GOOD, grid

_MOST = 12
_LONGEST = 120
_INTRO = """\
  AnyTrack, Meta and HubSpot are stand-ins on {url};
  nothing leaves this machine. Each conversion is first written into an outbox
  on disk; then every service works through that record at its own pace.
  Some lines of the file are bad on purpose.
"""
_NEXT = """\
  anytrack demo --faults 0.2   the same, with every fifth request failing
  anytrack sandbox             the three services, to try your own code against
  README.md                    tracking from your own code, in ten lines
"""


def show_intro(console: Console, size: int, url: str, faults: float) -> None:
    """Say what is about to happen."""
    console.print(Text(f"{size:,} made-up conversions to three services at once", "bold"))
    console.print(_INTRO.format(url=url), end="", soft_wrap=True)
    if faults:
        console.print(
            f"  {faults:.0%} of all requests go wrong on purpose: errors, resets, lost answers."
        )
    console.print()


def show_result(console: Console, tally: Tally, audit: Audit) -> None:
    """Show what came of every line."""
    if audit.rejections:
        console.print()
        console.print("Rejected, with the reason of each", style="bold")
        console.print(_rejected(audit.rejections))
    console.print()
    console.print("Our count beside that of each service", style="bold")
    console.print(_services(audit.accounts))
    console.print()
    _summary(console, tally, audit)
    _verdict(console, audit)


def show_next(console: Console, outbox: Path | None) -> None:
    """Say where to go from here."""
    console.print()
    console.print("Next", style="bold")
    if outbox:
        console.print(Text(f"  export ANYTRACK_OUTBOX={outbox}"), soft_wrap=True)
        console.print("  anytrack outbox dead-letters what was refused, and why")
    console.print(_NEXT, end="", soft_wrap=True)


def _rejected(rejections: Iterable[Rejection]) -> Table:
    table = Table.grid(padding=(0, 2))
    groups: dict[tuple[str, str], list[Rejection]] = {}
    for one in rejections:
        groups.setdefault((one.where, one.reason), []).append(one)
    shown = ""
    for (where, reason), group in groups.items():
        why = Text.assemble(_brief(reason), "\n", (_names(group), FAINT))
        table.add_row(Text(f"  {where}" if where != shown else ""), why)
        shown = where
    return table


def _names(group: list[Rejection]) -> str:
    more = len(group) - _MOST
    names = ", ".join(map(_name, islice(group, _MOST)))
    return names + (f" and {more} more" if more > 0 else "")


def _name(one: Rejection) -> str:
    lines = "line" if len(one.lines) == 1 else "lines"
    event_id = f" {one.event_id}" if one.event_id else ""
    return f"{lines} {' and '.join(map(str, one.lines))}{event_id}"


def _brief(reason: str) -> str:
    return reason if len(reason) <= _LONGEST else reason[: _LONGEST - 1] + "…"


def _services(accounts: Sequence[Account]) -> Table:
    faulty = any(one.faults for one in accounts)
    names = ["delivered", "its ledger", "rejected", "requests", "per s"]
    names += ["faults", "repeats"] if faulty else []
    table = grid("  service", *(f">{name}" for name in names))
    for one in accounts:
        extra = (str(one.faults), str(one.duplicates)) if faulty else ()
        table.add_row(*_row(one), *extra)
    return table


def _row(one: Account) -> tuple[Text, ...]:
    same = one.delivered == one.unique
    return (
        Text(f"  {one.name}"),
        Text(str(one.delivered), GOOD),
        Text(f"{'=' if same else '≠'} {one.unique}", GOOD if same else BAD),
        Text(str(one.dead)),
        Text(str(one.requests)),
        Text(f"{one.rate:,.0f}"),
    )


def _summary(console: Console, tally: Tally, audit: Audit) -> None:
    deliveries = sum(one.delivered for one in audit.accounts)
    rate = deliveries / tally.seconds if tally.seconds else 0.0
    console.print(
        f"{tally.size:,} lines: {tally.accepted:,} conversions; {tally.repeats:,} lines repeated "
        f"one, and were sent once;\n{len(tally.conflicts):,} contradicted one; "
        f"{len(tally.faults):,} could not be read.\n"
        f"{deliveries:,} deliveries in {tally.seconds:.1f} s, {rate:,.0f} a second."
    )


def _verdict(console: Console, audit: Audit) -> None:
    if not audit.problems:
        text = "Every line is accounted for, and every service counted what we counted."
        console.print(Text(text, f"bold {GOOD}"))
        return
    console.print(Text("Not everything is accounted for:", BAD))
    for problem in audit.problems:
        console.print(Text(f"  {problem}"), soft_wrap=True)
