"""`anytrack outbox migrate`, `copy` and `verify` for an outbox in PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import anyio
import attrs
import typer

from anytrack_async.cli.output import FAILED, stdout_console, write_error, write_json
from anytrack_async.client.config import OUTBOX_VARIABLE, keys_from_env, make_outbox
from anytrack_async.client.locations import SCHEMA_VARIABLE, OutboxLocation
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Outbox

if TYPE_CHECKING:
    from anytrack_async.client.copying import CopyReport
    from anytrack_async.outbox.postgres.outbox import PostgresOutbox
    from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
    from anytrack_async.outbox.sqlite.verify import Verification

_MIGRATING_SECONDS = 120.0
_CHECKING_SECONDS = 30.0


def migrate(
    outbox: Annotated[
        str | None,
        typer.Option(help="Address of the database; default: ANYTRACK_OUTBOX.", show_default=False),
    ] = None,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL instead; needs no database.")
    ] = False,
) -> None:
    """Create the schema of an outbox in PostgreSQL, or bring it up to date.

    Clients do this when they open the outbox, if their role may. Otherwise
    run this, or what --sql prints, as a role that may create schemas. It can
    be run again, also while clients of the previous release work, and puts
    back what is missing.
    """
    if sql:
        from anytrack_async.outbox.postgres.schema import migrate_sql

        typer.echo(migrate_sql(_schema()))
        return
    location = _database(outbox)
    anyio.run(_migrate, location)
    stdout_console().print(f"the schema {_schema()!r} at {location} is up to date", soft_wrap=True)


async def _migrate(location: OutboxLocation) -> None:
    await _open_once(location, _MIGRATING_SECONDS, migrating=True, again=True)


async def check_outbox_in(location: OutboxLocation) -> None:
    """Look whether the schema is in the database, where a client would create it.

    One of an earlier release is enough: the client brings it up to date.

    Raises:
        SchemaVersionError: it is not; the message says what to do.
        OutboxError: the database cannot be used.
    """
    await _open_once(location, _CHECKING_SECONDS, migrating=False, may_be_old=True)


async def _open_once(location: OutboxLocation, timeout: float, **options: bool) -> None:
    from anytrack_async.outbox.postgres.database import Database
    from anytrack_async.outbox.postgres.schema import check_schema_name

    database = Database(
        location.address,
        schema=check_schema_name(_schema()),
        connections=1,
        timeout=timeout,
        behind_pooler=False,
    )
    try:
        await database.open(**options)
    finally:
        await database.close()


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="An outbox file: sqlite:PATH.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Its new place: postgresql://…")],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Copy an outbox file into a database.

    First stop the programs that use the file or the database. Waiting
    conversions then wait in the database for the same destinations, with
    attempts and age starting at zero. Dead letters stay dead. Of all other
    conversions, the event ids are copied, so that repeats send nothing. The
    history of failed attempts is copied too. Ids that destinations gave,
    times of first deliveries and checkpoints are not copied, and the file is
    not changed. After an interruption, run the command again: no conversion
    is copied twice.
    """
    file, database = OutboxLocation(source), OutboxLocation(target)
    if file.is_database:
        raise ConfigurationError(f"FROM must be an outbox file, not {file}")
    if problem := file.problem:
        raise ConfigurationError(f"FROM names {file}, which {problem}")
    if not database.is_database:
        raise ConfigurationError("TO must be postgresql://…")
    report = anyio.run(_copy, file, database)
    if as_json:
        write_json(attrs.asdict(report))
        return
    console = stdout_console()
    console.print(
        f"{report.waiting:,} waiting, {report.dead:,} dead letters, {report.remembered:,} ids of "
        f"others, {report.known:,} known there before; from {file} to {database}",
        markup=False,
        soft_wrap=True,
    )
    for name, count in report.left_dead.items():
        write_error(
            f"{count:,} dead letters of {name} stay in the file, as something waits for {name} at "
            "the new place: deliver that and copy again, or replay them from the file",
            label="note",
        )
    if report.damaged:
        write_error(f"{len(report.damaged):,} conversions cannot be read: anytrack outbox verify")
        raise typer.Exit(FAILED)


async def _copy(file: OutboxLocation, database: OutboxLocation) -> CopyReport:
    from anytrack_async.client.copying import copy_outbox

    path = await anyio.Path(file.path).absolute()
    async with open_at(file) as source:
        names = await source.destinations()
        async with open_at(database, names) as target:
            return await copy_outbox(cast("SQLiteOutbox", source), target, Path(path))


@asynccontextmanager
async def open_at(
    location: OutboxLocation, destinations: Sequence[str] = ()
) -> AsyncIterator[Outbox]:
    """Open the outbox at *location* for *destinations*, without lanes."""
    outbox = make_outbox(location, keys_from_env(), os.environ)
    await outbox.open(destinations)
    try:
        yield outbox
    finally:
        await outbox.aclose()


async def verify_database(location: OutboxLocation) -> Verification:
    """Check the schema, the rights of the role, and every record; see `PostgresOutbox.verify`."""
    async with _opened(location) as outbox:
        return await outbox.verify()


@asynccontextmanager
async def _opened(location: OutboxLocation) -> AsyncIterator[PostgresOutbox]:
    from anytrack_async.outbox.postgres.outbox import PostgresOutbox

    outbox = PostgresOutbox(location.address, schema=_schema(), migrate=False, keys=keys_from_env())
    await outbox.open([])
    try:
        yield outbox
    finally:
        await outbox.aclose()


def _schema() -> str:
    return os.environ.get(SCHEMA_VARIABLE) or "anytrack"


def _database(value: str | None) -> OutboxLocation:
    """Return the location of an outbox in a database.

    Raises:
        ConfigurationError: it is none, or a key is not valid.
    """
    value = value or os.environ.get(OUTBOX_VARIABLE)
    if not value or not (location := OutboxLocation(value)).is_database:
        raise ConfigurationError(
            f"only an outbox in a database needs this: set {OUTBOX_VARIABLE} or --outbox to "
            "postgresql://…"
        )
    location.outbox(keys_from_env())
    return location
