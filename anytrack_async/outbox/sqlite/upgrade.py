"""Creating the tables of an outbox file, and bringing a file of an earlier release up to date."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError, OutboxError, SchemaVersionError
from anytrack_async.models.contradiction import summary
from anytrack_async.outbox.sqlite.files import APPLICATION_ID
from anytrack_async.outbox.sqlite.owners import Owner
from anytrack_async.outbox.sqlite.queries import file as queries
from anytrack_async.outbox.sqlite.tables import (
    FORMAT_VERSION,
    SUMMARY_OF,
    TABLES,
    UPGRADES,
)

_log = logging.getLogger("anytrack_async")

_APPLICATION_ID = int.from_bytes(APPLICATION_ID, "big")

_INCREMENTAL = 2
"""What ``PRAGMA auto_vacuum`` returns for a file that can return unused pages one by one."""

_QUICK_VACUUM = 64 * 2**20
"""Bytes in use up to which a file is written anew when it is opened: within a second or two."""


def format_version(sql: sqlite3.Connection) -> int:
    """Return the format version of an outbox, 0 for an empty file.

    Raises:
        OutboxError: the file is a database of another program.
        SchemaVersionError: a later release wrote it.
    """
    application_id, version, tables = _contents(sql)
    is_outbox = application_id == _APPLICATION_ID
    if is_outbox and version > FORMAT_VERSION:
        raise SchemaVersionError(
            f"the outbox file has format version {version}, written by a later release; this "
            f"release reads up to version {FORMAT_VERSION}: upgrade anytrack_async"
        )
    if not is_outbox and (version or tables):
        raise OutboxError("the file is an SQLite database but not an outbox: choose another path")
    return version


def _contents(sql: sqlite3.Connection) -> tuple[int, int, int]:
    """Return application id, version and number of tables, all of the same moment.

    Another process that has just created the file may add its tables between two statements: then
    the first would return 0, as in another program's file, and the second the version.
    """
    if opens_snapshot := not sql.in_transaction:
        sql.execute("BEGIN")
    try:
        (application_id,) = sql.execute("PRAGMA application_id").fetchone()
        (version,) = sql.execute("PRAGMA user_version").fetchone()
        (tables,) = sql.execute(queries.COUNT_TABLES).fetchone()
    finally:
        if opens_snapshot:
            sql.execute("ROLLBACK")
    return application_id, version, tables


def create_or_upgrade(sql: sqlite3.Connection, owner: Owner) -> None:
    """Create the tables of an empty file, or bring those of an earlier release up to date.

    Another process may have done it since the file was opened.

    Raises:
        OutboxError: a process with an earlier release, which could not go on, has the file open.
    """
    version = format_version(sql)
    if version == FORMAT_VERSION:
        return
    if version:
        if version > 1 and any(map(owner.is_alive, owner.others(sql))):
            raise OutboxError(
                f"a program has the outbox file open that uses an earlier release of "
                f"anytrack_async (format version {version}): stop it, then start this one"
            )
        sql.create_function(SUMMARY_OF, 2, _summary_of, deterministic=True)
        for old_version in range(version, FORMAT_VERSION):
            _run_script(sql, UPGRADES[old_version])
    else:
        _run_script(sql, TABLES)
        sql.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    sql.execute(f"PRAGMA user_version = {FORMAT_VERSION}")


def _run_script(sql: sqlite3.Connection, script: str) -> None:
    # Not `executescript`, which would commit the transaction.
    for statement in script.split(";"):
        sql.execute(statement)


def _summary_of(payload: bytes | None, digest: bytes) -> str | None:
    """Return the summary of a stored conversion; None if its payload was dropped or is damaged."""
    try:
        return None if payload is None else summary(decode(payload, digest))
    except DecodeError:
        return None


def allow_shrinking(sql: sqlite3.Connection, path: Path) -> None:
    """Let a file that an early release created shrink when conversions are dropped.

    It has to be written anew for that, so a large one only gets a line in the log.
    """
    if sql.execute("PRAGMA auto_vacuum").fetchone() == (_INCREMENTAL,):
        return
    (page_size,) = sql.execute("PRAGMA page_size").fetchone()
    (pages,) = sql.execute("PRAGMA page_count").fetchone()
    (unused,) = sql.execute("PRAGMA freelist_count").fetchone()
    problem = f"it has {(pages - unused) * page_size / 1e6:,.0f} MB"
    if (pages - unused) * page_size <= _QUICK_VACUUM:
        try:
            vacuum(sql)
        except sqlite3.Error as exc:  # another process has it locked, or the disk is full
            problem = str(exc)
        else:
            return
    _log.warning(
        "the outbox file %s of an early release keeps its size when conversions are dropped, and "
        "was not written anew (%s): stop the programs that use it and run `anytrack outbox vacuum`",
        path,
        problem,
    )


def vacuum(sql: sqlite3.Connection) -> None:
    """Write the file anew, without unused pages; called outside a transaction.

    It needs as much memory and space on the disk as the file has pages in use.
    """
    sql.execute("PRAGMA auto_vacuum = INCREMENTAL")
    sql.execute("VACUUM")
