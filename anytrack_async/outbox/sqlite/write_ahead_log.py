"""The write-ahead log of an outbox file: settings, size, a full disk, and a bug of SQLite."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.sqlite.errors import DISK_FULL, error_code, needs_reserve
from anytrack_async.outbox.sqlite.files import Reserve
from anytrack_async.outbox.sqlite.queries import reports as queries

_log = logging.getLogger("anytrack_async")

_CACHE_KIB = 32_768  # pages that SQLite keeps in memory

_WAL_BYTES = 4 * 2**20
"""Size of the write-ahead log at which a checkpoint moves its pages into the database."""

_LARGE_WAL_BYTES = 64 * 2**20
"""Size of a write-ahead log, kept by another program's long transaction, that is worth a warning;
the next comes when it has doubled."""

_FULL_WAL_BYTES = 2**30
"""Size of such a log from which on nothing is accepted; deliveries go on, and write little."""

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

_STEPS_BETWEEN_LOOKS = 1_000_000
"""Instructions of SQLite between two looks at the size of the log, some 10 ms of work."""

_CHECKPOINT_SHARE = 50
"""A checkpoint that was prevented by a reader for 20 ms is followed by the next after 1 s, so that
waiting takes at most 2 % of the time."""


class WriteAheadLog:
    """The write-ahead log of an open outbox file; use it in the outbox's thread.

    Args:
        path: the outbox file.
        sql: its connection.
        reserve: space on the disk for the lanes.
    """

    def __init__(self, path: Path, sql: sqlite3.Connection, reserve: Reserve) -> None:
        self._file = f"{path.absolute()}-wal"
        self._sql = sql
        self._reserve = reserve
        self._changes_erased = 0
        self._full_size = _WAL_BYTES
        self._large_size = _LARGE_WAL_BYTES
        self._lacks_space = False
        self._next_checkpoint = 0.0
        self._next_forced_checkpoint = 0.0
        self._next_retry = 0.0

    def limit_size(self, *, uses_reserve: bool) -> None:
        """Checkpoint the log if it has become large; called after each commit."""
        with suppress(OSError):
            size = os.stat(self._file).st_size  # noqa: PTH116 - it must be quick
            if size > self._full_size:
                self._start_over(size, uses_reserve=uses_reserve)
            elif size < self._full_size:  # it was emptied
                self._full_size = max(_WAL_BYTES, size)

    def use_reserve(self) -> bool:
        """Release the reserve and keep the log small from now on; return whether there was one."""
        self._full_size = _WAL_BYTES
        # A checkpoint that lacked space a moment ago has it now. Later, the log has taken the space
        # that the database needs, and then neither of them can ever grow again.
        self._next_forced_checkpoint = 0.0
        return self._reserve.release()

    def check_space(self) -> None:
        """Raise `OutboxError` if the log is full, or the disk has no space for the reserve."""
        self.check_size()
        has_space = (
            self._reserve.is_allocated()
            or self._reserve.restore()
            or self._restore_after_checkpoint()
        )
        if self._lacks_space:  # for the log, which must not grow larger than the reserve
            has_space = has_space and self._checkpoint("TRUNCATE", uses_reserve=False)
        if not has_space:
            later = "Deliveries go on, and conversions are accepted again once there is space"
            raise OutboxError(f"{DISK_FULL}. {later}")

    def check_size(self) -> None:
        """Raise `OutboxError` if another program's long transaction keeps the log full.

        A transaction that changes much must not make it grow further. Claiming and settling may.
        """
        if self.is_full():
            raise OutboxError(
                f"{self._file} has {self._size() // 2**20} MiB, because a program has been reading "
                "the outbox file for long, and nothing can be removed from the write-ahead log "
                "meanwhile: end that program's transaction. Deliveries go on, and conversions are "
                "accepted again afterwards; nothing of this step was written"
            )

    def is_full(self) -> bool:
        """Return whether the log is as large as it may become, and cannot be emptied."""
        return self._size() >= _FULL_WAL_BYTES and not self._retry_checkpoint()

    def has_room_for_pruning(self) -> bool:
        """Return whether pruning may write; on a full disk, deliveries need what space is left."""
        if self._size() >= _MAX_WAL_BYTES and not self._reserve.is_allocated():
            return self._retry_checkpoint()
        return not self.is_full()

    def _size(self) -> int:
        try:
            return os.stat(self._file).st_size  # noqa: PTH116 - it must be quick
        except OSError:
            return 0

    def _restore_after_checkpoint(self) -> bool:
        """Fill the reserve with the space that pruning freed: a file shrinks at a checkpoint."""
        return self._size() > 0 and self._retry_checkpoint() and self._reserve.restore()

    def _retry_checkpoint(self) -> bool:
        """Empty the log before a conversion is accepted; False if that failed a moment ago, too."""
        started = time.monotonic()
        if started < self._next_retry:
            return False
        is_done = self._checkpoint("TRUNCATE", uses_reserve=False)
        # Lanes have three quarters of the time: callers may try again in a loop.
        self._next_retry = time.monotonic() + 3 * (time.monotonic() - started)
        return is_done

    @contextmanager
    def never_filled_by_reading(self) -> Iterator[None]:
        """Interrupt queries of many seconds before they make the log full.

        Raises:
            OutboxError: it has half of the size at which nothing more would be accepted.
        """
        self._sql.set_progress_handler(
            lambda: self._size() >= _FULL_WAL_BYTES // 2, _STEPS_BETWEEN_LOOKS
        )
        try:
            yield
        except sqlite3.OperationalError as exc:
            if error_code(exc) != sqlite3.SQLITE_INTERRUPT:
                raise
            raise OutboxError(
                f"{self._file} has {self._size() // 2**20} MiB and grows while the outbox file is "
                "read, as nothing can be removed from it meanwhile: try again when fewer "
                "conversions are accepted, and end long transactions of other programs"
            ) from None
        finally:
            self._sql.set_progress_handler(None, 0)

    def checkpoint(self, *, at_once: bool = False) -> None:
        """Move everything in the write-ahead log into the database, and empty the log.

        It also erases deleted and overwritten content from the log. Nothing happens if another
        process has the file locked, or a short time after the last checkpoint, unless it is to be
        done *at_once* and the last one was not prevented by a reader.
        """
        not_before = self._next_forced_checkpoint if at_once else self._next_checkpoint
        changes = self._sql.total_changes
        if time.monotonic() < not_before or (changes == self._changes_erased and not at_once):
            return
        if self._checkpoint("TRUNCATE"):
            self._changes_erased = changes

    def _start_over(self, size: int, *, uses_reserve: bool) -> None:
        """Checkpoint a log of *size* bytes, unless a reader prevented that a short time ago."""
        if time.monotonic() < self._next_forced_checkpoint:
            return
        # On a full disk, the database may need the space of the log.
        keeps_size = size <= _MAX_WAL_BYTES and self._reserve.is_allocated()
        mode = "RESTART" if keeps_size else "TRUNCATE"
        if self._checkpoint(mode, uses_reserve=uses_reserve):
            self._full_size = size if self._reserve.is_allocated() else _WAL_BYTES
            self._large_size = _LARGE_WAL_BYTES
        elif size >= self._large_size and not self._lacks_space:
            self._large_size = 2 * size
            self._warn_of_size(size)

    def _warn_of_size(self, size: int) -> None:
        with suppress(Exception):  # the application's log handlers may fail
            _log.warning(
                "%s has %d MiB and grows: a program has been reading the outbox file for long, and "
                "nothing can be removed from the write-ahead log meanwhile; conversions are "
                "accepted and delivered as usual; end that program's transaction",
                self._file,
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
                (busy, *_) = self._sql.execute(statement).fetchone()
            except sqlite3.Error as exc:  # nothing is lost: all is still in the log
                self._lacks_space = needs_reserve(exc, self._reserve)
                if not (uses_reserve and self._lacks_space and self.use_reserve()):
                    break
            else:
                is_done, self._lacks_space = not busy, False
                break
        now = time.monotonic()
        self._next_checkpoint = now + _CHECKPOINT_SHARE * (now - started)
        self._next_forced_checkpoint = now if is_done else self._next_checkpoint
        return is_done


# Opening


def use_wal(sql: sqlite3.Connection, busy_timeout: float) -> None:
    """Let a connection that was just opened use a write-ahead log, with all other settings.

    Raises:
        OutboxError: the folder of the file does not allow one.
        sqlite3.OperationalError: another process has had the file locked for *busy_timeout*.
    """
    sql.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect in an empty file only
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            (mode,) = sql.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as exc:
            # SQLite's own busy timeout does not apply when two processes switch a new file to WAL.
            if error_code(exc) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise OutboxError(
            f"the folder of the outbox file does not allow a write-ahead log (SQLite chose journal "
            f"mode {mode!r}): put the file on a local disk"
        )
    sql.execute("PRAGMA synchronous = NORMAL")
    sql.execute("PRAGMA secure_delete = ON")  # overwrite deleted rows with zeros
    sql.execute("PRAGMA fullfsync = ON")  # macOS: flush the drive's cache; elsewhere no difference
    sql.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    sql.execute("PRAGMA temp_store = MEMORY")  # no copy of a payload in a temporary file
    # SQLite's own checkpoints may run at the same time as a commit of another process that starts
    # the log from its beginning, and then skip pages of it. `Database.checkpoint` holds the write
    # lock, so that nothing is committed meanwhile.
    sql.execute("PRAGMA wal_autocheckpoint = 0")
    sql.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")


# The bug of older SQLite versions that may damage a file which several connections write to
#
# https://sqlite.org/wal.html#walresetbug: a checkpoint at the same time as a commit of another
# connection may lose pages of that commit. Outboxes avoid it among themselves, so only other
# programs that write to the file are a danger. Python 3.11 of Debian 12 has SQLite 3.40.1, where
# the warning would stand above the output of every command: it is logged once a day for each file,
# and once in a process. The command ``anytrack outbox verify`` always shows it.

_LOGGED_AT = "anytrack_async/wal-reset-bug"
"""The checkpoint with the time of the last warning, unix seconds on the clock of the file."""

_REPEAT_AFTER = 86_400.0  # seconds


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Return whether this version of SQLite has the bug; fixed in 3.51.3, 3.50.7 and 3.44.6."""
    first_fixed = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}.get(version[:2], (3, 51, 3))
    return (3, 7, 0) <= version < first_fixed


def wal_reset_warning() -> str | None:
    """Return the warning about the version of SQLite in use; None if it does not have the bug."""
    if not has_wal_reset_bug(sqlite3.sqlite_version_info):
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} can damage a file that several connections write to "
        "(https://sqlite.org/wal.html#walresetbug). Outboxes avoid that among themselves; do not "
        "write to an outbox file with other programs, or use SQLite 3.51.3 or later"
    )


def due_warning(sql: sqlite3.Connection, now: float) -> str | None:
    """Return the warning if none was logged for this file in the last day, else None.

    Called in a transaction, which records that the warning was logged: of several processes that
    open the file at once, one logs it.
    """
    warning = wal_reset_warning()
    if warning is None:
        return None
    row = sql.execute(queries.CHECKPOINT, (_LOGGED_AT,)).fetchone()
    with suppress(TypeError, ValueError):  # none yet, or a damaged value
        if now < float(row[0]) + _REPEAT_AFTER:
            return None
    sql.execute(queries.SAVE_CHECKPOINT, (_LOGGED_AT, str(now).encode()))
    return warning


@cache  # a process that opens many files logs it once
def log_once(warning: str) -> None:
    """Log *warning*, unless this process has logged it before."""
    _log.warning(warning)
