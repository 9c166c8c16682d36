"""`anytrack deliver`: delivers the conversions of an outbox, in a process of its own.

Several such processes, and applications, may share an outbox: only one of them sends each
conversion.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Annotated

import anyio
import typer

from anytrack_async.cli.database import check_outbox_in
from anytrack_async.cli.outbox import outbox_location
from anytrack_async.cli.output import NOTE, Interrupted, stdout_console, write_error
from anytrack_async.cli.selection import OutboxOption
from anytrack_async.cli.signals import interruptible
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.locations import OutboxLocation
from anytrack_async.client.stats import DestinationStats
from anytrack_async.delivery.flow import LaneState

# Exit codes with --until-empty
_HAS_DEAD_LETTERS = 3
_STILL_WAITING = 4
_NEEDS_OPERATOR = 5

_LOOK_EVERY = 0.2  # seconds
_PRINT_EVERY = 1.0  # seconds, at most, and only after a change
_STOPPED = (LaneState.HELD, LaneState.PAUSED)  # until an operator does something
_FINISHING = 10.0  # seconds in which requests in flight may end after --for

Destinations = Mapping[str, DestinationStats]


def deliver(
    outbox: OutboxOption = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing is left to deliver.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0.0, help="End after so many seconds.")
    ] = None,
) -> None:
    """Deliver the conversions in an outbox, until Ctrl-C or SIGTERM.

    The destinations are those that the environment configures. Several
    processes may work off one outbox at once, in PostgreSQL also on several
    machines; they share the work. The outbox must exist: a program that
    tracks creates it, or anytrack outbox migrate does in PostgreSQL.

    Exit codes: 0 ended as asked; with --until-empty: 0 everything is
    delivered, 3 some conversions are dead letters, 4 some still wait,
    5 a destination is paused or needs an operator, e.g. new credentials.
    """
    location = outbox_location(outbox)
    progress = _Progress()
    try:
        anyio.run(_deliver, location, progress, until_empty, seconds)
    except Interrupted as exc:
        if exc.signal != signal.SIGTERM:
            raise
        write_error("stopped by SIGTERM", label="note")
    finally:
        progress.print_now()
    if until_empty and (code := _exit_code(progress.destinations)):
        raise typer.Exit(code)


async def _deliver(
    location: OutboxLocation, progress: _Progress, until_empty: bool, seconds: float | None
) -> None:
    client = AnyTrackClient.from_env(outbox=location)
    if location.is_database:  # else a mistyped name of a schema would be an empty outbox
        await check_outbox_in(location)
    stdout_console().print(f"delivering from {location}", markup=False, soft_wrap=True)
    async with interruptible(client, str(location)):
        with anyio.move_on_after(seconds):
            while True:
                stats = await client.stats()
                progress.update(stats.destinations)
                if until_empty and _has_ended(stats.destinations):
                    break
                await anyio.sleep(_LOOK_EVERY)
        progress.destinations = (await client.stats()).destinations
        client.limit_drain(_FINISHING)


def _has_ended(destinations: Destinations) -> bool:
    """Return whether each destination has everything, or needs an operator."""
    return all(
        not stats.waiting or stats.state in (None, *_STOPPED) for stats in destinations.values()
    )


def _exit_code(destinations: Destinations) -> int:
    waiting = [stats for stats in destinations.values() if stats.waiting]
    if any(stats.state in _STOPPED for stats in waiting):
        return _NEEDS_OPERATOR
    if waiting:
        return _STILL_WAITING
    return _HAS_DEAD_LETTERS if any(stats.dead for stats in destinations.values()) else 0


class _Progress:
    """Prints a line when the counts have changed, once a second at most.

    Attributes:
        destinations: destination → its latest counts.
    """

    def __init__(self) -> None:
        self.destinations: Destinations = {}
        self._console = stdout_console()
        self._printed = ""
        self._print_at = 0.0

    def update(self, destinations: Destinations) -> None:
        """Take note of the counts; print them if a second has passed since the last line."""
        self.destinations = destinations
        if time.monotonic() >= self._print_at:
            self.print_now()

    def print_now(self) -> None:
        """Print the counts, if they have changed since the last line."""
        line = " · ".join(_counts(name, stats) for name, stats in self.destinations.items())
        if line != self._printed:
            self._printed, self._print_at = line, time.monotonic() + _PRINT_EVERY
            style = NOTE if _exit_code(self.destinations) == _NEEDS_OPERATOR else None
            self._console.print(line, style=style, markup=False, soft_wrap=True)


def _counts(name: str, stats: DestinationStats) -> str:
    """Return e.g. ``meta: 120 delivered, 30 waiting (held)``."""
    state = "not configured here" if stats.state is None else str(stats.state)
    remark = "" if stats.state is LaneState.RUNNING else f" ({state})"
    dead = f", {stats.dead:,} dead" if stats.dead else ""
    return f"{name}: {stats.delivered:,} delivered, {stats.waiting:,} waiting{dead}{remark}"
