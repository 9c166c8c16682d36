"""Destinations of an outbox file: their reports, depths and backlogs; checkpoints.

Everything is read in snapshots, which block no writer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from anytrack_async.codec.remote_ids import (
    unpack_ids,
)
from anytrack_async.errors import DecodeError, OutboxError
from anytrack_async.models.outcome import Outcome, Report, Status, given_up, not_retried
from anytrack_async.outbox.base import Depth
from anytrack_async.outbox.checks import unknown_destination_error
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import decrypted_error
from anytrack_async.outbox.sqlite.history.tables import FORGET_HISTORY_OF_DESTINATION
from anytrack_async.outbox.sqlite.queries import log as log_queries
from anytrack_async.outbox.sqlite.queries import reports as queries
from anytrack_async.outbox.sqlite.queries import retention as retention_queries
from anytrack_async.outbox.sqlite.verify import damaged_accounts

# Destinations


def register(db: Database, names: Sequence[str], from_start: Sequence[str]) -> None:
    """Register the destinations *names*; those in *from_start* get the conversions stored so far.

    Raises:
        OutboxError: a name has several lines.
    """
    with db.transaction(synced=True) as sql:
        for name in names:
            if "\n" in name:  # separates the names in the log
                raise OutboxError(f"the name of a destination must be a single line, got {name!r}")
            if sql.execute(queries.DESTINATION_EXISTS, (name,)).fetchone() is None:
                _insert_destination(sql, name, db.clock.now(), at_start=name in from_start)
        db.damaged = damaged_accounts(sql)


def _insert_destination(sql: sqlite3.Connection, name: str, now: float, *, at_start: bool) -> None:
    if at_start:
        (start,) = sql.execute(retention_queries.PRUNED_UPTO).fetchone()
        pending = sql.execute(queries.INHERIT_EXCEPTIONS, (name, now, start)).rowcount
        sql.execute(queries.INSERT_DESTINATION, (name, start, now, pending))
    else:
        (end,) = sql.execute(log_queries.END_OF_LOG).fetchone()
        sql.execute(queries.INSERT_DESTINATION, (name, end, None, 0))


def destination_names(db: Database) -> Sequence[str]:
    """Return every registered destination."""
    return tuple(name for (name,) in db.sql.execute(queries.DESTINATION_NAMES))


def forget(db: Database, name: str) -> None:
    """Remove a destination with its backlog, retries and dead letters."""
    with db.transaction(synced=False) as sql:
        sql.execute(retention_queries.MARK_RECLAIMABLE_OF_DESTINATION, (name,))
        for statement in (*FORGET_HISTORY_OF_DESTINATION, *queries.FORGET_DESTINATION):
            sql.execute(statement, (name,))


# Reports


class _Destination(NamedTuple):
    name: str
    start: int
    since: float | None
    cursor: int


class _Record(NamedTuple):
    seq: int
    late: float | None
    recipients: str | None
    is_dropped: bool


def reports(db: Database, event_ids: Sequence[str]) -> Mapping[str, Report]:
    """Return event id → outcomes at the destinations it is addressed to; skip unknown ids."""
    by_event_id = {}
    with db.snapshot() as sql:
        rows = sql.execute(queries.DESTINATION_POSITIONS)
        destinations = [_Destination._make(row) for row in rows]
        for event_id in event_ids:
            row = sql.execute(log_queries.LOG_RECORD, (event_id,)).fetchone()
            if row:
                outcomes = _outcomes(db, destinations, _Record._make(row))
                by_event_id[event_id] = Report(event_id=event_id, outcomes=outcomes)
    return by_event_id


def _outcomes(
    db: Database, destinations: Sequence[_Destination], record: _Record
) -> dict[str, Outcome]:
    rows = db.sql.execute(queries.DISCARDED_AT, (record.seq,)).fetchall()
    failures = {row[0]: _failure(db, record.seq, given_up(row[-1]), *row) for row in rows}
    if not record.is_dropped:  # an exception would have kept the payload
        for name, due, *row in db.sql.execute(queries.EXCEPTIONS_AT, (record.seq,)).fetchall():
            status = not_retried(row[-1]) if due is None else Status.WAITING
            failures[name] = _failure(db, record.seq, status, name, *row)
    return {
        destination.name: failures.get(destination.name) or _progress(db.sql, destination, record)
        for destination in destinations
        if _concerns(destination, record)
    }


def _concerns(destination: _Destination, record: _Record) -> bool:
    """Return whether the conversion is in the part of the log that *destination* has to get.

    That part begins after `start`. A destination that started at the beginning of the log also gets
    each earlier conversion that still had its payload when the destination was registered, at
    `since`. With a start of 7 and a since of 100 s: position 8 concerns it; position 5 does if its
    payload is there or was dropped late, at 110 s, and does not if it was dropped with its
    neighbours or at 90 s.
    """
    if record.recipients and f"\n{destination.name}\n" not in record.recipients:
        return False
    if record.seq > destination.start:
        return True
    if destination.since is None:
        return False
    if record.late is not None:
        return record.late >= destination.since
    return not record.is_dropped


def _progress(sql: sqlite3.Connection, destination: _Destination, record: _Record) -> Outcome:
    """Return the outcome of a conversion that is not an exception."""
    if record.seq > destination.cursor:
        return Outcome(status=Status.WAITING, destination=destination.name, attempts=0)
    span = sql.execute(queries.SPAN_BEFORE, (destination.name, record.seq)).fetchone()
    if span:
        attempts, last = span
        if record.seq <= last:
            return Outcome(status=Status.WAITING, destination=destination.name, attempts=attempts)
    remote_id = _remote_id(sql, destination.name, record.seq)
    return Outcome(status=Status.DELIVERED, destination=destination.name, remote_id=remote_id)


def _remote_id(sql: sqlite3.Connection, name: str, seq: int) -> str | None:
    """Return the id that a destination gave to the conversion at *seq*, if it is kept."""
    row = sql.execute(queries.REMOTE_IDS_AFTER, (name, seq)).fetchone()
    if row is None:
        return None
    first, packed = row
    try:
        return unpack_ids(packed)[seq - first] if first <= seq else None
    except (DecodeError, IndexError):
        return None  # damaged: `verify` says so


def _failure(
    db: Database,
    seq: int,
    status: Status,
    name: str,
    attempts: int,
    error: bytes | str,
    code: str | None,
) -> Outcome:
    error = decrypted_error(db, seq, name, error)
    return Outcome(
        status=status,
        destination=name,
        attempts=attempts,
        error=error or None,
        code=code,
    )


# Backlog


def depths(db: Database) -> Mapping[str, Depth]:
    """Return destination → its depth."""
    now = db.clock.now()
    with db.snapshot() as sql:
        (end,) = sql.execute(log_queries.END_OF_LOG).fetchone()
        rows = sql.execute(queries.DESTINATION_COUNTS).fetchall()
        return {
            name: _depth(sql, name, now, end - cursor, pending, dead)
            for name, cursor, pending, dead in rows
        }


def _depth(
    sql: sqlite3.Connection, name: str, now: float, unclaimed: int, pending: int, dead: int
) -> Depth:
    """Return the depth of a destination.

    Of 10 conversions, 6 are *unclaimed*, 3 are in a leased span and 1 waits for a retry
    (*pending*): waiting 10, in flight 3, retrying 1.
    """
    leased, retrying, in_spans = sql.execute(queries.SPAN_DEPTHS, (now, name)).fetchone()
    (leased_retries,) = sql.execute(queries.LEASED_RETRY_COUNT, (name, now)).fetchone()
    return Depth(
        waiting=unclaimed + pending + in_spans,
        in_flight=leased + leased_retries,
        retrying=pending - leased_retries + retrying,
        dead=dead,
    )


def oldest_ages(db: Database) -> Mapping[str, float]:
    """Return destination → seconds since its oldest waiting conversion was accepted."""
    now = db.clock.now()
    with db.snapshot() as sql:
        names = [name for (name,) in sql.execute(queries.DESTINATION_NAMES).fetchall()]
        rows = {name: sql.execute(queries.OLDEST_WAITING, (name,)).fetchone() for name in names}
    return {name: max(0.0, now - row[0]) for name, row in rows.items() if row is not None}


def delivered_counts(db: Database) -> Mapping[str, int]:
    """Return destination → how many conversions it has received."""
    return dict(db.sql.execute(queries.DELIVERED_COUNTS).fetchall())


def undelivered(db: Database, name: str, limit: int) -> list[str]:
    """Return the ids of the first *limit* events that are neither delivered nor dead."""
    with db.snapshot() as sql:
        row = sql.execute(queries.DESTINATION_CURSOR, (name,)).fetchone()
        if row is None:
            raise unknown_destination_error(name)
        (cursor,) = row
        (end,) = sql.execute(log_queries.END_OF_LOG).fetchone()
        events = sql.execute(queries.RETRY_IDS, (name, limit)).fetchall()
        ranges = sql.execute(queries.UNSETTLED_SPANS, (name,)).fetchall()
        for first, last in [*ranges, (cursor + 1, end)]:
            events += sql.execute(log_queries.LOG_RANGE_IDS, (first, last, name, limit))
    return [event_id for _, event_id in sorted(events)[:limit]]


def summaries(db: Database, event_ids: Sequence[str]) -> dict[str, str | None]:
    """Return event id → summary of its conversion; see `KeepsSummaries`."""
    texts = orjson.dumps(event_ids).decode()
    return dict(db.sql.execute(log_queries.SUMMARIES, (texts,)).fetchall())


def accepted(
    db: Database, since: float, until: float | None, after: int, limit: int
) -> list[tuple[int, str]]:
    """Return positions and event ids of conversions accepted in a period; see `ListsAccepted`."""
    with db.snapshot() as sql:
        (before,) = sql.execute(log_queries.ACCEPTED_BEFORE, (since,)).fetchone()
        (last,) = sql.execute(log_queries.END_OF_LOG).fetchone()
        if until is not None:
            (end,) = sql.execute(log_queries.ACCEPTED_UNTIL, (until,)).fetchone()
            last = last if end is None else min(last, end)
        first = max(before, after)
        return sql.execute(log_queries.IDS_BETWEEN, (first, last, limit)).fetchall()


def forgotten(db: Database) -> int:
    """Return how many positions at the beginning of the log have no ids any more."""
    (count, _) = db.sql.execute(retention_queries.FORGOTTEN_UPTO).fetchone()
    return int(count)


# Checkpoints


def checkpoint_value(db: Database, name: str) -> bytes | None:
    """Return the value of a checkpoint, or None."""
    row = db.sql.execute(queries.CHECKPOINT, (name,)).fetchone()
    return None if row is None else bytes(row[0])


def save_checkpoint(db: Database, name: str, value: bytes | None) -> None:
    """Save a checkpoint; None deletes it."""
    with db.transaction(synced=True) as sql:
        if value is None:
            sql.execute(queries.DELETE_CHECKPOINT, (name,))
        else:
            sql.execute(queries.SAVE_CHECKPOINT, (name, value))


def count_foreign(db: Database, name: str, cursor: int, end: int) -> int:
    """Return how many conversions between the positions are not addressed to *name*.

    After 30 between 100 and 900, the count between 200 and 950 reads 100 to 200 and 900 to 950
    only. So a position is read at most twice, however often a full outbox is asked.
    """

    def read(first: int, last: int) -> int:
        (count,) = db.sql.execute(log_queries.COUNT_FOREIGN, (first, last, name)).fetchone()
        return int(count)

    first, last, count = db.foreign.get(name, (cursor, cursor, 0))
    if first <= cursor <= last <= end:
        count += read(last, end) - read(first, cursor)
    else:
        count = read(cursor, end)
    db.foreign[name] = (cursor, end, count)
    return count
