"""An open outbox file: `Database`, its transactions, and what its errors mean."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from anytrack_async.errors import DamagedOutboxError, OutboxError
from anytrack_async.outbox.sqlite.clock import FileClock
from anytrack_async.outbox.sqlite.files import (
    RESERVE_BYTES,
    SUFFIXES,
    Reserve,
    check_private,
    make_private,
)
from anytrack_async.outbox.sqlite.history.counts import PendingCounts
from anytrack_async.outbox.sqlite.owners import Owner
from anytrack_async.outbox.sqlite.upgrade import (
    allow_shrinking,
    create_or_upgrade,
    format_version,
    vacuum,
)
from anytrack_async.outbox.sqlite.wal_bug import due_warning, log_once

if TYPE_CHECKING:
    from anytrack_async.outbox.sqlite.encryption import RowCipher

_log = logging.getLogger("anytrack_async")

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CACHE_KIB = 32_768  # pages that SQLite keeps in memory

_BUSY_STEP = 0.25
"""Seconds of waiting for a lock between two checks whether the result is still wanted."""

_WAL_BYTES = 4 * 2**20
"""Size of the write-ahead log at which a checkpoint moves its pages into the database."""

_LARGE_WAL_BYTES = 64 * 2**20
"""Size of a write-ahead log, kept by another program's long transaction, that is worth a warning;
the next comes when it has doubled."""

_MAX_WAL_BYTES = 6 * 2**20
"""Size of the write-ahead log at which it is cut to nothing as well.

Writing over pages of the file is faster than making it grow again, since a sync need not write
where its new pages are. So the file keeps its size after a checkpoint, and the log is full again
when the file has to grow:

    file of 4.1 MiB   checkpoint; the log starts over at the beginning of the file
    file of 4.3 MiB   checkpoint; the log starts over
    …
    file of 6.1 MiB   checkpoint, and the file is emptied
"""

_CHECKPOINT_SHARE = 50
"""A checkpoint that was prevented by a reader for 20 ms is followed by the next after 1 s, so that
waiting takes at most 2 % of the time."""


class Database:
    """An open outbox file. Every method blocks: use it in one thread.

    Attributes:
        path: the file.
        sql: the connection; outside a transaction each statement commits by itself.
        clock: unix seconds on the clock of the file.
        owner: this object among all that have the file open.
        reserve: space on the disk for the lanes.
        may_wait: called while another process has the file locked; False ends the waiting.
        cipher: encrypts and decrypts rows; None if the file was opened without keys.
        damaged: destination → why its cursor cannot be relied on.
        counts: what happened, counted for the history.
        foreign: destination → two positions, and how many conversions between them are not
            addressed to it; see `log.Backlog`.
    """

    def __init__(
        self,
        path: Path,
        sql: sqlite3.Connection,
        *,
        clock: FileClock,
        busy_timeout: float,
    ) -> None:
        self.sql = sql
        self.clock = clock
        self.may_wait: Callable[[], bool] = lambda: True
        self.owner = Owner(path.absolute())
        self.cipher: RowCipher | None = None
        self.damaged: Mapping[str, str] = {}
        self.counts = PendingCounts(clock)
        self.foreign: dict[str, tuple[int, int, int]] = {}
        self.path = path
        self.reserve = Reserve(path.absolute())
        self._files = [f"{path.absolute()}{suffix}" for suffix in SUFFIXES]
        self._identities: Mapping[str, tuple[int, int]] = {}
        self._busy_timeout = busy_timeout
        self._synced = False
        self._changes_erased = 0
        self._full_wal_size = _WAL_BYTES
        self._large_wal_size = _LARGE_WAL_BYTES
        self._lacks_space = False
        self._next_checkpoint = 0.0
        self._next_forced_checkpoint = 0.0
        self._next_restore = 0.0

    @classmethod
    def open(cls, path: Path, *, clock: FileClock, busy_timeout: float) -> Self:
        """Open the file; if it is new, create it readable for its owner only.

        Raises:
            OutboxError: it cannot be opened, is damaged or is not an outbox.
            SchemaVersionError: a later release wrote it.
        """
        try:
            make_private(path)
            sql = sqlite3.connect(
                path.absolute(),
                timeout=busy_timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            # An error about text that is not UTF-8 would quote it, and it may be personal data.
            sql.text_factory = partial(str, encoding="utf-8", errors="replace")
            try:
                format_version(sql)  # raises before anything is changed in another program's file
                _use_wal(sql, busy_timeout)
                database = cls(path, sql, clock=clock, busy_timeout=busy_timeout)
                check_private(path)
                with database.transaction(synced=True):
                    create_or_upgrade(sql, database.owner)
                    clock.start(sql)
                    warning = due_warning(sql, clock.now())
                allow_shrinking(sql, path)
                sql.execute(f"PRAGMA busy_timeout = {1000 * min(busy_timeout, _BUSY_STEP):.0f}")
                if warning is not None:
                    log_once(warning)
            except BaseException:
                sql.close()
                raise
        except (sqlite3.Error, OSError) as exc:
            raise outbox_error(exc, path) from exc
        return database

    def outbox_error(self, error: sqlite3.Error | OSError) -> OutboxError:
        """Return what to raise for *error* of SQLite or the operating system; says what to do."""
        return outbox_error(error, self.path)

    def close(self) -> None:
        """Close the file and end the owner."""
        try:
            self.checkpoint()
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

        Raises:
            OutboxError: *synced*, and a file was removed or replaced: the data is on no disk.
        """
        if synced is not self._synced:
            self.sql.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._synced = synced
        try:
            with self._between("BEGIN IMMEDIATE"):
                yield self.sql
                now = self.clock.now()
                # On a full disk, the space in the log is for deliveries.
                if now >= self.counts.next_write and self._has_reserve():
                    self.counts.write(self.sql)
                if now >= self.clock.next_record:
                    self.clock.record(self.sql)
        except BaseException:
            self.counts.roll_back()
            raise
        self.counts.commit()
        if synced:
            self._check_files()
        with suppress(OSError):
            size = os.stat(self._files[1]).st_size  # noqa: PTH116 - it must be quick
            if size > self._full_wal_size:
                self._start_log_over(size, uses_reserve=not synced)
            elif size < self._full_wal_size:  # it was emptied
                self._full_wal_size = max(_WAL_BYTES, size)

    def use_reserve(self) -> bool:
        """Release the reserve and keep the log small from now on; return whether there was one."""
        self._full_wal_size = _WAL_BYTES
        return self.reserve.release()

    def check_reserve(self) -> None:
        """Raise `OutboxError` if the disk has no space for the reserve."""
        has_space = (
            self._has_reserve() or self.reserve.restore() or self._restore_after_checkpoint()
        )
        if self._lacks_space:  # for the log, which must not grow larger than the reserve
            has_space = has_space and self._checkpoint("TRUNCATE", uses_reserve=False)
        if not has_space:
            later = "Deliveries go on, and conversions are accepted again once there is space"
            raise OutboxError(f"{DISK_FULL}. {later}")

    def _restore_after_checkpoint(self) -> bool:
        """Give the reserve its size with what pruning freed: a file shrinks at a checkpoint."""
        started = time.monotonic()
        with suppress(OSError):
            has_log = os.stat(self._files[1]).st_size > 0  # noqa: PTH116 - as in `transaction`
            if has_log and started >= self._next_restore:
                is_done = self._checkpoint("TRUNCATE", uses_reserve=False)
                # Lanes have three quarters of the time: callers may try again in a loop.
                self._next_restore = time.monotonic() + 3 * (time.monotonic() - started)
                return is_done and self.reserve.restore()
        return False

    def _has_reserve(self) -> bool:
        """Return whether the file of the reserve has its size."""
        try:
            return os.lstat(self.reserve.file).st_size >= RESERVE_BYTES
        except OSError:
            return False

    def _check_files(self) -> None:
        """Raise `OutboxError` if a file is no longer the one that was there at the first check.

        If a file is removed or replaced, SQLite goes on writing to one without a name, which is
        gone once it is closed. Three system calls, a few microseconds.
        """
        identities = {}
        for file in self._files:
            try:
                info = os.lstat(file)
            except OSError:
                continue
            identities[file] = (info.st_dev, info.st_ino)
        if identities == self._identities:  # nearly always
            return
        if not self._identities:
            self._identities = identities
        for file, identity in self._identities.items():
            if identities.get(file) != identity:
                raise OutboxError(
                    f"{file} was {'replaced' if file in identities else 'removed'} while the "
                    "outbox was open, so nothing was accepted: put the file back, or close the "
                    "client and open it again to start with the file that has this name now"
                )

    def checkpoint(self, *, at_once: bool = False) -> None:
        """Move everything in the write-ahead log into the database, and empty the log.

        It also erases deleted and overwritten content from the log. Nothing happens if another
        process has the file locked, or a short time after the last checkpoint, unless it is to be
        done *at_once* and the last one was not prevented by a reader.
        """
        not_before = self._next_forced_checkpoint if at_once else self._next_checkpoint
        changes = self.sql.total_changes
        if time.monotonic() < not_before or (changes == self._changes_erased and not at_once):
            return
        if self._checkpoint("TRUNCATE"):
            self._changes_erased = changes

    def _start_log_over(self, size: int, *, uses_reserve: bool) -> None:
        """Checkpoint a log of *size* bytes, unless a reader prevented that a short time ago."""
        if time.monotonic() < self._next_forced_checkpoint:
            return
        # On a full disk, the database may need the space of the log.
        keeps_size = size <= _MAX_WAL_BYTES and self._has_reserve()
        mode = "RESTART" if keeps_size else "TRUNCATE"
        if self._checkpoint(mode, uses_reserve=uses_reserve):
            self._full_wal_size = size if self._has_reserve() else _WAL_BYTES
            self._large_wal_size = _LARGE_WAL_BYTES
        elif size >= self._large_wal_size and not self._lacks_space:
            self._large_wal_size = 2 * size
            self._warn_of_large_log(size)

    def _warn_of_large_log(self, size: int) -> None:
        with suppress(Exception):  # the application's log handlers may fail
            _log.warning(
                "%s has %d MiB and grows: a program has been reading the outbox file for long, and "
                "nothing can be removed from the write-ahead log meanwhile; conversions are "
                "accepted and delivered as usual; end that program's transaction",
                self._files[1],
                size // 2**20,
            )

    def _checkpoint(self, mode: str, *, uses_reserve: bool = True) -> bool:
        """Move the log into the database; return whether that was possible.

        If the disk is too full for the database to grow, that needs the reserve. Accepting
        conversions must not use it up: another program could take the space before the lanes do.
        """
        # TRUNCATE and RESTART hold the write lock, so that no other process commits meanwhile.
        statement = f"PRAGMA wal_checkpoint({mode})"
        started = time.monotonic()
        is_done = False
        for _ in range(2):
            try:
                (busy, *_) = self.sql.execute(statement).fetchone()
            except sqlite3.Error as exc:  # nothing is lost: all is still in the log
                self._lacks_space = needs_reserve(exc, self.reserve)
                if not (uses_reserve and self._lacks_space and self.use_reserve()):
                    break
            else:
                is_done, self._lacks_space = not busy, False
                break
        now = time.monotonic()
        self._next_checkpoint = now + _CHECKPOINT_SHARE * (now - started)
        self._next_forced_checkpoint = now if is_done else self._next_checkpoint
        return is_done

    def vacuum(self) -> tuple[int, int]:
        """Write the file anew, without unused pages; return its size in bytes before and after."""
        size = os.stat(self.path).st_size  # noqa: PTH116 - as in `transaction`
        vacuum(self.sql)
        self.checkpoint(at_once=True)
        return size, os.stat(self.path).st_size  # noqa: PTH116

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Let several queries read one consistent state."""
        with self._between("BEGIN"):
            yield self.sql

    @contextmanager
    def _between(self, begin: str) -> Iterator[None]:
        if self.sql.in_transaction:  # the rollback of an earlier transaction failed as well
            self.sql.rollback()
        self._begin(begin)
        try:
            yield
            self.sql.execute("COMMIT")
        except BaseException:
            self.sql.rollback()
            raise

    def _begin(self, statement: str) -> None:
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                self.sql.execute(statement)
            except sqlite3.OperationalError as exc:
                if not is_locked(exc) or time.monotonic() >= deadline or not self.may_wait():
                    raise
            else:
                return


# Opening


def _use_wal(sql: sqlite3.Connection, busy_timeout: float) -> None:
    sql.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect in an empty file only
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
    sql.execute("PRAGMA secure_delete = ON")  # overwrite what is deleted
    sql.execute("PRAGMA fullfsync = ON")  # macOS: flush the drive's cache; elsewhere no difference
    sql.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    sql.execute("PRAGMA temp_store = MEMORY")  # no copy of a payload in a temporary file
    # SQLite's own checkpoints may run at the same time as a commit of another process that starts
    # the log from its beginning, and then skip pages of it. `Database.checkpoint` holds the write
    # lock, so that nothing is committed meanwhile.
    sql.execute("PRAGMA wal_autocheckpoint = 0")
    sql.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")


# Errors

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


def _error_code(error: Exception) -> int:
    """Return SQLite's primary error code, 0 if there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def may_need_reserve(error: Exception) -> bool:
    """Return whether *error* may be due to a full disk; see `needs_reserve`."""
    # Enlarging the index of the write-ahead log fails as an input/output error.
    return _error_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def needs_reserve(error: Exception, reserve: Reserve) -> bool:
    """Return whether *error* is due to a full disk; for some errors the file system is asked."""
    if _error_code(error) == sqlite3.SQLITE_IOERR:
        return reserve.disk_is_full()
    return _error_code(error) == sqlite3.SQLITE_FULL


def is_locked(error: BaseException | None) -> bool:
    """Return whether *error* of SQLite means that another process has the file locked."""
    return isinstance(error, sqlite3.Error) and _error_code(error) == sqlite3.SQLITE_BUSY


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
    advice = _ADVICE.get(_error_code(error))
    is_damaged = _error_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    kind = DamagedOutboxError if is_damaged else OutboxError
    return kind(f"outbox file {path}: {error}" + (f"; {advice}" if advice else ""))
