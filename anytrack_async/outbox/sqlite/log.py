"""The log of an outbox file: conversions are appended to it in groups.

`GroupCommit` writes the conversions of all waiting callers in one transaction, because a synced
commit takes milliseconds, whatever its size. So calls that arrive while one group is being written
form the next: with 100 tasks that each append one conversion and wait, a commit carries about 100.
The column values of a group are one flat list per table, so that a statement can insert many rows,
and there is a result per row only if not all of them are new.
"""

from __future__ import annotations

import math
import sqlite3
from asyncio import Future
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, compress
from operator import itemgetter
from time import monotonic
from typing import Any, NamedTuple, Self, TypeAlias, cast

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import digest_of, record_of
from anytrack_async.errors import OutboxError
from anytrack_async.models.contradiction import find_contradiction
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.outbox.checks import check_append_bytes, queue_full_error
from anytrack_async.outbox.sqlite.claim import CACHED_BYTES
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.errors import is_locked, locked_error
from anytrack_async.outbox.sqlite.queries import log as log_queries
from anytrack_async.outbox.sqlite.queries import retention as retention_queries
from anytrack_async.outbox.sqlite.reports import count_foreign
from anytrack_async.outbox.sqlite.thread import OwnerThread, resolve

ENCODED_AT_ONCE = 50
"""Conversions encoded before other tasks may run: a fraction of a millisecond."""

_BYTES_AT_ONCE = 2**18
"""Bytes of records after which other tasks may run too, however few conversions they are."""

_GROUP_BYTES = 4 * 2**20
"""Bytes of records from which on further calls are left to the next group."""

_IDS_WIDTH = len(log_queries.IDS_COLUMNS)
_WIDTH = len(log_queries.LOG_COLUMNS)
_RECIPIENTS = log_queries.LOG_COLUMNS.index("destinations")
_DIGEST = log_queries.LOG_COLUMNS.index("digest")
_PAYLOAD = log_queries.LOG_COLUMNS.index("payload")

# The thread must ask for the interpreter after each statement, and a busy event loop may keep it
# for milliseconds. So statements are few and long: for each table, 137 rows take 2 of 64 rows, 1 of
# 8 and 1 of 1.
_INSERTIONS = [
    (rows, log_queries.insert_into_ids(rows), log_queries.insert_into_log(rows))
    for rows in (256, 64, 32, 16, 8, 4, 2, 1)
]

_NEW = Appended.NEW

Remember = Callable[[int, Sequence[Conversion], Sequence[bytes]], None]
"""Called with the position of the first of some conversions that are new in the log, with these
conversions and with their digests."""

Result: TypeAlias = Sequence[AppendResult] | Exception
"""The result for each conversion of a call, or the reason why none of the call was accepted."""


# Encoding


class Rows(NamedTuple):
    """Rows for both tables, each as one flat list of the values of its columns.

    Two lists, because SQLite copies each value that is bound to a statement: with one list for both
    statements, each would get all values.

    Attributes:
        ids: values of `IDS_COLUMNS`.
        log: values of `LOG_COLUMNS`.
    """

    ids: list[object]
    log: list[object]

    def part(self, start: int, stop: int) -> Rows:
        """Return the rows from *start* to *stop*."""
        return Rows(
            self.ids[start * _IDS_WIDTH : stop * _IDS_WIDTH],
            self.log[start * _WIDTH : stop * _WIDTH],
        )

    def truncate(self, count: int) -> None:
        """Remove all rows but the first *count*."""
        del self.ids[count * _IDS_WIDTH :]
        del self.log[count * _WIDTH :]


async def encode_in_steps(
    conversions: Sequence[Conversion], destinations: Sequence[str] | None, accepted_at: float
) -> Rows:
    """Return the rows of many conversions; other tasks may run in between.

    Raises:
        UnsendableError: all together they have more than `MAX_APPEND_BYTES`.
    """
    rows, size = Rows([], []), 0
    recipients, done = _recipients(destinations), 0
    while done < len(conversions):
        if done:
            await checkpoint()
        part = conversions[done : done + ENCODED_AT_ONCE]
        size += _add_rows(rows, part, recipients, accepted_at, max_bytes=_BYTES_AT_ONCE)
        done = len(rows.log) // _WIDTH
        check_append_bytes(size, done, len(conversions))
    return rows


def _add_rows(
    rows: Rows,
    conversions: Sequence[Conversion],
    recipients: str | None,
    accepted_at: float,
    max_bytes: float = math.inf,
) -> int:
    """Extend *rows* by a row for each conversion; some may be added before it raises.

    Returns:
        The bytes of their records. The first conversion that exceeds *max_bytes* is the last.
    """
    ids, log = rows
    size = 0
    for conversion in conversions:
        payload = record_of(conversion)
        digest = digest_of(payload)
        # The function `summary` would take a third longer.
        summary = f"{conversion.conversion_type} {conversion.revenue!s} {conversion.currency}"
        ids += (conversion.event_id, summary, recipients)
        # For each `bytes`, sqlite3 would look for an adapter, which takes longer than the copies.
        log += (bytearray(digest), bytearray(payload), accepted_at, recipients)
        size += len(payload)
        if size > max_bytes:
            break
    return size


def _recipients(destinations: Sequence[str] | None) -> str | None:
    r"""Return the column ``destinations``: ["a", "b"] gives "\na\nb\n", None is for all."""
    return None if destinations is None else _joined(tuple(destinations))


@lru_cache(maxsize=64)
def _joined(names: tuple[str, ...]) -> str:
    return "\n" + "".join(f"{name}\n" for name in names)


# Grouping


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
        recipients = None if destinations is None else _joined(tuple(destinations))
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
            results = self._write(db, group)
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

    def _write(self, db: Database, group: Group) -> Sequence[Result]:
        try:
            first = append(db, group, self._capacity)
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


@attrs.define
class Group:
    """Several calls of `append` that are written in one transaction, and their results.

    Attributes:
        conversions: the conversions of all calls, except rejected ones.
        rows: their rows.
        sizes: number of conversions of each call.
        appended: an `AppendResult` per conversion; None if all are new.
        errors: index of a call → why nothing of it was accepted.
        bytes: the size of their records.
    """

    conversions: list[Conversion] = attrs.field(factory=list)
    rows: Rows = attrs.field(factory=lambda: Rows([], []))
    sizes: list[int] = attrs.field(factory=list)
    appended: list[AppendResult] | None = None
    errors: dict[int, Exception] = attrs.field(factory=dict)
    bytes: int = 0

    def encode(
        self, conversions: Sequence[Conversion], recipients: str | None, accepted_at: float
    ) -> None:
        """Add a call and encode its conversions."""
        self.bytes += _add_rows(self.rows, conversions, recipients, accepted_at)
        self.conversions += conversions
        self.sizes.append(len(conversions))

    def add(self, conversions: Sequence[Conversion], rows: Rows) -> None:
        """Add a call with encoded conversions."""
        self.rows.ids.extend(rows.ids)
        self.rows.log.extend(rows.log)
        self.bytes += sum(map(len, cast("list[bytes]", rows.log[_PAYLOAD::_WIDTH])))
        self.conversions += conversions
        self.sizes.append(len(conversions))

    def reject(self, error: Exception) -> None:
        """Add a call that failed while it was encoded, and remove the rows that it left."""
        self.rows.truncate(len(self.conversions))
        self.errors[len(self.sizes)] = error
        self.sizes.append(0)

    def new(self) -> tuple[Sequence[Conversion], Sequence[Any]]:
        """Return the new conversions and their digests, in log order."""
        digests = self.rows.log[_DIGEST::_WIDTH]
        if self.appended is None:
            return self.conversions, digests
        are_new = [result is Appended.NEW for result in self.appended]
        return [*compress(self.conversions, are_new)], [*compress(digests, are_new)]

    def results(self) -> list[Result]:
        """Return the result of each call."""
        results: list[Result]
        if self.appended is None:
            results = [[_NEW] * size for size in self.sizes]
        else:
            ends = [*accumulate(self.sizes)]
            starts = [0, *ends[:-1]]
            results = [*map(self.appended.__getitem__, map(slice, starts, ends))]
        for index, error in self.errors.items():
            results[index] = error
        return results


# Writing


def append(db: Database, group: Group, capacity: int) -> int:
    """Write *group* in one transaction; it is on the disk when this returns.

    Returns:
        The position of the first new row; the other new rows follow it.
    """
    db.wal.check_space()
    with db.transaction(synced=True) as sql:
        if db.cipher is not None:
            db.cipher.seal_rows(sql, group.rows.ids, group.rows.log)
        (end,) = sql.execute(log_queries.END_OF_LOG).fetchone()
        backlog = Backlog.read(db, end)
        if max(backlog.waiting.values()) + sum(group.sizes) <= capacity:
            group.appended = _insert(sql, group.rows, end)
        else:
            backlog.subtract_foreign(db, end)
            group.appended = _insert_until_full(sql, group, end, backlog, capacity)
        db.counts.accept(group.conversions if group.appended is None else group.new()[0])
    return int(end) + 1


def _insert(sql: sqlite3.Connection, rows: Rows, end: int) -> list[AppendResult] | None:
    """Insert *rows* after position *end*; return None if all are new."""
    results: list[AppendResult] | None = None
    start, count = 0, len(rows.log) // _WIDTH
    for size, into_ids, into_log in _INSERTIONS:
        while start + size <= count:
            part = rows.part(start, start + size)
            inserted = max(sql.execute(into_ids, part.ids).rowcount, 0)
            if inserted == size:
                sql.execute(into_log, part.log)
                if results is not None:
                    results += [Appended.NEW] * inserted
            else:
                if results is None:
                    results = [Appended.NEW] * start
                results += _insert_new(sql, part, end)
            start, end = start + size, end + inserted
    return results


def _insert_new(sql: sqlite3.Connection, rows: Rows, end: int) -> list[AppendResult]:
    """Insert the new ones of some rows into the log; return a result per row.

    Their ids are inserted already, when the log ended at *end*. New ids got the positions after
    *end* in order, so a row with another position is a repeat. With *end* = 7, the rows A B A get
    positions 8, 9 and again 8: NEW, NEW, REPEAT.
    """
    results: list[AppendResult] = []
    ids = cast("list[Any]", rows.ids)
    for index in range(len(ids) // _IDS_WIDTH):
        event_id, repeat, _ = ids[index * _IDS_WIDTH : (index + 1) * _IDS_WIDTH]
        seq, first = sql.execute(log_queries.LOG_SUMMARY, (event_id,)).fetchone()
        if seq == end + 1:
            end += 1
            row = rows.log[index * _WIDTH : (index + 1) * _WIDTH]
            sql.execute(log_queries.INSERT_INTO_LOG_AT, (seq, *row))
            results.append(Appended.NEW)
        else:
            results.append(find_contradiction(event_id, first, repeat) or Appended.REPEAT)
    return results


def _insert_until_full(
    sql: sqlite3.Connection, group: Group, end: int, backlog: Backlog, capacity: int
) -> list[AppendResult]:
    """Insert the calls one by one, and undo each for which a destination has no room.

    Repeats take no room: at 98 of 100, a call with 5 conversions fits if 3 of them are repeats.
    """
    results: list[AppendResult] = []
    for index, size in enumerate(group.sizes):
        start = len(results)
        sql.execute("SAVEPOINT call")
        rows = group.rows.part(start, start + size)
        recipients = cast("str | None", rows.log[_RECIPIENTS] if size else None)
        call_results: Sequence[AppendResult] = _insert(sql, rows, end) or [Appended.NEW] * size
        added = call_results.count(Appended.NEW)
        if added and (full := backlog.full_for(recipients, added, capacity)):
            sql.execute("ROLLBACK TO call")
            group.errors[index] = queue_full_error(capacity, full, added)
            call_results, added = [Appended.REPEAT] * size, 0  # placeholders: none is new
        sql.execute("RELEASE call")
        backlog.add(recipients, added)
        end += added
        results += call_results
    return results


# The backlog, to find out whether a destination is full
#
# The difference between the end of the log and a cursor costs nothing to read, and is at least the
# number of conversions that wait. Only where it exceeds the capacity are the conversions counted
# that are not addressed to the destination.

_MAX_COUNTED = 200_000
"""Positions in which conversions for other destinations are counted, in a fraction of a second."""


class Backlog(NamedTuple):
    """How many conversions wait for each destination.

    Attributes:
        waiting: destination → how many wait for it; "" → how many are stored, without any.
        cursors: destination → its cursor.
    """

    waiting: dict[str, int]
    cursors: Mapping[str, int]

    @classmethod
    def read(cls, db: Database, end: int) -> Self:
        """Return the backlogs in a log that ends at *end*.

        Conversions after a cursor that are not addressed to the destination are counted too, since
        nothing but reading the log tells them apart; see `subtract_foreign`.
        """
        rows = db.sql.execute(log_queries.BACKLOGS).fetchall()
        waiting = {name: end - cursor + unsettled for name, cursor, unsettled in rows}
        if not rows:
            (pruned,) = db.sql.execute(retention_queries.PRUNED_UPTO).fetchone()
            waiting = {"": end - pruned}
        return cls(waiting, {name: cursor for name, cursor, _ in rows})

    def subtract_foreign(self, db: Database, end: int) -> None:
        """Subtract the conversions after each cursor that are not addressed to the destination."""
        for name, cursor in self.cursors.items():
            if end - cursor <= _MAX_COUNTED:
                self.waiting[name] -= count_foreign(db, name, cursor, end)

    def full_for(self, recipients: str | None, added: int, capacity: int) -> dict[str, int]:
        """Return the destinations without room for *added* more, with what waits for each."""
        return {
            name: waiting
            for name, waiting in self.waiting.items()
            if waiting + added > capacity and _is_addressed(name, recipients)
        }

    def add(self, recipients: str | None, added: int) -> None:
        """Count *added* more conversions for *recipients*."""
        for name in self.waiting:
            if _is_addressed(name, recipients):
                self.waiting[name] += added


def _is_addressed(name: str, recipients: str | None) -> bool:
    return not name or recipients is None or f"\n{name}\n" in recipients
