"""What is seen while the demo runs: bars on a terminal, a line a second elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.demo.tally import Service, Tally
from anytrack_async.cli.output import BAD, FAINT, GOOD, NOTE

_BAR = 26


@contextmanager
def showing(console: Console, tally: Tally, *, every: float = 1.0) -> Iterator[None]:
    """Show *tally* on *console* for as long as the block runs, from a thread of its own.

    Args:
        console: where to.
        tally: what to show.
        every: seconds between two lines where there is no terminal.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(get_renderable=lambda: bars(tally), console=console, refresh_per_second=12):
            yield
        return
    over = Event()
    thread = Thread(target=_tell, args=(console, tally, over, every), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _tell(console: Console, tally: Tally, over: Event, every: float) -> None:
    while not over.wait(every):
        console.print(line(tally))
    console.print(line(tally))


def line(tally: Tally) -> Text:
    """Return *tally* on one line."""
    parts = [f"{name} {len(one.delivered)}" for name, one in tally.services.items()]
    return Text(f"  {tally.lines} of {tally.size} lines read, delivered: {', '.join(parts)}")


def bars(tally: Tally) -> Table:
    """Return *tally* as a bar for what was read and one per service."""
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "  file",
        _bar(tally.lines, tally.size),
        Text(f"{tally.lines:>5}"),
        Text(f"of {tally.size} lines read", FAINT),
    )
    reading = tally.lines < tally.size
    for name, service in tally.services.items():
        total = tally.size if reading else max(tally.accepted, 1)
        done = len(service.delivered) + service.dead
        table.add_row(
            f"  {name}",
            _bar(done, total),
            Text(f"{len(service.delivered):>5}", GOOD),
            _remarks(service),
        )
    return table


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(
        total, done, width=_BAR, complete_style="cyan", finished_style=GOOD, style="bright_black"
    )


def _remarks(service: Service) -> Text:
    text = Text("delivered", FAINT)
    if service.dead:
        text.append(f" · {service.dead} rejected", BAD)
    if service.retried:
        text.append(f" · {service.retried} tried again", NOTE)
    if service.state:
        text.append(f" · {service.state}", NOTE)
    return text
