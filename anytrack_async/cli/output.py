"""Writing to people and to programs: consoles, outcomes, JSON."""

from __future__ import annotations

import io
import sys
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytrack_async.models.outcome import Outcome, Status

GOOD = "green"
BAD = "bold red"
NOTE = "yellow"
FAINT = "dim"

_WIDE = 1_000
_STYLES = {Status.DELIVERED: GOOD, Status.WAITING: NOTE, Status.RETRY: NOTE}


def screen(*, wide: bool = False) -> Console:
    """Return standard output; colours only where it is a terminal.

    Args:
        wide: no line breaks inside a table's row unless for people, so that programs can search.
    """
    console = Console(highlight=False)
    if wide and not console.is_terminal:
        console.width = _WIDE
    return console


def complain(message: str, *, label: str = "error") -> None:
    """Write *message* to standard error, as one line."""
    style = BAD if label == "error" else NOTE
    line = Text.assemble((f"{label}: ", style), " ".join(message.split()))
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def write_json(data: object) -> None:
    """Write *data* to standard output as UTF-8 JSON, whatever the terminal's encoding."""
    typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))


def grid(*columns: str) -> Table:
    """Return an empty table without lines; a column that starts with ``>`` is a number's."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=FAINT)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left")
    return table


def outcome_line(name: str, outcome: Outcome) -> Text:
    """Return one line on how a conversion stands with one destination."""
    line = Text.assemble(f"  {name:<10}", (str(outcome.status), _STYLES.get(outcome.status, BAD)))
    if outcome.remote_id:
        line.append(f"  id {outcome.remote_id}")
    if outcome.error and outcome.status is not Status.DELIVERED:
        line.append(f"  {outcome.error}")
    return line


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """Return *outcome* as JSON has it."""
    return {
        "status": str(outcome.status),
        "remote_id": outcome.remote_id,
        "attempts": outcome.attempts,
        "error": outcome.error,
        "code": outcome.code,
    }


def forgive_encoding() -> None:
    """Let a terminal that cannot write a character show a question mark instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
