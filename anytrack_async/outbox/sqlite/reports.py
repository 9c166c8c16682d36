"""What an outbox file says: destinations, depths, reports."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from anytrack_async.errors import OutboxError
from anytrack_async.models.outcome import Outcome, Report, Status
from anytrack_async.outbox.base import Depth, unknown_destination_error
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.retention import end_of_log, pruned_upto

# Destinations


def register(db: Database, names: Sequence[str], from_start: Sequence[str]) -> None:
    """Make sure that *names* are registered; see `Outbox.open`."""
    with db.transaction(synced=True) as sql:
        for name in names:
            if "\n" in name:
                raise OutboxError(f"a destination's name must be one line, got {name!r}")
            if not _is_known(sql, name):
                _join(sql, name, db.clock(), at_start=name in from_start)


def _is_known(sql: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM destination WHERE name = ?"
    return sql.execute(query, (name,)).fetchone() is not None


def _join(sql: sqlite3.Connection, name: str, now: float, *, at_start: bool) -> None:
    start = pruned_upto(sql) if at_start else end_of_log(sql)
    pending = _inherit(sql, name, start, now) if at_start else 0
    sql.execute(
        "INSERT INTO destination (name, start, since, cursor, pending) VALUES (?, ?, ?, ?, ?)",
        (name, start, now if at_start else None, start, pending),
    )


def _inherit(sql: sqlite3.Connection, name: str, upto: int, now: float) -> int:
    """Make what others' exceptions hold before the log's beginning exceptions of *name* too."""
    return sql.execute(
        "INSERT INTO exception (seq, destination, attempts, due, error, at)"
        " SELECT seq, ?1, 0, ?2, '', ?2 FROM log WHERE payload IS NOT NULL"
        " AND (destinations IS NULL OR instr(destinations, ?3)) AND seq IN"
        " (SELECT seq FROM exception WHERE seq <= ?4 UNION SELECT seq FROM loose)",
        (name, now, f"\n{name}\n", upto),
    ).rowcount


def destinations(db: Database) -> Sequence[str]:
    """Return every destination registered."""
    return tuple(name for (name,) in db.sql.execute("SELECT name FROM destination"))


def forget(db: Database, name: str) -> None:
    """Drop a destination with its backlog, retries and dead letters."""
    with db.transaction(synced=False) as sql:
        sql.execute(
            "INSERT OR IGNORE INTO loose SELECT seq FROM exception"
            " WHERE destination = ? AND seq <= (SELECT upto FROM pruned)",
            (name,),
        )
        for table in ("exception", "span", "lease"):
            sql.execute(f"DELETE FROM {table} WHERE destination = ?", (name,))  # noqa: S608
        sql.execute("DELETE FROM destination WHERE name = ?", (name,))


# Depths


def depths(db: Database) -> Mapping[str, Depth]:
    """Return destination → how much it has not got."""
    now = db.clock()
    with db.snapshot() as sql:
        end = end_of_log(sql)
        known = sql.execute("SELECT name, cursor, pending, dead FROM destination").fetchall()
        return {name: _depth(sql, name, now, end - at, *more) for name, at, *more in known}


def _depth(
    sql: sqlite3.Connection, name: str, now: float, beyond: int, pending: int, dead: int
) -> Depth:
    leased, tried, ranges = sql.execute(
        "SELECT coalesce(sum(size) FILTER (WHERE until > ?1), 0), coalesce(sum(size) FILTER"
        " (WHERE until <= ?1 OR (until IS NULL AND attempts > 0)), 0), coalesce(sum(size), 0)"
        " FROM span LEFT JOIN lease ON lease.id = span.lease WHERE span.destination = ?2",
        (now, name),
    ).fetchone()
    (retried,) = sql.execute(
        "SELECT count(*) FROM lease JOIN exception ON exception.lease = lease.id"
        " WHERE lease.destination = ? AND until > ? AND exception.lease <> 0",
        (name, now),
    ).fetchone()
    return Depth(
        waiting=beyond + pending + ranges,
        in_flight=leased + retried,
        retrying=pending - retried + tried,
        dead=dead,
    )


def undelivered(db: Database, name: str, limit: int) -> list[str]:
    """Return the ids of the first *limit* conversions that are neither delivered nor dead."""
    with db.snapshot() as sql:
        row = sql.execute("SELECT cursor FROM destination WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise unknown_destination_error(name)
        found = sql.execute(
            "SELECT seq, event_id FROM exception JOIN log USING (seq)"
            " WHERE destination = ? AND due IS NOT NULL ORDER BY seq LIMIT ?",
            (name, limit),
        ).fetchall()
        ranges = "SELECT first, last FROM span WHERE destination = ?"
        for first, last in [*sql.execute(ranges, (name,)), (row[0] + 1, end_of_log(sql))]:
            found += sql.execute(
                "SELECT seq, event_id FROM log WHERE seq BETWEEN ? AND ?"
                " AND (destinations IS NULL OR instr(destinations, ?)) ORDER BY seq LIMIT ?",
                (first, last, f"\n{name}\n", limit),
            )
    return [event_id for _, event_id in sorted(found)[:limit]]


# Reports


class _Destination(NamedTuple):
    name: str
    start: int
    since: float | None
    cursor: int


class _Known(NamedTuple):
    seq: int
    at: float
    destinations: str | None
    pruned: bool


def reports(db: Database, event_ids: Iterable[str]) -> Mapping[str, Report]:
    """Return how each known one of *event_ids* stands at every destination it is for."""
    found = {}
    with db.snapshot() as sql:
        rows = sql.execute("SELECT name, start, since, cursor FROM destination")
        names = [_Destination._make(row) for row in rows]
        for event_id in event_ids:
            row = sql.execute(
                "SELECT seq, at, destinations, payload IS NULL FROM log WHERE event_id = ?",
                (event_id,),
            ).fetchone()
            if row:
                outcomes = _outcomes(sql, names, _Known._make(row))
                found[event_id] = Report(event_id=event_id, outcomes=outcomes)
    return found


def _outcomes(
    sql: sqlite3.Connection, names: Sequence[_Destination], known: _Known
) -> dict[str, Outcome]:
    query = "SELECT destination, due, attempts, error, code FROM exception WHERE seq = ?"
    kept = {} if known.pruned else {row[0]: row for row in sql.execute(query, (known.seq,))}
    return {
        one.name: _exceptional(*kept[one.name]) if one.name in kept else _usual(sql, one, known)
        for one in names
        if _concerns(one, known)
    }


def _concerns(destination: _Destination, known: _Known) -> bool:
    """Tell whether the conversion is for *destination*, and was there when that joined."""
    if known.destinations and f"\n{destination.name}\n" not in known.destinations:
        return False
    if known.seq > destination.start:
        return True
    if destination.since is None:
        return False
    return not known.pruned or known.at >= destination.since


def _exceptional(
    name: str, due: float | None, attempts: int, error: str, code: str | None
) -> Outcome:
    status = Status.DEAD if due is None else Status.WAITING
    return Outcome(
        status=status, destination=name, attempts=attempts, error=error or None, code=code
    )


def _usual(sql: sqlite3.Connection, destination: _Destination, known: _Known) -> Outcome:
    if known.seq > destination.cursor:
        return Outcome(status=Status.WAITING, destination=destination.name, attempts=0)
    span = sql.execute(
        "SELECT attempts, last FROM span WHERE destination = ? AND first <= ?"
        " ORDER BY first DESC LIMIT 1",
        (destination.name, known.seq),
    ).fetchone()
    if span and known.seq <= span[1]:
        return Outcome(status=Status.WAITING, destination=destination.name, attempts=span[0])
    return Outcome(status=Status.DELIVERED, destination=destination.name)
