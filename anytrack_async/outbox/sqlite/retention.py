"""The log of an outbox file: where it ends, and what is dropped from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from anytrack_async.outbox.sqlite.database import Database

STEP = 5_000
"""Rows in one clean-up transaction: few, so that writers never wait long."""


def mask(destinations: Sequence[str] | None) -> str | None:
    """Return *destinations* as one text, each name between two line breaks."""
    return None if destinations is None else _mask(tuple(destinations))


@lru_cache(maxsize=64)
def _mask(names: tuple[str, ...]) -> str:
    return "\n" + "".join(f"{name}\n" for name in names)


def end_of_log(sql: sqlite3.Connection) -> int:
    """Return the place of the newest row."""
    (end,) = sql.execute("SELECT max(seq) FROM log").fetchone()
    return end or 0


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
