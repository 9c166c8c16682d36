"""Standard output, standard error and exit codes; errors become one line, never a traceback."""

from __future__ import annotations

import io
import logging
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import orjson
import typer
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from anytrack_async.cli.help import show_values
from anytrack_async.errors import AnyTrackError, ConfigurationError, InvalidArgumentError
from anytrack_async.models.outcome import Outcome, Status

# Exit codes
FAILED = 1
MISUSED = 2
INTERRUPTED = 130

GOOD = "green"
BAD = "bold red"
NOTE = "yellow"
FAINT = "dim"

_WIDE = 1_000  # columns; rich breaks lines at 80 where there is no terminal
_STYLES = {Status.DELIVERED: GOOD, Status.WAITING: NOTE, Status.RETRY: NOTE, Status.SKIPPED: NOTE}


def stdout_console(*, wide: bool = False) -> Console:
    """Return a console for standard output; it uses colours only on a terminal.

    Args:
        wide: keep each table row on one line unless standard output is a terminal, so that programs
            can search the output.
    """
    console = Console(highlight=False)
    if wide and not console.is_terminal:
        console.width = _WIDE
    return console


_above: list[Console] = []
"""The console of the live display, if there is one."""


@contextmanager
def errors_above(console: Console) -> Iterator[None]:
    """Write errors and warnings above the live display of *console*, which they would damage."""
    _above.append(console)
    try:
        yield
    finally:
        _above.remove(console)


def write_error(message: str, *, label: str = "error") -> None:
    """Write *message* to standard error, as one line that starts with *label*."""
    style = BAD if label == "error" else NOTE
    line = Text.assemble((f"{label}: ", style), " ".join(message.split()))
    console = _above[-1] if _above else Console(stderr=True, highlight=False)
    console.print(line, soft_wrap=True)


def write_json(data: object) -> None:
    """Write *data* to standard output as UTF-8 JSON, whatever the terminal's encoding."""
    # As bytes: characters missing from the terminal's encoding would become question marks.
    typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))


def write_json_line(data: object) -> None:
    """Write *data* to standard output as one line of JSON in UTF-8."""
    typer.echo(orjson.dumps(data))


def make_table(*columns: str) -> Table:
    """Return an empty table without borders; ``>`` before a name aligns the column right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=FAINT)
    for column in columns:
        right = column.startswith(">")
        # On a narrow terminal, a number is better on two lines than cut off.
        justify: JustifyMethod = "right" if right else "left"
        table.add_column(column.lstrip(">"), justify=justify, overflow="fold")
    return table


def outcome_line(name: str, outcome: Outcome) -> Text:
    """Return a conversion's outcome at the destination *name* as one line."""
    line = Text.assemble(f"  {name:<10}", (str(outcome.status), _STYLES.get(outcome.status, BAD)))
    if outcome.remote_id:
        line.append(f"  id {outcome.remote_id}")
    if outcome.error and outcome.status is not Status.DELIVERED:
        line.append(f"  {outcome.error}")
    return line


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """Return *outcome* as a JSON object."""
    return {
        "status": str(outcome.status),
        "remote_id": outcome.remote_id,
        "attempts": outcome.attempts,
        "error": outcome.error,
        "code": outcome.code,
    }


def replace_unencodable() -> None:
    """Write a question mark for each character that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def sandbox_module() -> ModuleType:
    """Return `anytrack_async.sandbox`; if it is not installed, write how and exit with code 2."""
    # Imported when a command needs it: `anytrack track` works without the extra [sandbox].
    try:
        return import_module("anytrack_async.sandbox")
    except ImportError as exc:
        write_error(str(exc))
        raise typer.Exit(MISUSED) from None


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """A signal ended a command; its client is closed.

    Attributes:
        signal: the signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number

    @property
    def exit_code(self) -> int:
        """The exit code by which shells know the signal: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signal


class ErrorReporter(TyperGroup):
    """Runs a command and turns its exception into a message and an exit code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        show_values(self)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; write its error as one line and exit with the matching code."""
        with _WarningWriter():
            try:
                return super().invoke(ctx)
            except typer.BadParameter as exc:
                exc.message = _without_jargon(exc.message)
                raise  # typer adds the name of the argument, and how to use the command
            # These two are AnyTrackErrors, but exit with 2, not 1.
            except (ConfigurationError, InvalidArgumentError) as exc:
                write_error(str(exc))
                raise typer.Exit(MISUSED) from None
            except BrokenPipeError:
                raise  # the reader has closed the pipe; typer exits without a message
            except (AnyTrackError, OSError) as exc:
                write_error(str(exc))
                raise typer.Exit(FAILED) from None
            except Interrupted as exc:
                write_error("stopped", label="interrupted")
                raise typer.Exit(exc.exit_code) from None
            except KeyboardInterrupt:
                write_error("stopped", label="interrupted")
                raise typer.Exit(INTERRUPTED) from None


_JARGON = re.compile(r"^Value error, |, unable to parse \w+ as an? \w+$")


def _without_jargon(message: str) -> str:
    """Return typer's *message* about a value without the words of pydantic, which checks it."""
    return _JARGON.sub("", message).replace("Input should be", "it must be")


@contextmanager
def hide_warnings() -> Iterator[None]:
    """Hide the library's warnings, but not its errors."""
    # The demo's sample has invalid conversions on purpose; it would write a warning for each.
    logger = logging.getLogger("anytrack_async")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _WarningWriter(logging.Handler):
    """Writes the library's warnings as lines while a command runs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logger = logging.getLogger("anytrack_async")

    def __enter__(self) -> None:
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* to standard error, as one line."""
        write_error(record.getMessage(), label=record.levelname.lower())


def duration(seconds: float) -> str:
    """Return e.g. ``12 s``, ``3 min``, ``1 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
