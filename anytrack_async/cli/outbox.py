"""`anytrack outbox`: dead letters, and sending them again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.output import grid, screen, write_json
from anytrack_async.cli.stored import opened, outbox_path
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import DeadLetter
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

outbox = typer.Typer(
    name="outbox", no_args_is_help=True, help="Look after the outbox that ANYTRACK_OUTBOX names."
)


@outbox.command("dead-letters")
def dead_letters(
    destination: Annotated[str | None, typer.Argument(help="Of one only.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the conversions that a destination will never take, each with its reason."""
    letters = anyio.run(_letters, outbox_path(), destination, limit)
    if as_json:
        write_json([_record(letter) for letter in letters])
    elif letters:
        screen(wide=True).print(_table(letters))
        if len(letters) == limit:
            screen().print(f"the first {limit}; see more with --limit")
    else:
        screen().print("no dead letters")


@outbox.command("replay")
def replay(
    destination: Annotated[str, typer.Argument(help="Whose dead letters.")],
    event_ids: Annotated[list[str] | None, typer.Argument(help="Only these.")] = None,
) -> None:
    """Send dead letters again: all of DESTINATION, or those of some event ids.

    They become due at once; a client that has this outbox open, or the next one, sends them.
    """
    count = anyio.run(_replay, outbox_path(), destination, event_ids or None)
    screen().print(f"{count} due again at {destination}; the next client that is open sends them")


async def _letters(path: Path, destination: str | None, limit: int) -> Sequence[DeadLetter]:
    async with opened(path) as box:
        if destination is not None:
            await _check(box, destination)
        return await box.dead_letters(destination, limit=limit)


async def _replay(path: Path, destination: str, event_ids: Sequence[str] | None) -> int:
    async with opened(path) as box:
        await _check(box, destination)
        return await box.replay(destination, event_ids)


async def _check(box: SQLiteOutbox, destination: str) -> None:
    known = await box.destinations()
    if destination not in known:
        there = ", ".join(known) or "none"
        raise ConfigurationError(f"the outbox has no destination {destination!r}; it has: {there}")


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = grid("destination", "event id", ">attempts", "reason")
    for one in letters:
        event_id = Text(one.conversion.event_id)
        table.add_row(Text(one.destination), event_id, str(one.attempts), Text(one.error))
    return table


def _record(one: DeadLetter) -> dict[str, Any]:
    return {
        "destination": one.destination,
        "event_id": one.conversion.event_id,
        "attempts": one.attempts,
        "error": one.error,
        "code": one.code,
        "died_at": one.died_at,
    }
