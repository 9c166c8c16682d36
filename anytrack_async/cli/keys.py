"""`anytrack outbox new-key`, `keys` and `rekey`: the keys that encrypt the outbox.

A key is replaced in three steps: add the new one behind the old one in ANYTRACK_OUTBOX_KEYS of
every program, so that all can read it; put it first, so that they encrypt with it; and, after
`anytrack outbox rekey`, remove the old one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, cast

import anyio
import typer
from rich.text import Text

from anytrack_async.cli.outbox import open_file, open_outbox, outbox_location
from anytrack_async.cli.output import GOOD, NOTE, make_table, stdout_console, write_json
from anytrack_async.cli.selection import OutboxOption
from anytrack_async.client.config import KEYS_VARIABLE, keys_from_env
from anytrack_async.client.locations import OutboxLocation
from anytrack_async.codec import encryption

if TYPE_CHECKING:
    from anytrack_async.outbox.postgres.outbox import PostgresOutbox
    from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox


def new_key() -> None:
    """Print a new key for ANYTRACK_OUTBOX_KEYS, which encrypts the outbox.

    The eight characters before the colon are the key's id, which messages
    show. The part after the colon is secret. If you lose the key, you lose
    the conversions that are encrypted with it.
    """
    typer.echo(encryption.new_key())


def keys(
    outbox: OutboxOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Show how many rows each key encrypts: stored conversions and reasons of failures."""
    usage = anyio.run(_usage, outbox_location(outbox))
    if as_json:
        write_json({"keys": dict(usage)})
        return
    table = make_table("key", ">rows", "")
    ring = keys_from_env()
    first = ring.ids[0] if ring else None
    for key_id, rows in usage.items():
        table.add_row(key_id or "none", str(rows), _remark(key_id, rows, first))
    stdout_console(wide=True).print(table)


def _remark(key_id: str, rows: int, first: str | None) -> Text:
    if key_id == first:
        return Text("encrypts new rows", GOOD)
    if rows and first:
        return Text("see: anytrack outbox rekey", NOTE)
    if not key_id:
        return Text(f"not encrypted: {KEYS_VARIABLE} is not set" if not first else "")
    return Text("no row needs it; remove it unless a program still has it first", GOOD)


@asynccontextmanager
async def _open(location: OutboxLocation) -> AsyncIterator[SQLiteOutbox | PostgresOutbox]:
    """Open an outbox that may have keys."""
    if not location.is_database:
        async with open_file(location) as file:
            yield file
        return
    async with open_outbox(location) as database:
        yield cast("PostgresOutbox", database)


async def _usage(location: OutboxLocation) -> Mapping[str, int]:
    async with _open(location) as outbox:
        return await outbox.key_usage()


def rekey(outbox: OutboxOption = None) -> None:
    """Encrypt all rows with the first key; other programs may use the file meanwhile.

    If the command is interrupted, run it again. Afterwards, remove the other
    keys from ANYTRACK_OUTBOX_KEYS, once no program has one of them first.
    """
    rows, usage = anyio.run(_rekey, outbox_location(outbox))
    first = next(iter(usage))
    stdout_console().print(f"{rows} rows encrypted with the key {first}", soft_wrap=True)
    for key_id, remaining in usage.items():
        if remaining and key_id != first:
            name = f"still encrypted with the key {key_id}" if key_id else "still not encrypted"
            reason = "they are damaged, or a running program wrote them since"
            stdout_console().print(f"{remaining} rows are {name}: {reason}", soft_wrap=True)


async def _rekey(location: OutboxLocation) -> tuple[int, Mapping[str, int]]:
    async with _open(location) as outbox:
        return await outbox.rekey(), await outbox.key_usage()
