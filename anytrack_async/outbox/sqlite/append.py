"""Appending a group of conversions to the log of an outbox file, in one transaction.

There is a result per row only if not all rows are new.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, compress
from typing import Any, NamedTuple, Self, TypeAlias, cast

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import digest_of, record_of
from anytrack_async.models.contradiction import find_contradiction, summary
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.outbox.checks import check_append_bytes, check_destination, queue_full_error
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.queries import log as queries
from anytrack_async.outbox.sqlite.queries import retention as retention_queries
from anytrack_async.outbox.sqlite.reports import count_foreign

ENCODED_AT_ONCE = 50
"""Conversions encoded before other tasks may run: a fraction of a millisecond."""

_BYTES_AT_ONCE = 2**18
"""Bytes of records after which other tasks may run too, however few conversions they are."""

_IDS_WIDTH = len(queries.IDS_COLUMNS)
_WIDTH = len(queries.LOG_COLUMNS)
_RECIPIENTS = queries.LOG_COLUMNS.index("destinations")
_DIGEST = queries.LOG_COLUMNS.index("digest")
_PAYLOAD = queries.LOG_COLUMNS.index("payload")


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

    def size(self) -> int:
        """Return how many rows there are."""
        return len(self.log) // _WIDTH

    def payload_bytes(self) -> int:
        """Return the bytes of all records."""
        return sum(map(len, cast("list[bytes]", self.log[_PAYLOAD::_WIDTH])))

    def digests(self) -> list[Any]:
        """Return the digest of each record."""
        return self.log[_DIGEST::_WIDTH]

    def recipients(self) -> str | None:
        """Return the column ``destinations`` of the first row; None if there is no row."""
        return cast("str | None", self.log[_RECIPIENTS] if self.log else None)

    def truncate(self, count: int) -> None:
        """Remove all rows but the first *count*."""
        del self.ids[count * _IDS_WIDTH :]
        del self.log[count * _WIDTH :]

    def remove(self, start: int, stop: int) -> None:
        """Remove the rows from *start* to *stop*."""
        del self.ids[start * _IDS_WIDTH : stop * _IDS_WIDTH]
        del self.log[start * _WIDTH : stop * _WIDTH]


async def encode_in_steps(
    conversions: Sequence[Conversion], destinations: Sequence[str] | None, accepted_at: float
) -> Rows:
    """Return the rows of many conversions; other tasks may run in between.

    Raises:
        UnsendableError: all together they have more than `MAX_APPEND_BYTES`.
    """
    rows, size = Rows([], []), 0
    recipients, count = recipients_column(destinations), 0
    while count < len(conversions):
        if count:
            await checkpoint()
        part = conversions[count : count + ENCODED_AT_ONCE]
        size += add_rows(rows, part, recipients, accepted_at, max_bytes=_BYTES_AT_ONCE)
        count = rows.size()
        check_append_bytes(size, count, len(conversions))
    return rows


def add_rows(
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
        ids += (conversion.event_id, summary(conversion), recipients)
        # For each `bytes`, sqlite3 would look for an adapter, which takes longer than the copies.
        log += (bytearray(digest), bytearray(payload), accepted_at, recipients)
        size += len(payload)
        if size > max_bytes:
            break
    return size


def recipients_column(destinations: Sequence[str] | None) -> str | None:
    r"""Return the column ``destinations``: ["a", "b"] gives "\na\nb\n", None is for all."""
    return None if destinations is None else _joined(tuple(destinations))


@lru_cache(maxsize=64)
def _joined(names: tuple[str, ...]) -> str:
    return "\n" + "".join(f"{check_destination(name)}\n" for name in names)


# The thread must ask for the interpreter after each statement, and a busy event loop may keep it
# for milliseconds. So statements are few and long: for each table, 137 rows take 2 of 64 rows, 1 of
# 8 and 1 of 1.
_INSERTIONS = [
    (rows, queries.insert_into_ids(rows), queries.insert_into_log(rows))
    for rows in (256, 64, 32, 16, 8, 4, 2, 1)
]

_NEW = Appended.NEW

Result: TypeAlias = Sequence[AppendResult] | Exception
"""The result for each conversion of a call, or the reason why none of the call was accepted."""


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
        self.bytes += add_rows(self.rows, conversions, recipients, accepted_at)
        self.conversions += conversions
        self.sizes.append(len(conversions))

    def add(self, conversions: Sequence[Conversion], rows: Rows) -> None:
        """Add a call with encoded conversions."""
        self.rows.ids.extend(rows.ids)
        self.rows.log.extend(rows.log)
        self.bytes += rows.payload_bytes()
        self.conversions += conversions
        self.sizes.append(len(conversions))

    def reject(self, error: Exception) -> None:
        """Add a call that failed while it was encoded, and remove the rows that it left."""
        self.rows.truncate(len(self.conversions))
        self.errors[len(self.sizes)] = error
        self.sizes.append(0)

    def withdraw(self, index: int) -> None:
        """Remove the conversions of a call."""
        start = sum(self.sizes[:index])
        stop = start + self.sizes[index]
        self.rows.remove(start, stop)
        del self.conversions[start:stop]
        self.sizes[index] = 0

    def new(self) -> tuple[Sequence[Conversion], Sequence[Any]]:
        """Return the new conversions and their digests, in log order."""
        digests = self.rows.digests()
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


def append(
    db: Database, group: Group, capacity: int, cancelled: Callable[[], Sequence[int]] = tuple
) -> int:
    """Write *group* in one transaction; it is on the disk when this returns.

    Args:
        db: the file.
        group: the calls.
        capacity: how many conversions may wait for each destination.
        cancelled: returns the indexes of calls that nobody waits for any more. They are asked for
            when the file is no longer locked by another program, and are not written.

    Returns:
        The position of the first new row; the other new rows follow it.
    """
    db.wal.check_space()
    with db.transaction(synced=True) as sql:
        for index in cancelled():
            group.withdraw(index)
        if db.cipher is not None:
            db.cipher.seal_rows(sql, group.rows.ids, group.rows.log)
        (end,) = sql.execute(queries.END_OF_LOG).fetchone()
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
    start, count = 0, rows.size()
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
    for index in range(rows.size()):
        ids, row = rows.part(index, index + 1)
        event_id, repeat, _ = cast("list[Any]", ids)
        seq, first = sql.execute(queries.LOG_SUMMARY, (event_id,)).fetchone()
        if seq == end + 1:
            end += 1
            sql.execute(queries.INSERT_INTO_LOG_AT, (seq, *row))
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
        recipients = rows.recipients()
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
        rows = db.sql.execute(queries.BACKLOGS).fetchall()
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
        """Return destination → waiting conversions, of those without room for *added* more."""
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
