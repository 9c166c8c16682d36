"""The access of an outbox object to its file: opening and closing it, and work in its thread.

`SQLiteAccess` is the base of `SQLiteOutbox` and of the classes that are its parts.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import anyio

from anytrack_async.errors import MissingKeyError, OutboxError
from anytrack_async.outbox.checks import already_open_error, not_open_error
from anytrack_async.outbox.methods import StoredMethods
from anytrack_async.outbox.sqlite import leases, reports
from anytrack_async.outbox.sqlite.clock import FileClock
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import ConversionCache
from anytrack_async.outbox.sqlite.errors import may_need_reserve, needs_reserve, outbox_error
from anytrack_async.outbox.sqlite.files import Reserve
from anytrack_async.outbox.sqlite.group_commit import GroupCommit
from anytrack_async.outbox.sqlite.queries import encryption as queries
from anytrack_async.outbox.sqlite.retention import Step
from anytrack_async.outbox.sqlite.thread import OwnerThread

if TYPE_CHECKING:
    from anytrack_async.codec.encryption import KeyRing

_log = logging.getLogger("anytrack_async")

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CACHED_CONVERSIONS = 10_000

_REST = 19
"""How many times as long as a step that can wait the thread is free for others afterwards."""

_GENTLE_FOR = 4.0
"""Seconds after which steps that can wait end, while conversions are accepted."""


class SQLiteAccess(StoredMethods):
    """Opens an outbox file, and works with it in a thread of its own."""

    def __init__(
        self,
        path: Path,
        *,
        capacity: int,
        keys: KeyRing | None,
        clock: FileClock,
        busy_timeout: float,
    ) -> None:
        self._path = path
        self._capacity = capacity
        self._keys = keys
        self._clock = clock
        self._max_attempts = 0
        self._is_opening = False
        self._thread: OwnerThread[Database] | None = None
        self._opening = partial(Database.open, path, clock=clock, busy_timeout=busy_timeout)
        self._owner_id = 0

    def limit_waiting(self, seconds: float) -> None:
        """Let `append` wait for a locked file for *seconds* at most; see `LimitsWaiting`."""
        self._group_commit.accept_within = seconds

    def _check_closed(self) -> None:
        if self._is_opening or (self._thread is not None and self._thread.in_this_process):
            raise already_open_error(f"SQLiteOutbox on {self._path}", os.getpid())

    # Opening and closing

    async def open(self, destinations: Sequence[str], *, from_start: Sequence[str] = ()) -> None:
        """Open the file and register *destinations*; see `Outbox.open`."""
        self._check_closed()
        if self._thread is not None:
            # A forked child cannot use the connection of its parent.
            max_attempts, self._owner_id = self._max_attempts, 0
            await self.aclose()
            self._max_attempts = max_attempts
        self._is_opening = True
        try:
            await self._start_thread()
            await self._run(reports.register, destinations, from_start)
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._is_opening = False

    async def _start_thread(self) -> None:
        opening = partial(
            open_file, self._path, self._opening, keys=self._keys, previous_owner=self._owner_id
        )
        thread = OwnerThread(opening, leases.close)
        await thread.start()
        self._thread = thread
        self._cache = ConversionCache(_CACHED_CONVERSIONS)  # the file may be a new one
        self._group_commit = GroupCommit(thread, self._capacity, self._cache.remember)
        self._owner_id = await self._run(_connect_thread, self._group_commit.may_wait)

    async def aclose(self) -> None:
        """Finish pending work and close the file; `open` opens it again."""
        thread, self._thread, self._max_attempts = self._thread, None, 0
        if thread is not None:
            await thread.stop()

    async def _run(
        self, work: Callable[Concatenate[Database, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Call *work* in the thread and return its result.

        Raises:
            OutboxError: SQLite or the operating system failed; the message says what to do.
        """
        thread = self._open_thread()
        try:
            try:
                return await thread.run(work, *args, **kwargs)
            except sqlite3.Error as exc:
                if not may_need_reserve(exc):
                    raise
                return await thread.run(with_reserve(work, exc), *args, **kwargs)
        except (sqlite3.Error, OSError) as exc:
            raise outbox_error(exc, self._path) from exc

    def _open_thread(self) -> OwnerThread[Database]:
        if self._thread is None:
            raise not_open_error()
        return self._thread

    async def _run_steps(
        self,
        step: Callable[Concatenate[Database, _P], Step],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> int:
        """Repeat *step* until it is finished; other processes may use the file in between."""
        rows = 0
        while True:
            result = await self._run(step, *args, **kwargs)
            rows += result.rows
            if not result.more:
                return rows

    async def _run_gently(
        self,
        step: Callable[Concatenate[Database, _P], Step],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> None:
        """Repeat *step*, with rests while conversions are accepted, which would have to wait.

        After a step of 0.4 ms, the thread is free for 7.6 ms. After a few seconds, the remaining
        steps are left to the next call, so that they delay nothing that is urgent.
        """
        groups, busy_until = self._group_commit.groups, 0.0
        ends_at = monotonic() + _GENTLE_FOR
        while (result := await self._run(step, *args, **kwargs)).more:
            now = monotonic()
            if groups != self._group_commit.groups:
                groups, busy_until = self._group_commit.groups, now + 1.0
            if now < busy_until:
                if now >= ends_at:
                    return
                await anyio.sleep(_REST * result.seconds)


# In the thread: opening the file, and work while the disk is full


def _connect_thread(db: Database, may_wait: Callable[[Database], bool]) -> int:
    """Let the file ask *may_wait* whether to wait for locks; return the id of the owner."""
    db.may_wait = partial(may_wait, db)
    return db.owner.id


def with_reserve(
    work: Callable[Concatenate[Database, _P], _T], error: sqlite3.Error
) -> Callable[Concatenate[Database, _P], _T]:
    """Return *work*, which failed with *error*, with the space of the reserve.

    It may have been freed before. If the disk is not full, *work* raises *error* again.
    """

    # In one job, because between two jobs an append could take the space for the reserve again.
    def work_with_reserve(db: Database, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if not needs_reserve(error, db.reserve):
            raise error
        if db.wal.use_reserve():
            _log.error(
                "the disk is full: deliveries from the outbox go on, but it accepts nothing until "
                "there is space"
            )
        else:
            db.checkpoint(at_once=True)  # the log may take the space that another process freed
        return work(db, *args, **kwargs)

    return work_with_reserve


def open_file(
    path: Path, opening: Callable[[], Database], keys: KeyRing | None, previous_owner: int
) -> Database:
    """Open the file *path* with *opening*, if the disk is full with the space of the reserve.

    Args:
        path: the file.
        opening: opens it.
        keys: encrypt and decrypt records and error texts; None for no encryption.
        previous_owner: see `leases.register_owner`.

    Raises:
        OutboxError: see `Database.open`.
        MissingKeyError: the file is encrypted with keys that are not in *keys*.
    """
    try:
        return _open_once(path, opening, keys, previous_owner)
    except OutboxError as exc:
        reserve = Reserve(path.absolute())
        if not isinstance(exc.__cause__, Exception) or not needs_reserve(exc.__cause__, reserve):
            raise
        reserve.release()
        return _open_once(path, opening, keys, previous_owner)


def _open_once(
    path: Path, opening: Callable[[], Database], keys: KeyRing | None, previous_owner: int
) -> Database:
    db = opening()
    try:
        if keys is not None or db.sql.execute(queries.LISTED_KEYS).fetchone():
            # Imported here, so that it is only loaded if there is something to encrypt or decrypt.
            from anytrack_async.outbox.sqlite.encryption import attach

            attach(db, path, keys)
        leases.register_owner(db, previous_owner)
    except (sqlite3.Error, OSError) as exc:
        db.close()
        raise db.outbox_error(exc) from exc
    except MissingKeyError:
        db.close()
        raise
    return db
