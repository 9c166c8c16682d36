"""Verifying an outbox file: is it intact, and is every accepted conversion accounted for?

Each position of the log between a destination's start and its cursor belongs to one conversion that
was delivered to it, was skipped as addressed to others, waits (in a span, or for a retry), or is a
dead letter. A damaged page shows in SQLite's own check, in this sum, or in a record that cannot be
decoded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import attrs

from anytrack_async.codec.remote_ids import unpack_ids
from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import decrypted_record
from anytrack_async.outbox.sqlite.history.tables import ENDLESS_HISTORY
from anytrack_async.outbox.sqlite.queries import file as queries
from anytrack_async.outbox.sqlite.queries import log as log_queries
from anytrack_async.outbox.sqlite.retention import Step

_MAX_PROBLEMS = 100

_BYTES_PER_STEP = 2**19
_BYTES_PER_RECORD = 1_024
"""Bytes that a step reads in one snapshot, some 15 ms of work, and bytes that are added to the size
of each record, because even a short one takes time to decode: with records of 600 bytes, a step
reads about 320."""


@attrs.frozen(kw_only=True)
class Account:
    """The conversions that were accepted for one destination, by their state.

    They add up: accepted = delivered + waiting + dead + discarded.

    Attributes:
        accepted: conversions addressed to the destination since it was registered; those beyond its
            cursor are counted even if they are addressed to others.
        delivered: conversions that it has received.
        waiting: conversions that are neither delivered nor dead.
        dead: dead letters.
        discarded: dead letters that were given up for good.
    """

    accepted: int
    delivered: int
    waiting: int
    dead: int
    discarded: int = 0


@attrs.frozen(kw_only=True)
class Verification:
    """The result of verifying an outbox file.

    Attributes:
        accounts: destination → its account.
        problems: sentences about damage; empty if the file is intact.
    """

    accounts: Mapping[str, Account]
    problems: Sequence[str]

    @property
    def is_intact(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


class _Row(NamedTuple):
    name: str
    start: int
    cursor: int
    inherited: int
    delivered: int
    skipped: int
    pending: int
    dead: int
    discarded: int
    in_spans: int

    @property
    def missing(self) -> int:
        """Number of positions up to the cursor that are not accounted for.

        Started at 100, cursor at 160: 40 delivered, 5 skipped, 2 retries, 1 dead, 12 in spans.
        """
        accounted = self.delivered + self.skipped + self.pending + self.dead + self.in_spans
        accounted += self.discarded
        return self.cursor - self.start + self.inherited - accounted


class Verifying:
    """Reads a whole file and checks it, in steps; others may use it meanwhile.

    The first step is a long one, because the accounts must be of one moment. The records, which
    take most of the time, are read in pages, so that the write-ahead log can be emptied in between.
    """

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._accounts: dict[str, Account] = {}
        self._position = -1

    @property
    def result(self) -> Verification:
        """The problems and accounts that were found."""
        return Verification(accounts=self._accounts, problems=self._problems[:_MAX_PROBLEMS])

    def step(self, db: Database) -> Step:
        """Check a part of the file.

        Raises:
            OutboxError: conversions are accepted so fast that the log would be full meanwhile.
        """
        more = False
        try:
            if self._position < 0:
                with db.wal.never_filled_by_reading(), db.snapshot() as sql:
                    self._check_accounts(sql)
                more, self._position = True, 0
            else:
                more = self._check_records(db)
        except (sqlite3.DatabaseError, TypeError, ValueError) as exc:
            self._problems.append(f"it cannot be read to the end: {type(exc).__name__}: {exc}")
        return Step(0, more=more)

    def _check_accounts(self, sql: sqlite3.Connection) -> None:
        self._problems += _integrity(sql)
        (end,) = sql.execute(log_queries.END_OF_LOG).fetchone()
        for row in map(_Row._make, sql.execute(queries.ACCOUNTS).fetchall()):
            self._accounts[row.name] = _account(row, end)
            self._problems += _problems_of(sql, row, end)
        self._problems += _problems_of_rows(sql)
        self._problems += _problems_of_remote_ids(sql)

    def _check_records(self, db: Database) -> bool:
        """Check the next records; return whether there may be more."""
        size = 0
        with db.snapshot() as sql:
            for row in sql.execute(log_queries.STORED, (self._position, -1)):  # one at a time
                self._position = row[0]
                self._problems += _problems_of_record(db, *row)
                size += len(row[2]) + _BYTES_PER_RECORD
                if size >= _BYTES_PER_STEP:
                    return True
        return False


def damaged_accounts(sql: sqlite3.Connection) -> dict[str, str]:
    """Return destination → the problem of its counts, for those that have one."""
    rows = map(_Row._make, sql.execute(queries.ACCOUNTS))
    problems = {row.name: _problem_of_counts(row) for row in rows}
    return {name: problem for name, problem in problems.items() if problem}


def _integrity(sql: sqlite3.Connection) -> Iterator[str]:
    for (line,) in sql.execute(f"PRAGMA integrity_check({_MAX_PROBLEMS})"):
        if line != "ok":
            yield f"SQLite: {line}"


def _account(row: _Row, end: int) -> Account:
    waiting = row.pending + row.in_spans + max(0, end - row.cursor)
    return Account(
        accepted=max(end, row.cursor) - row.start + row.inherited - row.skipped,
        delivered=row.delivered,
        waiting=waiting,
        dead=row.dead,
        discarded=row.discarded,
    )


def _problem_of_counts(row: _Row) -> str | None:
    if not all(isinstance(value, int) for value in row[1:]):
        return "its counts are not numbers"
    if not row.missing:
        return None
    return (
        f"of {row.cursor - row.start + row.inherited} positions up to its cursor, "
        f"{row.delivered} are delivered, {row.skipped} are for others, "
        f"{row.pending + row.in_spans} wait, {row.dead} are dead, and {row.discarded} "
        f"were discarded: {row.missing} are missing"
    )


def _problems_of(sql: sqlite3.Connection, row: _Row, end: int) -> Iterator[str]:
    problem = _problem_of_counts(row)
    if problem:
        yield f"{row.name}: {problem}"
    if not row.start <= row.cursor <= end:
        yield (
            f"{row.name}: its cursor is at {row.cursor}, not between its start {row.start} and "
            f"the end of the log {end}"
        )
    counts = sql.execute(queries.EXCEPTION_COUNTS, (row.name,)).fetchone()
    if counts != (row.pending, row.dead):
        yield (
            f"{row.name}: {row.pending} retries and {row.dead} dead letters are counted, but "
            f"{counts[0]} and {counts[1]} are stored"
        )
    yield from _problems_of_spans(sql, row)


def _problems_of_spans(sql: sqlite3.Connection, row: _Row) -> Iterator[str]:
    previous = row.start
    for first, last, size, stored in sql.execute(
        queries.SPAN_CONTENTS, (row.name, row.name)
    ).fetchall():
        if not previous < first <= last <= row.cursor:
            yield f"{row.name}: the span {first} to {last} overlaps another or its cursor"
        if size != stored:
            yield f"{row.name}: the span {first} to {last} has {stored} of {size} conversions"
        previous = last


def _problems_of_retention(sql: sqlite3.Connection) -> Iterator[str]:
    (lost,) = sql.execute(queries.LOST_IDS).fetchone()
    if lost:
        yield f"{lost} conversions have no event id"
    (lost,) = sql.execute(queries.LOST_PAYLOADS).fetchone()
    if lost:
        yield f"{lost} conversions that not every destination has are missing"
    (endless,) = sql.execute(queries.ENDLESS_IDS).fetchone()
    if endless:
        yield f"{endless} remembered event ids would never be forgotten"
    (endless,) = sql.execute(queries.ENDLESS_REMOTE_IDS).fetchone()
    if endless:
        yield f"{endless} rows with ids of destinations would never be forgotten"
    (endless,) = sql.execute(ENDLESS_HISTORY).fetchone()
    if endless:
        yield f"{endless} rows of the history would never be forgotten"
    if sql.execute(queries.RETENTION_IS_IN_ORDER).fetchone() != (1,):
        yield "the positions up to which conversions were dropped are beyond those of others"


def _problems_of_rows(sql: sqlite3.Connection) -> Iterator[str]:
    (lost,) = sql.execute(queries.LOST_EXCEPTIONS).fetchone()
    if lost:
        yield f"{lost} retries or dead letters have no conversion"
    (lost,) = sql.execute(queries.LOST_LEASES).fetchone()
    if lost:
        yield f"{lost} spans or retries are in a lease that does not exist"
    yield from _problems_of_retention(sql)


def _problems_of_remote_ids(sql: sqlite3.Connection) -> Iterator[str]:
    for name, first, last, packed in sql.execute(queries.REMOTE_IDS):
        try:
            is_complete = len(unpack_ids(packed)) == last - first + 1
        except DecodeError:
            is_complete = False
        if not is_complete:
            yield f"{name}: the ids that it gave to conversions {first} to {last} cannot be read"


def _problems_of_record(
    db: Database, seq: int, event_id: str, payload: bytes, digest: bytes
) -> Iterator[str]:
    try:
        conversion = decode(*decrypted_record(db, event_id, payload, digest))
    except DecodeError as exc:
        yield f"the record of {event_id} cannot be read: {exc}"
    else:
        if conversion.event_id != event_id:
            yield f"the event id at position {seq} is not the one in its record"
