"""`anytrack stats` and `anytrack outbox`: backlogs and dead letters, from the outbox itself."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import attrs
import typer
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.database import verify_database
from anytrack_async.cli.output import (
    BAD,
    FAILED,
    GOOD,
    NOTE,
    duration,
    make_table,
    stdout_console,
    write_error,
    write_json,
)
from anytrack_async.cli.selection import OutboxOption, check_destination, required_seconds
from anytrack_async.client.config import OUTBOX_VARIABLE, keys_from_env
from anytrack_async.client.locations import MEMORY, OutboxLocation
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Depth, Outbox
from anytrack_async.outbox.capabilities import oldest_ages
from anytrack_async.outbox.dead_letters import DeadLetterFilter
from anytrack_async.outbox.pauses import Pause, read_pauses, save_pause
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.verify import Verification
from anytrack_async.outbox.sqlite.write_ahead_log import wal_reset_warning
from anytrack_async.settings.delivery import DeliverySettings

_SALVAGE = (
    "stop the programs that use the file, copy it with its -wal file, and salvage it: "
    "sqlite3 outbox.db .recover | sqlite3 new.db"
)

commands = typer.Typer(
    name="outbox",
    no_args_is_help=True,
    help="The outbox: its dead letters, its state, its destinations, its keys.",
)


@commands.command("verify")
def verify(
    outbox: OutboxOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Check the outbox: is it intact, and is every accepted conversion accounted for?

    Reads every record. In PostgreSQL, also checks that the schema is of this
    release and that the role can use it. Exits with 1 if a problem was found.
    """
    location = outbox_location(outbox)
    result = anyio.run(verify_database if location.is_database else _verify, location)
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
        _show_version_warning(location)
        if result.is_intact:
            stdout_console().print(f"the {'outbox' if location.is_database else 'file'} is intact")
        elif not location.is_database:
            write_error(_SALVAGE, label="note")
    if not result.is_intact:
        raise typer.Exit(FAILED)


def _show_version_warning(location: OutboxLocation) -> None:
    if not location.is_database and (warning := wal_reset_warning()):
        write_error(warning, label="note")


@commands.command("vacuum")
def vacuum(outbox: OutboxOption = None) -> None:
    """Write the outbox file again, without unused space.

    First stop the programs that use the file. The command needs as much memory and disk space as
    the used part of the file. Only files of early releases need it: others shrink by themselves.
    """
    before, after = anyio.run(_vacuum, outbox_location(outbox))
    message = f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now"
    stdout_console().print(message, soft_wrap=True)


async def _vacuum(location: OutboxLocation) -> tuple[int, int]:
    async with open_file(location) as outbox:
        return await outbox.vacuum()


async def _verify(location: OutboxLocation) -> Verification:
    async with open_file(location) as outbox:
        return await outbox.verify()


@commands.command("prune")
def prune(
    dead_older_than: Annotated[
        str | None,
        typer.Option(
            help="Discard dead letters that are dead for longer.",
            metavar="30d|12h",
            show_default=False,
        ),
    ] = None,
    outbox: OutboxOption = None,
) -> None:
    """Drop conversions that every destination has, and with an option old dead letters.

    A client does the first every few seconds; ids are remembered for 30 days.
    """
    seconds = dead_older_than and required_seconds(dead_older_than, "--dead-older-than")
    dropped, discarded = anyio.run(_prune, outbox_location(outbox), seconds or None)
    text = f"{dropped} conversions dropped that every destination has"
    if seconds is not None:
        text = f"{discarded} dead letters discarded; {text}"
    stdout_console().print(text, soft_wrap=True)


async def _prune(location: OutboxLocation, seconds: float | None) -> tuple[int, int]:
    async with open_outbox(location) as outbox:
        discarded = 0
        if seconds is not None:
            where = DeadLetterFilter(min_age=seconds)
            discarded = await outbox.discard(None, where=where)
        return await outbox.prune(remember=DeliverySettings().remember), discarded


@commands.command("remove-destination")
def remove_destination(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The destination's name.")],
    outbox: OutboxOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a destination for good, with its waiting conversions and dead letters.

    Those of other destinations are kept. First stop the programs that still
    send there: a client with this destination would register it again as a
    new one. To erase a person's data, use `anytrack outbox forget`.
    """
    location = outbox_location(outbox)
    depth = anyio.run(_depth_of, location, name)
    counts = f"{depth.waiting:,} waiting conversions and {depth.dead:,} dead letters of {name}"
    if not yes:
        typer.confirm(f"Remove {counts} for good?", abort=True)
    anyio.run(_remove_destination, location, name)
    stdout_console().print(f"removed {counts}", markup=False, soft_wrap=True)


async def _depth_of(location: OutboxLocation, name: str) -> Depth:
    async with open_outbox(location) as outbox:
        await check_destination(outbox, name)
        return (await outbox.depths())[name]


async def _remove_destination(location: OutboxLocation, name: str) -> None:
    async with open_outbox(location) as outbox:
        await outbox.forget(name)
        await save_pause(outbox, name, None)


# Stats

Depths = Mapping[str, Depth]
Ages = Mapping[str, float]
Pauses = Mapping[str, Pause]


def stats(
    outbox: OutboxOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Show each destination's backlog in the outbox.

    Sends nothing and changes nothing; another process may have the outbox open.
    """
    location = outbox_location(outbox)
    depths, ages, pauses = anyio.run(_backlog, location)
    if as_json:
        records = _depth_records(depths, ages, pauses)
        write_json({"outbox": str(location), "destinations": records})
        return
    stdout_console().print(Text(f"outbox {location}"), soft_wrap=True)
    console = stdout_console(wide=True)
    table = _depth_table(depths, ages, outbox_option(outbox))
    for name, pause in pauses.items():
        stdout_console().print(
            f"{name}: {pause}, for {duration(max(0.0, time.time() - pause.since))}",
            markup=False,
            soft_wrap=True,
        )
    console.print(table if depths else "no destination has used this outbox yet")


async def _backlog(location: OutboxLocation) -> tuple[Depths, Ages, Pauses]:
    async with open_outbox(location) as outbox:
        depths = await outbox.depths()
        return depths, await oldest_ages(outbox), await read_pauses(outbox, depths)


def _depth_records(depths: Depths, ages: Ages, pauses: Pauses) -> dict[str, dict[str, Any]]:
    counts = attrs.filters.exclude("waiting_bytes")  # an outbox on disk does not limit them
    records = {
        name: attrs.asdict(depth, filter=counts) | {"oldest_age": ages.get(name)}
        for name, depth in depths.items()
    }
    for name, pause in pauses.items():
        records[name]["pause"] = attrs.asdict(pause, filter=attrs.filters.exclude("destination"))
    return records


def _depth_table(depths: Depths, ages: Ages, option: str) -> Table:
    table = make_table("destination", ">waiting", ">in flight", ">retrying", ">dead", ">oldest", "")
    for name, depth in depths.items():
        numbers = (depth.waiting, depth.in_flight, depth.retrying, depth.dead)
        oldest = duration(ages[name]) if name in ages else ""
        table.add_row(Text(name), *map(str, numbers), oldest, _remark(depth, option))
    return table


def _remark(depth: Depth, option: str) -> Text:
    if depth.dead:
        return Text(f"see: anytrack outbox dead{option}", BAD)
    return Text("not all delivered yet", NOTE) if depth.waiting else Text("all delivered", GOOD)


# Where it is


def outbox_location(value: str | None = None) -> OutboxLocation:
    """Return the location of the outbox: *value*, or the value of ``ANYTRACK_OUTBOX``.

    Raises:
        ConfigurationError: the variable is not set, or there is no such file.
    """
    source = "--outbox" if value else OUTBOX_VARIABLE
    value = value or os.environ.get(OUTBOX_VARIABLE)
    if not value or value == MEMORY:
        raise ConfigurationError(
            f"name an outbox: set {OUTBOX_VARIABLE}, or use --outbox, each with the path of a file "
            "or postgresql://…; without one, conversions wait in the memory of the program that "
            "tracks them, where no other program can see them"
        )
    location = OutboxLocation(value)
    if problem := location.problem:
        raise ConfigurationError(f"{source} names {location}, which {problem}")
    return location


def outbox_option(value: str | None) -> str:
    """Return the option ``--outbox`` for a command in a message, with a space in front.

    Empty if *value* is None, since ``ANYTRACK_OUTBOX`` then names the outbox. The password of a
    database is not shown.
    """
    return f" --outbox {shlex.quote(str(OutboxLocation(value)))}" if value else ""


@asynccontextmanager
async def open_outbox(location: OutboxLocation) -> AsyncIterator[Outbox]:
    """Open the outbox at *location* without lanes: nothing is sent, and nothing is created.

    Raises:
        SchemaVersionError: the database has no outbox in the schema, or one of another release.
    """
    outbox = location.outbox(keys_from_env(), os.environ, create=False)
    await outbox.open([])
    try:
        yield outbox
    finally:
        await outbox.aclose()


@asynccontextmanager
async def open_file(location: OutboxLocation) -> AsyncIterator[SQLiteOutbox]:
    """Open an outbox file like `open_outbox`, for commands that work with files only.

    Raises:
        ConfigurationError: the outbox is in a database.
    """
    outbox = SQLiteOutbox(location.path, keys=keys_from_env())
    await outbox.open([])
    try:
        yield outbox
    finally:
        await outbox.aclose()
