"""Writing to the log of an outbox file, and dropping from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import attrs

from anytrack_async.errors import QueueFullError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.messages import queue_full
from anytrack_async.outbox.sqlite.database import Database

STEP = 5_000
"""Rows in one clean-up transaction: few, so that writers never wait long."""

_INSERT = (
    "INSERT INTO log (event_id, digest, destinations, payload, at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (event_id) DO NOTHING"
)

Row: TypeAlias = tuple[str, bytes, str | None, bytes, float]
"""Event id, digest of the content, whom it is for (see `mask`), encoded conversion, when."""


@attrs.define
class Call:
    """One call of `append`, and what became of it.

    Attributes:
        rows: what to append.
        answers: one per row.
        first: the place of the first row, if all were new.
        refused: why none was taken.
    """

    rows: Sequence[Row]
    answers: Sequence[Appended] = ()
    first: int | None = None
    refused: QueueFullError | None = None


def mask(destinations: Sequence[str] | None) -> str | None:
    """Return *destinations* as one text, each name between two line breaks."""
    if destinations is None:
        return None
    return "\n" + "".join(f"{name}\n" for name in destinations)


def end_of_log(sql: sqlite3.Connection) -> int:
    """Return the place of the newest row."""
    (end,) = sql.execute("SELECT max(seq) FROM log").fetchone()
    return end or 0


def append(db: Database, calls: Sequence[Call], capacity: int) -> None:
    """Write what all *calls* bring in one transaction, on the disk when this returns."""
    with db.transaction(synced=True) as sql:
        end = end_of_log(sql)
        waiting, slowest = _backlog(sql, end)
        if waiting + sum(len(call.rows) for call in calls) <= capacity:
            _insert(sql, calls, end)
            return
        for call in calls:
            sql.execute("SAVEPOINT call")
            added = _insert(sql, [call], end)
            if added > capacity - waiting:
                sql.execute("ROLLBACK TO call")
                call.refused = queue_full(capacity, waiting, slowest, added)
            else:
                waiting += added
                end += added
            sql.execute("RELEASE call")


def _insert(sql: sqlite3.Connection, calls: Sequence[Call], end: int) -> int:
    """Insert the rows of *calls* behind *end*; return how many were new."""
    rows = [row for call in calls for row in call.rows]
    added = max(sql.executemany(_INSERT, rows).rowcount, 0)
    answers = [Appended.NEW] * added if added == len(rows) else _answers(sql, rows, end)
    at = 0
    for call in calls:
        call.answers = answers[at : at + len(call.rows)]
        if added == len(rows):
            call.first = end + at + 1
        at += len(call.rows)
    return added


def _answers(sql: sqlite3.Connection, rows: Sequence[Row], end: int) -> list[Appended]:
    """Tell new rows from repeats, given that the log ended at *end* before them."""
    answers = []
    for event_id, digest, *_ in rows:
        seq, known = sql.execute(
            "SELECT seq, digest FROM log WHERE event_id = ?", (event_id,)
        ).fetchone()
        if seq == end + 1:
            end += 1
            answers.append(Appended.NEW)
        else:
            answers.append(Appended.REPEAT if known == digest else Appended.CONFLICT)
    return answers


def _backlog(sql: sqlite3.Connection, end: int) -> tuple[int, str]:
    """Return how many wait for the slowest destination, and its name."""
    row = sql.execute(
        "SELECT ? - cursor + pending + (SELECT coalesce(sum(size), 0) FROM span"
        " WHERE destination = name) AS waiting, name FROM destination"
        " ORDER BY waiting DESC LIMIT 1",
        (end,),
    ).fetchone()
    if row:
        return row[0], row[1]
    return end - pruned_upto(sql), ""


# Dropping


def pruned_upto(sql: sqlite3.Connection) -> int:
    """Return the place up to which payloads were dropped, but for what exceptions hold."""
    (upto,) = sql.execute("SELECT upto FROM pruned").fetchone()
    return int(upto)


def _slowest(sql: sqlite3.Connection) -> int:
    """Return the place behind which every destination has only exceptions left."""
    (slowest,) = sql.execute(
        "SELECT min(min(cursor, coalesce((SELECT min(first) - 1 FROM span"
        " WHERE destination = name), cursor))) FROM destination"
    ).fetchone()
    return slowest or 0


class Step(NamedTuple):
    """What one clean-up transaction did.

    Attributes:
        done: rows it dealt with.
        more: whether another step may find more.
    """

    done: int
    more: bool


def drop_payloads(db: Database) -> Step:
    """Drop payloads that every destination has, unless an exception holds them."""
    now = db.clock()
    with db.transaction(synced=False) as sql:
        upto, slowest = pruned_upto(sql), _slowest(sql)
        last = min(upto + STEP, slowest)
        if last <= upto:
            return Step(0, more=False)
        dropped = sql.execute(
            "UPDATE log SET payload = NULL, at = ? WHERE seq > ? AND seq <= ? AND seq NOT IN"
            " (SELECT seq FROM exception WHERE seq > ? AND seq <= ?)",
            (now, upto, last, upto, last),
        ).rowcount
        sql.execute("UPDATE pruned SET upto = ?", (last,))
    return Step(dropped, more=last < slowest)


def drop_loose(db: Database) -> Step:
    """Drop payloads that an exception held, and none holds any more."""
    now = db.clock()
    with db.transaction(synced=False) as sql:
        loose = sql.execute("SELECT seq FROM loose LIMIT ?", (STEP,)).fetchall()
        dropped = sql.executemany(
            "UPDATE log SET payload = NULL, at = ? WHERE seq = ? AND payload IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM exception WHERE exception.seq = log.seq)",
            [(now, seq) for (seq,) in loose],
        ).rowcount
        sql.executemany("DELETE FROM loose WHERE seq = ?", loose)
    return Step(max(dropped, 0), more=len(loose) == STEP)


def forget_ids(db: Database, remember: float) -> Step:
    """Forget ids whose payload went *remember* seconds ago, but for the newest in the log."""
    with db.transaction(synced=False) as sql:
        forgotten = sql.execute(
            "DELETE FROM log WHERE seq IN (SELECT seq FROM log WHERE payload IS NULL AND at <= ?"
            " AND seq < (SELECT max(seq) FROM log) LIMIT ?)",
            (db.clock() - remember, STEP),
        ).rowcount
    return Step(forgotten, more=forgotten == STEP)
