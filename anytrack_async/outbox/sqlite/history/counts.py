"""The counts of an outbox file: collected in memory, and written at most once a second.

A transaction that comes a second after the last write also writes the counts, its own included. So
with few conversions the counts are always up to date, and with many they cost a statement or two
each second. The counts that a process has not written are lost when it dies. Reading the counts
writes them first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal

from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.counting import Counts, Kind, Result
from anytrack_async.outbox.history import DAY, HOUR, MINUTE, NAMES_PER_DAY, OTHER
from anytrack_async.outbox.sqlite.clock import FileClock
from anytrack_async.outbox.sqlite.history import tables

WRITE_EVERY = 1.0
"""Seconds between two writes of counts."""

_PART = 500
"""Rows deleted in one transaction."""


class PendingCounts:
    """The counts that are not in the file yet; use it in the outbox's thread.

    A transaction calls `accept`, `settle` or `release` for each change. If `next_write` has come,
    it calls `write` at its end. `commit` or `roll_back` follows.

    Args:
        clock: the file's clock.

    Attributes:
        next_write: when the counts are to be written, on the file's clock.
    """

    def __init__(self, clock: FileClock) -> None:
        self._clock = clock
        self._counts = Counts()
        self._accepted: Sequence[Conversion] = ()  # by the present transaction
        self._settled: list[tuple[Claim, Sequence[FailedEntry]]] = []
        self._released: list[tuple[Claim, Sequence[int], str | None]] = []
        self._is_written = False
        self.next_write = 0.0
        self._names: set[tuple[str, str]] = set()
        self._names_of = 0  # the day of `_names`

    @property
    def is_pending(self) -> bool:
        """Whether there are counts that are not in the file yet."""
        return bool(self._counts)

    def accept(self, conversions: Sequence[Conversion]) -> None:
        """Count conversions that the present transaction adds to the log."""
        self._accepted = conversions

    def settle(self, claim: Claim, failed: Sequence[FailedEntry]) -> None:
        """Count the outcomes of a claim that the present transaction settles."""
        self._settled.append((claim, failed))

    def release(self, claim: Claim, indexes: Sequence[int], code: str | None) -> None:
        """Count entries of a claim that the present transaction releases after a failure."""
        self._released.append((claim, indexes, code))

    def write(self, sql: sqlite3.Connection) -> None:
        """Write all counts in the present transaction, just before it commits."""
        own = Counts()
        self._add_own(own)
        if self._counts or own:
            for counts in (self._counts, own):
                self._write(sql, counts)
            self._is_written = True

    def write_soon(self) -> None:
        """Let the present transaction write all counts at its end."""
        self.next_write = 0.0

    def commit(self) -> None:
        """Keep the counts of the transaction, unless they were written."""
        if self._is_written:
            self._counts, self._is_written = Counts(), False
            self.next_write = self._clock.now() + WRITE_EVERY
        elif self._accepted or self._settled or self._released:
            self._add_own(self._counts)
        else:
            return
        self._forget_own()

    def roll_back(self) -> None:
        """Forget the counts of the transaction."""
        self._is_written, self._names_of = False, 0
        self._forget_own()

    def _forget_own(self) -> None:
        self._accepted = ()
        self._settled.clear()
        self._released.clear()

    def _add_own(self, counts: Counts) -> None:
        """Add the counts of the present transaction to *counts*."""
        now, date = self._clock.now(), self._clock.wall()
        if self._accepted:
            counts.add_accepted(self._accepted, date)
        for claim, failed in self._settled:
            counts.add_outcomes(claim, failed, now, date)
        for claim, indexes, code in self._released:
            counts.add_released(claim, indexes, code, now, date)

    def _write(self, sql: sqlite3.Connection, counts: Counts) -> None:
        rows = [(*result, *numbers) for result, numbers in counts.outcomes.items()]
        sql.executemany(tables.ADD_OUTCOMES, rows)
        merged = Counts()  # in which kinds that count as others are one kind
        for kind, numbers in counts.accepted.items():
            merged.add_kind(self._known(sql, kind), *numbers)
        for kind, (count, value) in merged.accepted.items():
            row = sql.execute(tables.ACCEPTED_OF_KIND, kind).fetchone()
            if row:
                merged.add_kind(kind, row[0], _decimal(row[1]))
                count, value = merged.accepted[kind]
            sql.execute(tables.SET_ACCEPTED, (*kind, count, str(value)))

    def _known(self, sql: sqlite3.Connection, kind: Kind) -> Kind:
        """Return the kind to write: with the names `OTHER`, if the file has too many of this day.

        Other processes add names too, so the file is asked, unless it has no room for more anyway.
        """
        day = kind.hour // DAY
        names = (kind.source, kind.campaign)
        if day != self._names_of:
            self._names, self._names_of = set(), day
        if names not in self._names and len(self._names) < NAMES_PER_DAY:
            self._names.update(sql.execute(tables.NAMES_OF_DAY, (day * DAY, (day + 1) * DAY)))
            if len(self._names) < NAMES_PER_DAY:
                self._names.add(names)
        return kind if names in self._names else kind._replace(source=OTHER, campaign=OTHER)


def _decimal(text: str) -> Decimal:
    """Return a stored sum; 0 if it is damaged."""
    try:
        return Decimal(text)
    except (ArithmeticError, TypeError, ValueError):
        return Decimal(0)


# Reading and forgetting


def read_accepted(
    sql: sqlite3.Connection, since: float, until: float | None
) -> list[tuple[Kind, tuple[int, Decimal]]]:
    """Return the conversions accepted in a period, by kind."""
    rows = sql.execute(tables.ACCEPTED, (since - HOUR, until))
    return [(Kind._make(kind), (count, _decimal(value))) for *kind, count, value in rows]


def read_outcomes(
    sql: sqlite3.Connection, since: float, until: float | None, destination: str | None
) -> dict[Result, tuple[int, float]]:
    """Return the outcomes of a period."""
    rows = sql.execute(tables.OUTCOMES, (since - MINUTE, until, destination))
    return {
        Result(minute, name, Status(status), code): (count, seconds)
        for minute, name, status, code, count, seconds in rows
    }


def forget(sql: sqlite3.Connection, before: float, after: float) -> bool:
    """Delete some counts from before or after two dates; return whether there may be more."""
    deleted = [
        sql.execute(statement, (before, after, _PART)).rowcount
        for statement in tables.FORGET_COUNTS
    ]
    return max(deleted) >= _PART
