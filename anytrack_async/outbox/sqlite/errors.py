"""What errors of SQLite and of the operating system mean for an outbox file, and what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from anytrack_async.errors import DamagedOutboxError, OutboxError
from anytrack_async.outbox.sqlite.files import Reserve

DISK_FULL = "the disk is full: free some space; nothing of this step was written"

_ADVICE = {
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and is writable",
    sqlite3.SQLITE_NOTADB: "it is damaged or not a database: move it away, or choose another path",
    sqlite3.SQLITE_CORRUPT: "it is damaged; `anytrack outbox verify` says where: stop the programs "
    "that use it, salvage it with .recover of the sqlite3 shell, or move it away",
    sqlite3.SQLITE_FULL: DISK_FULL,
    sqlite3.SQLITE_BUSY: "another process kept it locked for too long",
    sqlite3.SQLITE_READONLY: "it is not writable: check its permissions and those of its folder",
    sqlite3.SQLITE_IOERR: "the disk failed, see the log of the system, or it is full; nothing of "
    "this step was written",
}


def error_code(error: Exception) -> int:
    """Return SQLite's primary error code, 0 if there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def may_need_reserve(error: Exception) -> bool:
    """Return whether *error* may be due to a full disk; see `needs_reserve`."""
    # Enlarging the index of the write-ahead log fails as an input/output error.
    return error_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def needs_reserve(error: Exception, reserve: Reserve) -> bool:
    """Return whether *error* is due to a full disk; for some errors the file system is asked."""
    if error_code(error) == sqlite3.SQLITE_IOERR:
        return reserve.disk_is_full()
    return error_code(error) == sqlite3.SQLITE_FULL


def is_locked(error: BaseException | None) -> bool:
    """Return whether *error* of SQLite means that another process has the file locked."""
    return isinstance(error, sqlite3.Error) and error_code(error) == sqlite3.SQLITE_BUSY


def locked_error(path: Path, seconds: float) -> OutboxError:
    """Return the error of a call that found the file *path* locked for *seconds*."""
    return OutboxError(
        f"outbox file {path} is locked by another program: another process kept it locked for the "
        f"{seconds:.1f} s that this call waited, so nothing of it was accepted; end that program, "
        "or wait until it is done, and submit again"
    )


def outbox_error(error: sqlite3.Error | OSError, path: Path) -> OutboxError:
    """Return an `OutboxError` that says what to do about an error of the file *path*."""
    if isinstance(error, FileNotFoundError):
        return OutboxError(f"the folder of the outbox file {path} does not exist: create it")
    if isinstance(error, OSError):
        return OutboxError(f"outbox file {path}: {error.strerror}")
    advice = _ADVICE.get(error_code(error))
    is_damaged = error_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    kind = DamagedOutboxError if is_damaged else OutboxError
    return kind(f"outbox file {path}: {error}" + (f"; {advice}" if advice else ""))
