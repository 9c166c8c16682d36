"""Group commit: calls of `append` at the same time share one write to the disk.

`GroupCommit` writes the conversions of all waiting callers in one transaction, because a synced
commit takes milliseconds, whatever its size. So calls that arrive while one group is being written
form the next: with 100 tasks that each append one conversion and wait, a commit carries about 100.
"""

from __future__ import annotations

import math
import sqlite3
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from time import monotonic
from typing import TypeAlias

from anytrack_async.errors import OutboxError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.sqlite.append import Group, Result, Rows, append, recipients_column
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import CACHED_BYTES
from anytrack_async.outbox.sqlite.errors import is_locked, locked_error
from anytrack_async.outbox.sqlite.thread import OwnerThread, resolve

_GROUP_BYTES = 4 * 2**20
"""Bytes of records from which on further calls are left to the next group."""

Remember = Callable[[int, Sequence[Conversion], Sequence[bytes]], None]
"""Called with the position of the first of some conversions that are new in the log, with these
conversions and with their digests."""

_Call: TypeAlias = tuple[float, "Future[Result]", Sequence[Conversion], str | None, Rows | None]
"""One call of `append`: when it began, on the monotonic clock, its future, its conversions, the
column ``destinations``, and their rows, None if they are not encoded yet. A named tuple would take
five times as long to create, and there is one per call."""

_began: Callable[[_Call], float] = itemgetter(0)
_future: Callable[[_Call], Future[Result]] = itemgetter(1)


class GroupCommit:
    """Collects calls of `append` until the thread is free, which then writes them as one group.

    Args:
        thread: writes, and encodes small calls: encoding a hundred in a row takes less time than
            encoding one whenever a task is woken.
        capacity: how many conversions may wait for each destination.
        remember: called in the thread with the conversions that are new in the log.

    Attributes:
        groups: how many groups were written.
        accept_within: seconds that a call waits while another process has the file locked.
    """

    def __init__(self, thread: OwnerThread[Database], capacity: int, remember: Remember) -> None:
        self._thread = thread
        self._capacity = capacity
        self._remember = remember
        self._calls: deque[_Call] = deque()
        self._is_posted = False
        self._oldest = math.inf  # when the first call of the group that is written now began
        self.groups = 0
        self.accept_within = math.inf

    def add(
        self,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None,
        rows: Rows | None,
        waited: float,
    ) -> Future[Result]:
        """Add a call to the group that is written next; await the future for its result.

        The result is set in the caller's event loop. It is a plain asyncio future because there is
        one per call, and creating an `anyio.Event` takes half as long as encoding a conversion.

        Args:
            conversions: at least one.
            destinations: names of the destinations they are addressed to; None for all.
            rows: the result of `encode_in_steps`, if there are too many for the thread to encode.
            waited: seconds that the caller has waited already.

        Raises:
            OutboxError: this process was forked after the thread started.
        """
        if not self._thread.in_this_process:  # a forked child inherits only `_is_posted`
            self._thread.check_process()
        future: Future[Result] = Future()
        recipients = recipients_column(destinations)
        self._calls.append((monotonic() - waited, future, conversions, recipients, rows))
        if not self._is_posted:
            self._is_posted = True
            self._thread.post(self)
        return future

    def run(self, db: Database) -> None:
        """Write a group of waiting calls and set their results; called in the thread."""
        self.groups += 1
        self._is_posted = False  # before any call is taken, so that later calls post again
        calls: list[_Call] = []
        group = self._take_calls(db.clock.now(), calls)
        if not calls:
            return
        self._oldest = min(map(_began, calls))
        try:
            results = self._write(db, group, calls)
        except Exception as exc:
            results = [_copy(exc) for _ in calls]
            if is_locked(exc.__cause__):
                calls = self._give_back(calls)
                results = [locked_error(db.path, monotonic() - _began(call)) for call in calls]
        finally:
            self._oldest = math.inf
        resolve(zip(map(_future, calls), results, strict=True))
        if self._calls and not self._is_posted:  # behind the claims that wait for the thread
            self._is_posted = True
            self._thread.post(self)

    def may_wait(self, db: Database) -> bool:
        """Return whether the present work may wait longer for the lock; called in the thread.

        Called while another process has the file locked, whatever the present work is. Calls that
        have waited for `accept_within` fail, and are in no later group.
        """
        latest = monotonic() - self.accept_within
        late: list[_Call] = []
        for _ in range(len(self._calls)):  # not in order: some have waited for room before
            call = self._calls.popleft()
            (late if _began(call) <= latest else self._calls).append(call)
        resolve((_future(call), locked_error(db.path, self.accept_within)) for call in late)
        return self._thread.may_wait() and self._oldest > latest

    def _give_back(self, calls: list[_Call]) -> list[_Call]:
        """Return the calls that may wait no longer; the others are in the next group."""
        latest = monotonic() - self.accept_within
        if self._oldest > latest:  # another limit has ended the waiting
            return calls
        self._calls.extendleft(call for call in reversed(calls) if _began(call) > latest)
        return [call for call in calls if _began(call) <= latest]

    def _take_calls(self, now: float, calls: list[_Call]) -> Group:
        """Return a group of waiting calls, which *calls* gets."""
        group, take = Group(), self._calls.popleft
        for _ in range(len(self._calls)):
            call = take()
            calls.append(call)
            _, _, conversions, recipients, rows = call
            try:
                if rows is None:
                    group.encode(conversions, recipients, now)
                else:
                    group.add(conversions, rows)
            except Exception as exc:  # a conversion that cannot be encoded fails its own call only
                group.reject(exc)
            if group.bytes >= _GROUP_BYTES:
                break
        return group

    def _write(self, db: Database, group: Group, calls: Sequence[_Call]) -> Sequence[Result]:
        def cancelled() -> list[int]:
            return [index for index, call in enumerate(calls) if _future(call).cancelled()]

        try:
            first = append(db, group, self._capacity, cancelled)
        except (sqlite3.Error, OSError) as exc:
            raise db.outbox_error(exc) from exc
        results = group.results()
        # Not if they are large on average: so the cache is bounded by bytes without counting any.
        if group.bytes <= CACHED_BYTES * len(group.conversions):
            self._remember(first, *group.new())
        return results


def _copy(error: Exception) -> Exception:
    """Return *error*, copied if it is an `OutboxError`, because several tasks raise it at once."""
    if not isinstance(error, OutboxError):
        return error
    copy = OutboxError(str(error))
    copy.__cause__ = error
    return copy
