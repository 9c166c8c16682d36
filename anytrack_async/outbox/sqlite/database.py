"""An open outbox file: `Database`, its transactions, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Self

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.sqlite.schema import is_there, prepare

_CACHE_KIB = 32_768
_WAL_PAGES = 2_000
_WAL_BYTES = 64 * 2**20


class Database:
    """An open outbox file. Blocks: use it in a thread, one at a time.

    Attributes:
        sql: the connection; outside of transactions each statement is one.
        clock: unix seconds.
    """

    def __init__(self, path: Path, sql: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self.sql = sql
        self.clock = clock
        self._path = path
        self._synced = False

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float], busy_timeout: float) -> Self:
        """Open the file, created for its owner's eyes only if it is new.

        Raises:
            OutboxError: it cannot be opened, is damaged or is not an outbox.
            SchemaVersionError: a later release wrote it.
        """
        with _explained(path):
            _create_private(path)
            sql = sqlite3.connect(
                path.absolute(),
                timeout=busy_timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                is_there(sql)  # or it is somebody else's, and not to be changed
                _use_wal(sql, busy_timeout)
                database = cls(path, sql, clock)
                with database.transaction(synced=True):
                    prepare(sql)
            except BaseException:
                sql.close()
                raise
        return database

    def explained(self) -> AbstractContextManager[None]:
        """Turn SQLite's errors into `OutboxError`s that say what to do."""
        return _explained(self._path)

    def close(self) -> None:
        """Close the file."""
        with self.explained():
            self.sql.close()

    @contextmanager
    def transaction(self, *, synced: bool) -> Iterator[sqlite3.Connection]:
        """Write in one step, alone among all processes; an error undoes it all.

        Args:
            synced: whether it is on the disk for good when this ends. Only accepting needs that: a
                claim or settlement lost with the power means that something is sent once more,
                and a later synced step makes all earlier ones safe, as there is one journal.
        """
        if synced is not self._synced:
            self.sql.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._synced = synced
        with self._between("BEGIN IMMEDIATE"):
            yield self.sql

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read one and the same state with several queries."""
        with self._between("BEGIN"):
            yield self.sql

    @contextmanager
    def _between(self, begin: str) -> Iterator[None]:
        if self.sql.in_transaction:  # undoing an earlier one failed as well
            self.sql.rollback()
        self.sql.execute(begin)
        try:
            yield
            self.sql.execute("COMMIT")
        except BaseException:
            self.sql.rollback()
            raise


def _create_private(path: Path) -> None:
    # Only ever creates: closing a second handle on a file that this process has open as a database
    # would drop its locks.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _use_wal(sql: sqlite3.Connection, busy_timeout: float) -> None:
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            (mode,) = sql.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as exc:
            # Switching a new file over does not wait for another process that does the same.
            if _kind(exc) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise OutboxError(f"the file's folder does not allow a write-ahead log (mode {mode!r})")
    sql.execute("PRAGMA synchronous = NORMAL")
    sql.execute("PRAGMA fullfsync = ON")  # macOS: past the drive's cache; elsewhere no difference
    sql.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    sql.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    sql.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")


_ADVICE = {
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and may be written to",
    sqlite3.SQLITE_NOTADB: "it is damaged or something else: move it away, or choose another path",
    sqlite3.SQLITE_CORRUPT: "it is damaged: move it away and salvage it with sqlite3's .recover",
    sqlite3.SQLITE_FULL: "the disk is full: free some space; nothing of this step was written",
    sqlite3.SQLITE_BUSY: "another process held it for too long",
    sqlite3.SQLITE_READONLY: "it cannot be written to: check its permissions and its folder's",
    sqlite3.SQLITE_IOERR: "the disk failed; nothing of this step was written",
}


def _kind(error: sqlite3.Error) -> int:
    """Return SQLite's primary error code, 0 if there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors about the file *path* into `OutboxError`s that say what to do."""
    try:
        yield
    except sqlite3.Error as exc:
        advice = _ADVICE.get(_kind(exc))
        raise OutboxError(f"outbox file {path}: {exc}" + (f"; {advice}" if advice else "")) from exc
    except FileNotFoundError as exc:
        raise OutboxError(f"the folder of the outbox file {path} does not exist: make it") from exc
    except OSError as exc:
        raise OutboxError(f"outbox file {path}: {exc.strerror}") from exc
