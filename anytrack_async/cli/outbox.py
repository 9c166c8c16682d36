"""`anytrack stats` and `anytrack outbox`: backlogs and dead letters, from the outbox file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
import attrs
import typer
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.output import (
    BAD,
    FAILED,
    GOOD,
    NOTE,
    make_table,
    stdout_console,
    write_error,
    write_json,
)
from anytrack_async.client.config import MEMORY, OUTBOX_VARIABLE, keys_from_env
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Depth
from anytrack_async.outbox.dead_letters import DeadLetter
from anytrack_async.outbox.sqlite.files import file_path
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.verify import Verification

_SALVAGE = (
    "stop the programs that use the file, copy it with its -wal file, and salvage it: "
    "sqlite3 outbox.db .recover | sqlite3 new.db"
)

commands = typer.Typer(
    name="outbox",
    no_args_is_help=True,
    help="The outbox that ANYTRACK_OUTBOX names: its dead letters, its state, its keys.",
)


@commands.command("dead-letters")
def dead_letters(
    destination: Annotated[
        str | None, typer.Argument(help="Show only this destination's dead letters.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Show the conversions that a destination rejected for good, each with the reason."""
    letters = anyio.run(_read_dead_letters, outbox_path(), destination, limit)
    if as_json:
        write_json([_record(letter) for letter in letters])
    elif letters:
        stdout_console(wide=True).print(_table(letters))
        # If the page is full, there may be more.
        if len(letters) == limit:
            stdout_console().print(f"showing the first {limit}; see more with --limit")
    else:
        stdout_console().print("no dead letters")


@commands.command("replay")
def replay(
    destination: Annotated[str, typer.Argument(help="Destination that rejected the conversions.")],
    event_ids: Annotated[
        list[str] | None, typer.Argument(help="Event ids to send again; default: all.")
    ] = None,
) -> None:
    """Send dead letters again: all of DESTINATION, or only the given event ids.

    The client that has this outbox open sends them at once; without one, the next client does.
    """
    count = anyio.run(_replay, outbox_path(), destination, event_ids or None)
    advice = "; the client that has the outbox open, or the next client, sends them"
    message = f"{count} due again at {destination}{advice if count else ''}"
    stdout_console().print(message, soft_wrap=True)


@commands.command("verify")
def verify(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Check the outbox file: is it intact, and is every accepted conversion accounted for?

    Reads every record. Exits with 1 if a problem was found.
    """
    result = anyio.run(_verify, outbox_path())
    if as_json:
        accounts = {name: attrs.asdict(account) for name, account in result.accounts.items()}
        write_json({"accounts": accounts, "problems": list(result.problems)})
    else:
        table = make_table(
            *("destination", ">accepted", ">delivered", ">waiting", ">dead", ">discarded")
        )
        for name, account in result.accounts.items():
            table.add_row(Text(name), *map(str, attrs.astuple(account)))
        stdout_console(wide=True).print(table)
        for problem in result.problems:
            write_error(problem)
        if result.is_intact:
            stdout_console().print("the file is intact")
        else:
            write_error(_SALVAGE, label="note")
    if not result.is_intact:
        raise typer.Exit(FAILED)


async def _verify(path: Path) -> Verification:
    async with open_outbox(path) as outbox:
        return await outbox.verify()


async def _read_dead_letters(
    path: Path, destination: str | None, limit: int
) -> Sequence[DeadLetter]:
    async with open_outbox(path) as outbox:
        if destination is not None:
            await _check(outbox, destination)
        return await outbox.dead_letters(destination, limit=limit)


async def _replay(path: Path, destination: str, event_ids: Sequence[str] | None) -> int:
    async with open_outbox(path) as outbox:
        # A misspelt destination has no dead letters: replaying none would look like success.
        await _check(outbox, destination)
        return await outbox.replay(destination, event_ids)


async def _check(outbox: SQLiteOutbox, destination: str) -> None:
    names = await outbox.destinations()
    if destination not in names:
        raise ConfigurationError(
            f"the outbox has no destination {destination!r}; it has: {', '.join(names) or 'none'}"
        )


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = make_table("destination", "event id", ">attempts", "reason")
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


# Stats

Depths = Mapping[str, Depth]


def stats(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Show each destination's backlog in the outbox that ANYTRACK_OUTBOX names.

    Sends nothing and changes nothing; another process may have the outbox open.
    """
    path = outbox_path()
    depths = anyio.run(_depths, path)
    if as_json:
        write_json({"outbox": str(path), "destinations": _depth_records(depths)})
        return
    stdout_console().print(Text(f"outbox {path}"), soft_wrap=True)
    console = stdout_console(wide=True)
    console.print(_depth_table(depths) if depths else "no destination has used this outbox yet")


async def _depths(path: Path) -> Depths:
    async with open_outbox(path) as outbox:
        return await outbox.depths()


def _depth_records(depths: Depths) -> dict[str, dict[str, int]]:
    counts = attrs.filters.exclude("waiting_bytes")  # an outbox on disk does not limit them
    return {name: attrs.asdict(depth, filter=counts) for name, depth in depths.items()}


def _depth_table(depths: Depths) -> Table:
    table = make_table("destination", ">waiting", ">in flight", ">retrying", ">dead", "")
    for name, depth in depths.items():
        numbers = (depth.waiting, depth.in_flight, depth.retrying, depth.dead)
        table.add_row(Text(name), *map(str, numbers), _remark(depth))
    return table


def _remark(depth: Depth) -> Text:
    if depth.dead:
        return Text("see: anytrack outbox dead-letters", BAD)
    return Text("not all delivered yet", NOTE) if depth.waiting else Text("all delivered", GOOD)


# The file


def outbox_path(value: str | None = None) -> Path:
    """Return the path of the outbox file: *value*, or what ``ANYTRACK_OUTBOX`` has.

    Raises:
        ConfigurationError: the variable is not set, or names no file.
    """
    value = value or os.environ.get(OUTBOX_VARIABLE)
    if not value or value == MEMORY:
        raise ConfigurationError(
            f"set {OUTBOX_VARIABLE} to the path of an outbox file; without it, conversions wait in "
            "the memory of the program that tracks them, where no other program can see them"
        )
    path = file_path(value)
    if not path.is_file():
        raise ConfigurationError(
            f"{OUTBOX_VARIABLE} names {value}, which does not exist; the first client that uses it "
            "creates it"
        )
    return path


@asynccontextmanager
async def open_outbox(path: Path) -> AsyncIterator[SQLiteOutbox]:
    """Open the outbox at *path* without lanes: no destination is added, nothing is sent."""
    outbox = SQLiteOutbox(path, keys=keys_from_env())
    await outbox.open([])
    try:
        yield outbox
    finally:
        await outbox.aclose()
