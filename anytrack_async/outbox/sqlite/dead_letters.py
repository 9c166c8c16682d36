"""The dead letters of an outbox file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from anytrack_async.outbox.base import unknown_destination_error
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.retention import STEP, Step


class Letter(NamedTuple):
    """A dead letter, still encoded; see `DeadLetter`."""

    seq: int
    destination: str
    event_id: str
    payload: bytes
    digest: bytes
    attempts: int
    error: str
    code: str | None
    died_at: float


def dead_letters(db: Database, destination: str | None, after: int, limit: int) -> list[Letter]:
    """Return up to *limit* dead letters by place, and the others of the last place."""
    with db.snapshot() as sql:
        names = _names(sql, destination)
        found = sorted(letter for name in names for letter in _of(sql, name, after, limit))
    last = found[:limit][-1:]
    return [letter for letter in found if last and letter.seq <= last[0].seq]


def _names(sql: sqlite3.Connection, destination: str | None) -> list[str]:
    names = [name for (name,) in sql.execute("SELECT name FROM destination")]
    if destination is None:
        return names
    if destination not in names:
        raise unknown_destination_error(destination)
    return [destination]


def _of(sql: sqlite3.Connection, name: str, after: int, limit: int) -> Iterable[Letter]:
    rows = sql.execute(
        "SELECT exception.seq, destination, event_id, payload, digest, attempts, error, code,"
        " exception.at FROM exception JOIN log ON log.seq = exception.seq"
        " WHERE destination = ? AND due IS NULL AND exception.seq > ?"
        " ORDER BY exception.seq LIMIT ?",
        (name, after, limit),
    )
    return [Letter._make(row) for row in rows]


def replay_all(db: Database, name: str) -> Step:
    """Make dead letters due now, some of them at a time."""
    with db.transaction(synced=False) as sql:
        _names(sql, name)
        rows = sql.execute(
            "SELECT seq FROM exception WHERE destination = ? AND due IS NULL LIMIT ?", (name, STEP)
        ).fetchall()
        return Step(_revive(sql, name, rows, db.clock()), more=len(rows) == STEP)


def replay(db: Database, name: str, event_ids: Sequence[str]) -> int:
    """Make the dead letters among *event_ids* due now; return how many there were."""
    with db.transaction(synced=False) as sql:
        _names(sql, name)
        query = "SELECT seq FROM log WHERE event_id = ?"
        found = [sql.execute(query, (event_id,)).fetchone() for event_id in event_ids]
        return _revive(sql, name, [row for row in found if row], db.clock())


def _revive(sql: sqlite3.Connection, name: str, rows: list[tuple[int]], now: float) -> int:
    revived = sql.executemany(
        "UPDATE exception SET due = ?, attempts = 0 WHERE seq = ? AND destination = ?"
        " AND due IS NULL",
        [(now, seq, name) for (seq,) in rows],
    ).rowcount
    revived = max(revived, 0)
    sql.execute(
        "UPDATE destination SET pending = pending + ?1, dead = dead - ?1 WHERE name = ?2",
        (revived, name),
    )
    return revived
