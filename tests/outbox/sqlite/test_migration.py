"""A file of an earlier release is migrated when it is opened, and loses nothing."""

import sqlite3
from contextlib import closing

import pytest

from anytrack_async.codec.storage import encode
from anytrack_async.outbox.sqlite import queries
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale

pytestmark = pytest.mark.asyncio

VERSION_1 = """
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


@pytest.fixture
def path(tmp_path):
    """A file of version 1: a leased span, a retry, a dead letter, and one that is not claimed."""
    path = tmp_path / "outbox.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
        old.execute("PRAGMA application_id = 0x41545842")
        old.execute("PRAGMA user_version = 1")
        for order in range(1, 6):
            payload, digest = encode(sale(order))
            row = (order, f"sale:{order}", digest, 1.0, None, payload)
            old.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", row)
        old.execute("INSERT INTO destination VALUES ('alpha', 0, NULL, 4, 1, 1)")
        old.execute("INSERT INTO lease VALUES (3, 'alpha', 10.0)")
        old.execute("INSERT INTO span VALUES (1, 'alpha', 1, 2, 2, 1, 0, 3)")
        old.execute("INSERT INTO exception VALUES (3, 'alpha', 2, 5.0, 'later', NULL, 0, 1.0)")
        old.execute("INSERT INTO exception VALUES (4, 'alpha', 1, NULL, 'no', 'E1', 0, 1.0)")
        old.commit()
    return path


async def test_a_file_of_version_1_is_migrated(path):
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])

    claim = await outbox.claim("alpha", 9, LEASE)

    assert [entry.conversion for entry in claim.entries] == [sale(n) for n in (1, 2, 3, 5)]
    assert list(claim.entries.attempts) == [2, 2, 2, 0]
    assert [letter.conversion for letter in await outbox.dead_letters()] == [sale(4)]
    await outbox.aclose()


async def test_a_migrated_file_has_the_tables_of_a_new_one(path, tmp_path):
    schemas = []
    for file in (path, tmp_path / "new.db"):
        outbox = SQLiteOutbox(file)
        await outbox.open(["alpha"])
        await outbox.aclose()
        with closing(sqlite3.connect(file)) as db:
            names = db.execute("SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL")
            tables = sorted(names.fetchall())
            columns = {
                name: {row[1:4] for row in db.execute(f"PRAGMA table_info({name})")}
                for kind, name in tables
                if kind == "table"
            }
            schemas.append((tables, columns, db.execute("PRAGMA user_version").fetchone()))

    assert schemas[0] == schemas[1]
    assert schemas[0][2] == (queries.FORMAT_VERSION,)
