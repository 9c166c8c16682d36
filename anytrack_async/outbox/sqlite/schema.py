"""The tables of an outbox file, and how they come to be.

* ``log``: what was accepted, in order. Once every destination has it, ``payload`` is NULL and
  ``at`` says since when; the row stays while the id is remembered. The newest row is never
  deleted, so that ``max(seq)`` is the end of the log.
* ``destination``: its cursor; where it joined (``start``, and ``since`` when it joined at the
  beginning); counts of its exceptions, so that nothing has to count rows.
* ``lease``: who may work until when. Ids are never used twice: a late worker must not end the
  lease of another.
* ``span``: ranges behind a cursor that are not settled: leased, or released until ``due``
  (``lease`` 0). ``size`` counts the conversions in it that are meant for the destination.
* ``exception``: single conversions behind a cursor that wait for a retry, or are dead (``due``
  NULL).
* ``pruned``: up to where payloads were dropped; ``loose``: what an exception held before there
  and may not any more.
"""

from __future__ import annotations

import sqlite3

from anytrack_async.errors import OutboxError, SchemaVersionError

VERSION = 1
_APPLICATION_ID = 0x41545842  # "ATXB"

_TABLES = """
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    at REAL NOT NULL,
    destinations TEXT,
    payload BLOB
);
CREATE INDEX log_pruned ON log(at) WHERE payload IS NULL;
CREATE TABLE destination (
    name TEXT PRIMARY KEY,
    start INTEGER NOT NULL,
    since REAL,
    cursor INTEGER NOT NULL,
    pending INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE lease (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    until REAL NOT NULL
);
CREATE INDEX lease_until ON lease(destination, until);
CREATE TABLE span (
    id INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    size INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    lease INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX span_first ON span(destination, first);
CREATE INDEX span_lease ON span(lease);
CREATE TABLE exception (
    seq INTEGER NOT NULL,
    destination TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due REAL,
    error TEXT NOT NULL,
    code TEXT,
    lease INTEGER NOT NULL DEFAULT 0,
    at REAL NOT NULL,
    PRIMARY KEY (seq, destination)
) WITHOUT ROWID;
CREATE INDEX exception_due ON exception(destination, due) WHERE due IS NOT NULL AND lease = 0;
CREATE INDEX exception_dead ON exception(destination, seq) WHERE due IS NULL;
CREATE INDEX exception_lease ON exception(lease) WHERE lease <> 0;
CREATE TABLE loose (seq INTEGER PRIMARY KEY);
CREATE TABLE pruned (upto INTEGER NOT NULL);
INSERT INTO pruned VALUES (0);
"""


def is_there(sql: sqlite3.Connection) -> bool:
    """Tell an outbox, True, from an empty file.

    Raises:
        OutboxError: it belongs to something else.
        SchemaVersionError: a later release wrote it.
    """
    ours = _one(sql, "PRAGMA application_id") == _APPLICATION_ID
    version = _one(sql, "PRAGMA user_version")
    if ours and version > VERSION:
        raise SchemaVersionError(
            f"the outbox file has form {version}, written by a later release; this one reads up to "
            f"{VERSION}: upgrade anytrack_async"
        )
    if not ours and (version or _one(sql, "SELECT count(*) FROM sqlite_master")):
        raise OutboxError("the file is an SQLite database but not an outbox: choose another path")
    return ours


def prepare(sql: sqlite3.Connection) -> None:
    """Make the tables, unless they are there.

    Called inside a transaction: two processes may open a new file at once.
    """
    if is_there(sql):
        return
    for statement in _TABLES.split(";"):
        sql.execute(statement)
    sql.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    sql.execute(f"PRAGMA user_version = {VERSION}")


def _one(sql: sqlite3.Connection, query: str) -> int:
    (value,) = sql.execute(query).fetchone()
    return int(value)
