"""An open outbox file: `Database`, and its transactions."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.sqlite.clock import FileClock
from anytrack_async.outbox.sqlite.errors import is_locked, outbox_error
from anytrack_async.outbox.sqlite.files import FileIdentities, Reserve, check_private, make_private
from anytrack_async.outbox.sqlite.history.counts import PendingCounts
from anytrack_async.outbox.sqlite.owners import Owner
from anytrack_async.outbox.sqlite.upgrade import (
    allow_shrinking,
    create_or_upgrade,
    format_version,
    vacuum,
)
from anytrack_async.outbox.sqlite.write_ahead_log import (
    WriteAheadLog,
    due_warning,
    log_once,
    use_wal,
)

if TYPE_CHECKING:
    from anytrack_async.outbox.sqlite.encryption import RowCipher

_BUSY_STEP = 0.25
"""Seconds of waiting for a lock between two checks whether the result is still wanted."""


class Database:
    """An open outbox file. Every method blocks: use it in one thread.

    Attributes:
        path: the file.
        sql: the connection; outside a transaction each statement commits by itself.
        clock: unix seconds on the clock of the file.
        owner: this object among all that have the file open.
        reserve: space on the disk for the lanes.
        wal: the write-ahead log of the file.
        may_wait: called while another process has the file locked; False ends the waiting.
        cipher: encrypts and decrypts rows; None if the file was opened without keys.
        damaged: destination → why its cursor cannot be relied on.
        counts: the history's counts that are not written yet.
        foreign: destination → two positions, and how many conversions between them are not
            addressed to it; see `append.Backlog`.
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
        self.wal = WriteAheadLog(path, sql, self.reserve)
        self._identities = FileIdentities(path)
        self._busy_timeout = busy_timeout
        self._synced = False

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
                use_wal(sql, busy_timeout)
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
                if now >= self.counts.next_write and self.reserve.is_unused():
                    self.counts.write(self.sql)
                if now >= self.clock.next_record:
                    self.clock.record(self.sql)
        except BaseException:
            self.counts.roll_back()
            raise
        self.counts.commit()
        if synced:
            self._identities.check()
        self.wal.limit_size(uses_reserve=not synced)

    def checkpoint(self, *, at_once: bool = False) -> None:
        """Empty the write-ahead log; see `WriteAheadLog.checkpoint`."""
        self.wal.checkpoint(at_once=at_once)

    def vacuum(self) -> tuple[int, int]:
        """Write the file anew, without unused pages; return its size in bytes before and after."""
        self.wal.check_size()
        size = os.stat(self.path).st_size  # noqa: PTH116
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
