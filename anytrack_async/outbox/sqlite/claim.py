"""Claims on an outbox file: leasing due retries and new conversions.

A claim of new conversions writes two rows, however many it contains: the lease, and the span of the
log that it covers. Settling deletes both; only failed conversions get a row of their own.

A conversion may end the process that sends it. So one that lost two leases is *isolated*, and is
leased alone; if its owner then dies, it is to blame, and the other leases of that owner are not.
Three attempts are allowed, and conversion 7 of a batch of 20 ends the process: the batch is lost
twice, and has two attempts. Now the 20 are on their last attempt, so an owner leases one after the
other: 1 to 6 are delivered, 7 ends the process and is blamed alone. It has used up its attempts and
becomes a dead letter; 8 to 20 are delivered. With eight attempts, isolated conversions are sent
each alone but at the same time, up to the last attempt.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from anytrack_async.errors import DamagedOutboxError
from anytrack_async.outbox.checks import (
    MAX_CLAIM_BYTES,
    USUAL_BYTES,
    unknown_destination_error,
)
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import ClaimResult, StoredEntry, stored_memory_bytes
from anytrack_async.outbox.sqlite.history.tables import MAX_RANGE
from anytrack_async.outbox.sqlite.leases import expire_lease, release_leases_of_dead
from anytrack_async.outbox.sqlite.queries import claims as queries

_POSITIONS_PER_STEP = MAX_RANGE
"""Positions that one transaction searches for conversions addressed to a destination."""

_MISSING = "conversions that are to be delivered are missing from its log"

# A named tuple without the call of its constructor.
_new_entry: Callable[[Iterable[Any]], StoredEntry] = partial(tuple.__new__, StoredEntry)

_ISOLATED_POLL = 0.02
"""Seconds until the next claim while the only due conversions wait for an isolated one."""


class _ClaimForecast(NamedTuple):
    """The work that waits for a destination; times are unix seconds on the file's clock.

    Attributes:
        cursor: the destination's cursor.
        end: the last position of the log.
        isolated_due: when the first isolated conversion is due; infinity if there is none.
        lease_until: when the first lease ends; infinity if there is none.
        next_due: when the first retry, span or isolated conversion is due or the first lease ends;
            None if there is none of these.
    """

    cursor: int
    end: int
    isolated_due: float
    lease_until: float
    next_due: float | None

    def has_work(self, now: float) -> bool:
        """Return whether a retry, span or lease is due, or the log continues after the cursor."""
        return self.cursor < self.end or (self.next_due is not None and self.next_due <= now)


def claim(db: Database, name: str, limit: int, lease: float, max_attempts: int = 0) -> ClaimResult:
    """Lease up to *limit* conversions for *lease* seconds; see `Outbox.claim`.

    Args:
        db: the file.
        name: the destination.
        limit: the greatest number of conversions.
        lease: seconds.
        max_attempts: the attempts that a conversion may make; 0 if that is not known.

    Raises:
        OutboxError: the destination is not registered, or the file is damaged.
    """
    if name in db.damaged:
        raise _damaged(f"{name!r}: {db.damaged[name]}")
    if monotonic() >= db.owner.next_check:
        release_leases_of_dead(db, db.owner.others_with_leases(db.sql))
    # The forecast only reads, so an idle lane that polls does not lock other processes out.
    forecast, now = _forecast(db.sql, name), db.clock.now()
    while limit > 0 and forecast.has_work(now):
        with db.transaction(synced=False):
            builder = _ClaimBuilder(db, name, limit, now)
            is_alone = forecast.isolated_due <= now and builder.lease_isolated(
                now + lease, max_attempts
            )
            if not is_alone:
                builder.lease_several(now + lease, some_expired=forecast.lease_until <= now)
            result = builder.result()
        if result.entries:
            return result
        previous, forecast = forecast, _forecast(db.sql, name)
        if forecast == previous:  # nothing was found, and the cursor did not move either
            if builder.isolated_wait:
                return ClaimResult(next_due=now + _ISOLATED_POLL)
            raise _damaged(_MISSING)
    return ClaimResult(next_due=forecast.next_due)


def _damaged(problem: str) -> DamagedOutboxError:
    return DamagedOutboxError(
        f"the outbox file is damaged: {problem}; `anytrack outbox verify` says more"
    )


def _forecast(sql: sqlite3.Connection, name: str) -> _ClaimForecast:
    row = sql.execute(queries.CLAIM_FORECAST, (name,)).fetchone()
    if row is None:
        raise unknown_destination_error(name)
    cursor, end, *moments = row
    if cursor > end:
        raise _damaged(f"the cursor of {name!r} is beyond the end of the log")
    retry, span, isolated_retry, isolated_span, until = (
        math.inf if moment is None else moment for moment in moments
    )
    isolated = min(isolated_retry, isolated_span)
    next_due = min(retry, span, isolated, until)
    return _ClaimForecast(cursor, end, isolated, until, next_due if next_due < math.inf else None)


class _ClaimBuilder:
    """Builds one claim, inside a transaction.

    Attributes:
        isolated_wait: whether isolated conversions are due that must not be sent at this time.
    """

    def __init__(self, db: Database, name: str, limit: int, now: float) -> None:
        self.isolated_wait = False
        self._db = db
        self._sql = db.sql
        self._name = name
        self._space = limit
        self._now = now
        self._owner = db.owner.id
        self._bytes = MAX_CLAIM_BYTES  # left for the records, except the first
        self._large_bytes = 0
        self._entries: list[StoredEntry] = []
        self._lost_leases: dict[int, int] = {}
        self._lease_id = 0

    def result(self) -> ClaimResult:
        """Return the claim; without entries, delete the lease."""
        if not self._entries:
            self._sql.execute(queries.DELETE_LEASE, (self._lease_id,))
            return ClaimResult()
        return ClaimResult(
            lease_id=self._lease_id,
            entries=sorted(self._entries),
            lost_leases=self._lost_leases,
            large_bytes=self._large_bytes,
        )

    def lease_several(self, until: float, *, some_expired: bool) -> None:
        """Lease due retries, then released spans and expired leases, then the log."""
        self._insert_lease(until)
        while True:
            self._lease_due_retries()
            self._lease_due_spans()
            # Leases are expired one at a time, and only while there is space for their entries:
            # a worker that is merely late keeps its lease unless it is needed.
            if self._space <= 0 or not some_expired:
                break
            some_expired = expire_lease(self._db, self._name, self._now)
        if self._space > 0:
            self._lease_new()

    def _insert_lease(self, until: float, alone: int = 0) -> None:
        parameters = (self._name, until, self._owner, alone)
        self._lease_id = self._sql.execute(queries.INSERT_LEASE, parameters).lastrowid or 0

    def _add_entries(self, entries: Sequence[StoredEntry], lost: int = 0) -> None:
        self._entries += entries
        self._space -= len(entries)
        if lost:
            self._lost_leases.update((entry.seq, lost) for entry in entries)

    def _has_space_for(self, seq: int, payload: bytes, *, is_first: bool) -> bool:
        """Return whether a record fits, and take its bytes; if not, the claim is full.

        With 1 MB left of 4 MB, records of 0.7 and 0.2 MB fit, and a third one of 0.4 MB does not.
        """
        size = len(payload)
        if size > USUAL_BYTES:
            size = stored_memory_bytes(self._db, seq, payload)
        if size > self._bytes and not (is_first and not self._entries):
            self._bytes = 0
            return False
        self._bytes -= size
        if size > USUAL_BYTES:
            self._large_bytes += size
        return True

    def lease_isolated(self, until: float, max_attempts: int) -> bool:
        """Lease the isolated conversion that has been due longest; False if it has to wait."""
        parameters = (self._name, self._now)
        retry = self._sql.execute(queries.ISOLATED_RETRY, parameters).fetchone()
        span = retry or self._sql.execute(queries.ISOLATED_SPAN, parameters).fetchone()
        if not span:
            return False
        attempts = span[4]
        alone = 2 if attempts + 1 >= max_attempts else 1
        in_flight = self._sql.execute(queries.ISOLATED_IN_FLIGHT, (self._owner, self._now))
        (other,) = in_flight.fetchone()
        if other and max(alone, other) > 1:  # the last attempt of either: only one at a time
            self.isolated_wait = True
            return False
        self._insert_lease(until, alone)
        self._space = 1
        if retry:
            self._lease_retries([retry])
        else:
            self._lease_span(*span)
        return True

    def _lease_due_retries(self) -> None:
        rows: list[tuple[int, float, bytes, bytes, int, int]] = []
        parameters = (self._name, self._now, self._space)
        for row in self._sql.execute(queries.DUE_RETRIES, parameters):
            if not self._has_space_for(row[0], row[2], is_first=not rows):
                break
            rows.append(row)
        self._lease_retries(rows)
        if self._bytes <= 0:
            self._space = 0

    def _lease_retries(self, rows: Sequence[tuple[int, float, bytes, bytes, int, int]]) -> None:
        self._sql.executemany(
            queries.LEASE_RETRY, [(self._lease_id, row[0], self._name) for row in rows]
        )
        for *entry, lost in rows:
            self._add_entries([StoredEntry._make(entry)], lost)

    def _lease_due_spans(self) -> None:
        parameters = (self._name, self._now, self._space)
        for span in self._sql.execute(queries.DUE_SPANS, parameters).fetchall():
            if self._space <= 0:
                return
            self._lease_span(*span)

    def _lease_span(
        self, span_id: int, first: int, last: int, size: int, attempts: int, lost: int
    ) -> None:
        """Lease a released span, or as much of its beginning as there is space for.

        With space for 2, the span 11 to 15 of 5 conversions becomes a leased span 11 to 12 and a
        released span 13 to 15.
        """
        entries, has_ended = self._read_range(first, last, attempts)
        if not entries:
            if has_ended:
                self._space = 0
                return
            raise _damaged(_MISSING)
        if len(entries) < size:
            end = entries[-1].seq
            self._sql.execute(queries.SHRINK_SPAN, (end + 1, len(entries), span_id))
            self._insert_span(first, end, len(entries), attempts, lost)
        else:
            self._sql.execute(queries.LEASE_SPAN, (self._lease_id, span_id))
        self._add_entries(entries, lost)
        if has_ended:
            self._space = 0

    def _lease_new(self) -> None:
        """Lease the conversions after the cursor; move it past those for other destinations."""
        forecast = _forecast(self._sql, self._name)
        cursor, last = forecast.cursor, min(forecast.cursor + _POSITIONS_PER_STEP, forecast.end)
        entries, has_ended = self._read_range(cursor + 1, last, 0)
        if has_ended or self._space == len(entries):
            last = entries[-1].seq if entries else cursor
        if entries:
            self._insert_span(entries[0].seq, entries[-1].seq, len(entries))
        if last > cursor:
            skipped = last - cursor - len(entries)
            self._sql.execute(queries.MOVE_CURSOR, (last, skipped, self._name))
        self._add_entries(entries)

    def _read_range(self, first: int, last: int, attempts: int) -> tuple[list[StoredEntry], bool]:
        """Return the entries between two positions, and whether they end as their bytes do."""
        entries: list[StoredEntry] = []
        parameters = (attempts, first, last, self._name, self._space)
        rows = self._sql.execute(queries.LOG_RANGE, parameters)
        for entry in map(_new_entry, rows):
            if not self._has_space_for(entry.seq, entry.payload, is_first=not entries):
                return entries, True
            entries.append(entry)
        return entries, False

    def _insert_span(
        self, first: int, last: int, size: int, attempts: int = 0, lost: int = 0
    ) -> None:
        self._sql.execute(
            queries.INSERT_LEASED_SPAN,
            (self._name, first, last, size, attempts, lost, self._lease_id),
        )
