"""An open outbox file: `Database`, its transactions, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError, OutboxError, SchemaVersionError
from anytrack_async.models.contradiction import summary
from anytrack_async.outbox.sqlite import queries
from anytrack_async.outbox.sqlite.owners import Owner

_P = ParamSpec("_P")
_T = TypeVar("_T")

_APPLICATION_ID = 0x41545842  # "ATXB", in the header of the file
_CACHE_KIB = 32_768  # pages that SQLite keeps in memory

# A checkpoint moves the pages of the write-ahead log into the database once it has this many, and
# the -wal file is then cut to this size. A reader that stays open delays checkpoints, so that the
# file can grow to any size; without the limit it would keep that size for ever.
_WAL_PAGES = 2_000
_WAL_BYTES = 64 * 2**20


class Database:
    """An open outbox file. Every method blocks: use it in one thread.

    Attributes:
        sql: the connection; outside a transaction each statement commits by itself.
        clock: unix seconds.
        owner: this object among all that have the file open.
        foreign: destination → two positions, and how many conversions between them are not
            addressed to it; see `backlog.Backlog`.
    """

    def __init__(self, path: Path, sql: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self.sql = sql
        self.clock = clock
        self.owner = Owner(path.absolute())
        self.foreign: dict[str, tuple[int, int, int]] = {}
        self._path = path
        self._synced = False

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float], busy_timeout: float) -> Self:
        """Open the file; if it is new, create it readable for its owner only.

        Raises:
            OutboxError: it cannot be opened, is damaged or is not an outbox.
            SchemaVersionError: a later release wrote it.
        """
        try:
            _create_private(path)
            sql = sqlite3.connect(
                path.absolute(),
                timeout=busy_timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                _format_version(sql)  # raises before anything is changed in another program's file
                _use_wal(sql, busy_timeout)
                sql.create_function(queries.SUMMARY_OF, 2, _summary_of, deterministic=True)
                database = cls(path, sql, clock)
                with database.transaction(synced=True):
                    _create_or_upgrade(sql)
            except BaseException:
                sql.close()
                raise
        except (sqlite3.Error, OSError) as exc:
            raise outbox_error(exc, path) from exc
        return database

    def outbox_error(self, error: sqlite3.Error | OSError) -> OutboxError:
        """Return what to raise for *error* of SQLite or the operating system; says what to do."""
        return outbox_error(error, self._path)

    def close(self) -> None:
        """Close the file and end the owner."""
        try:
            self.sql.close()
        except sqlite3.Error as exc:
            raise self.outbox_error(exc) from exc
        finally:
            self.owner.close()

    @contextmanager
    def transaction(self, *, synced: bool) -> Iterator[sqlite3.Connection]:
        """Write atomically, alone among all processes; an exception rolls everything back.

        Args:
            synced: whether the data is on the disk when this returns. Only accepting conversions
                needs that. A claim or settlement lost in a power failure means that conversions are
                sent again, and the next synced transaction makes all earlier ones safe, because
                they share one write-ahead log.
        """
        if synced is not self._synced:
            self.sql.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._synced = synced
        with self._between("BEGIN IMMEDIATE"):
            yield self.sql

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Let several queries read one consistent state."""
        with self._between("BEGIN"):
            yield self.sql

    @contextmanager
    def _between(self, begin: str) -> Iterator[None]:
        if self.sql.in_transaction:  # the rollback of an earlier transaction failed as well
            self.sql.rollback()
        self.sql.execute(begin)
        try:
            yield
            self.sql.execute("COMMIT")
        except BaseException:
            self.sql.rollback()
            raise


# Opening


def _create_private(path: Path) -> None:
    # Only ever creates the file. Closing a second descriptor of a file that this process has open
    # as a database would release the locks of that database.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _use_wal(sql: sqlite3.Connection, busy_timeout: float) -> None:
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            (mode,) = sql.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as exc:
            # SQLite's own busy timeout does not apply when two processes switch a new file to WAL.
            if _error_code(exc) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise OutboxError(
            f"the folder of the outbox file does not allow a write-ahead log (SQLite chose journal "
            f"mode {mode!r}): put the file on a local disk"
        )
    sql.execute("PRAGMA synchronous = NORMAL")
    sql.execute("PRAGMA fullfsync = ON")  # macOS: flush the drive's cache; elsewhere no difference
    sql.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    sql.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    sql.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")


def _format_version(sql: sqlite3.Connection) -> int:
    """Return the format version of an outbox, 0 for an empty file.

    Raises:
        OutboxError: the file is a database of another program.
        SchemaVersionError: a later release wrote it.
    """
    (application_id,) = sql.execute("PRAGMA application_id").fetchone()
    version: int = sql.execute("PRAGMA user_version").fetchone()[0]
    is_outbox = application_id == _APPLICATION_ID
    if is_outbox and version > queries.FORMAT_VERSION:
        raise SchemaVersionError(
            f"the outbox file has format version {version}, written by a later release; this "
            f"release reads up to version {queries.FORMAT_VERSION}: upgrade anytrack_async"
        )
    if not is_outbox:
        (tables,) = sql.execute(queries.COUNT_TABLES).fetchone()
        if version or tables:
            raise OutboxError(
                "the file is an SQLite database but not an outbox: choose another path"
            )
    return version


def _create_or_upgrade(sql: sqlite3.Connection) -> None:
    """Create the tables of an empty file, or bring those of an earlier release up to date.

    Another process may have done it since the file was opened.
    """
    version = _format_version(sql)
    if version == queries.FORMAT_VERSION:
        return
    if version:
        for old_version in range(version, queries.FORMAT_VERSION):
            _run_script(sql, queries.UPGRADES[old_version])
    else:
        _run_script(sql, queries.TABLES)
        sql.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    sql.execute(f"PRAGMA user_version = {queries.FORMAT_VERSION}")


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


# Errors

_ADVICE = {
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and is writable",
    sqlite3.SQLITE_NOTADB: "it is damaged or not a database: move it away, or choose another path",
    sqlite3.SQLITE_CORRUPT: "it is damaged: move it away and salvage it with sqlite3's .recover",
    sqlite3.SQLITE_FULL: "the disk is full: free some space; nothing of this step was written",
    sqlite3.SQLITE_BUSY: "another process kept it locked for too long",
    sqlite3.SQLITE_READONLY: "it is not writable: check its permissions and those of its folder",
    sqlite3.SQLITE_IOERR: "the disk failed; nothing of this step was written",
}


def _error_code(error: Exception) -> int:
    """Return SQLite's primary error code, 0 if there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def outbox_error(error: sqlite3.Error | OSError, path: Path) -> OutboxError:
    """Return an `OutboxError` that says what to do about an error of the file *path*."""
    if isinstance(error, FileNotFoundError):
        return OutboxError(f"the folder of the outbox file {path} does not exist: create it")
    if isinstance(error, OSError):
        return OutboxError(f"outbox file {path}: {error.strerror}")
    advice = _ADVICE.get(_error_code(error))
    return OutboxError(f"outbox file {path}: {error}" + (f"; {advice}" if advice else ""))
