"""`anytrack outbox`: show dead letters and send them again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.output import grid, screen, write_json
from anytrack_async.client.config import OUTBOX
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import DeadLetter
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

commands = typer.Typer(
    name="outbox",
    no_args_is_help=True,
    help="Dead letters in the outbox that ANYTRACK_OUTBOX names.",
)


@commands.command("dead-letters")
def dead_letters(
    destination: Annotated[str | None, typer.Argument(help="Only of this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the conversions that a destination rejected for good, each with the reason."""
    letters = anyio.run(_letters, outbox_path(), destination, limit)
    if as_json:
        write_json([_record(letter) for letter in letters])
    elif letters:
        screen(wide=True).print(_table(letters))
        # Exactly as many as asked for: there may be more.
        if len(letters) == limit:
            screen().print(f"the first {limit}; see more with --limit")
    else:
        screen().print("no dead letters")


@commands.command("replay")
def replay(
    destination: Annotated[str, typer.Argument(help="The one that rejected them.")],
    event_ids: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
) -> None:
    """Send dead letters again: all of DESTINATION, or only the given event ids.

    They become due at once; the client that has this outbox open sends them, or the next one.
    """
    count = anyio.run(_replay, outbox_path(), destination, event_ids or None)
    screen().print(f"{count} due again at {destination}; the next open client sends them")


async def _letters(path: Path, destination: str | None, limit: int) -> Sequence[DeadLetter]:
    async with opened(path) as outbox:
        if destination is not None:
            await _check(outbox, destination)
        return await outbox.dead_letters(destination, limit=limit)


async def _replay(path: Path, destination: str, event_ids: Sequence[str] | None) -> int:
    async with opened(path) as outbox:
        # Replaying at a misspelt destination would replay nothing, and look like success.
        await _check(outbox, destination)
        return await outbox.replay(destination, event_ids)


async def _check(outbox: SQLiteOutbox, destination: str) -> None:
    names = await outbox.destinations()
    if destination not in names:
        raise ConfigurationError(
            f"the outbox has no destination {destination!r}; it has: {', '.join(names) or 'none'}"
        )


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = grid("destination", "event id", ">attempts", "reason")
    for letter in letters:
        event_id = Text(letter.conversion.event_id)
        table.add_row(Text(letter.destination), event_id, str(letter.attempts), Text(letter.error))
    return table


def _record(letter: DeadLetter) -> dict[str, Any]:
    return {
        "destination": letter.destination,
        "event_id": letter.conversion.event_id,
        "attempts": letter.attempts,
        "error": letter.error,
        "code": letter.code,
        "died_at": letter.died_at,
    }


def outbox_path() -> Path:
    """Return the path in ``ANYTRACK_OUTBOX``.

    Raises:
        ConfigurationError: it is not set, or there is no file.
    """
    value = os.environ.get(OUTBOX)
    if not value:
        raise ConfigurationError(
            f"set {OUTBOX} to the path of an outbox file; without it, conversions wait in the "
            "memory of the program that tracks them, where no other program can see them"
        )
    path = Path(value)
    if not path.is_file():
        raise ConfigurationError(
            f"{OUTBOX} names {value}, which does not exist; the first client to use it creates it"
        )
    return path


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SQLiteOutbox]:
    """Open the outbox at *path* without lanes: no destination is added, nothing is sent."""
    outbox = SQLiteOutbox(path)
    await outbox.open([])
    try:
        yield outbox
    finally:
        await outbox.aclose()
