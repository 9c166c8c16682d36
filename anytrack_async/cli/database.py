"""`anytrack outbox migrate` and `verify` for an outbox in PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

import anyio
import typer

from anytrack_async.cli.output import stdout_console
from anytrack_async.client.config import OUTBOX_VARIABLE, keys_from_env
from anytrack_async.client.locations import SCHEMA_VARIABLE, OutboxLocation
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Depth


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
    be run again, also while clients of the previous release work.
    """
    if sql:
        from anytrack_async.outbox.postgres.schema import migrate_sql

        typer.echo(migrate_sql(_schema()))
        return
    location = _database(outbox)
    anyio.run(_open, location, True)
    stdout_console().print(f"the schema {_schema()!r} at {location} is up to date", soft_wrap=True)


def verify_database(location: OutboxLocation) -> None:
    """Check that the schema is of this release, and that the role can use it; print what waits."""
    depths = anyio.run(_open, location, False)
    console = stdout_console()
    for name, depth in depths.items():
        console.print(f"{name}: {depth.waiting} waiting, {depth.dead} dead", soft_wrap=True)
    console.print(f"the schema {_schema()!r} at {location} can be used", soft_wrap=True)


async def _open(location: OutboxLocation, migrating: bool) -> Mapping[str, Depth]:
    from anytrack_async.outbox.postgres.outbox import PostgresOutbox

    outbox = PostgresOutbox(location.address, schema=_schema(), migrate=migrating)
    await outbox.open([])
    try:
        return await outbox.depths()
    finally:
        await outbox.aclose()


def _schema() -> str:
    return os.environ.get(SCHEMA_VARIABLE) or "anytrack"


def _database(value: str | None) -> OutboxLocation:
    """Return the location of an outbox in a database.

    Raises:
        ConfigurationError: it is none, or keys are set, which a database does not use.
    """
    value = value or os.environ.get(OUTBOX_VARIABLE)
    if not value or not (location := OutboxLocation(value)).is_database:
        raise ConfigurationError(
            f"only an outbox in a database needs this: set {OUTBOX_VARIABLE} or --outbox to "
            "postgresql://…"
        )
    location.outbox(keys_from_env())
    return location
