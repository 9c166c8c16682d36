"""Removing from an outbox file: payloads that every destination has, then remembered ids.

Each function does one step in a transaction of its own, so that other processes can write between
the steps. Call it again while `Step.more` is true.

A payload is dropped once it is behind every cursor, outside every span and not an exception. With
cursors at 900 and 700 and a span of the second destination from 650, everything up to 649 is
dropped, except for instance a dead letter at 120. Pruning then never looks at positions up to 649
again; when the dead letter is replayed and delivered, its position becomes *reclaimable* and its
payload is dropped in the next run.
"""

from __future__ import annotations

from typing import NamedTuple

from anytrack_async.outbox.sqlite import queries
from anytrack_async.outbox.sqlite.database import Database

ROWS_PER_STEP = 5_000
"""Rows changed in one transaction: few, so that writers never wait long."""


class Step(NamedTuple):
    """The result of one transaction of a long operation.

    Attributes:
        rows: number of rows it handled.
        more: whether another step may find more.
    """

    rows: int
    more: bool


def drop_payloads(db: Database) -> Step:
    """Drop payloads that every destination has, except those that an exception still needs."""
    now = db.clock()
    with db.transaction(synced=False) as sql:
        (pruned,) = sql.execute(queries.PRUNED_UPTO).fetchone()
        (settled,) = sql.execute(queries.SETTLED_UPTO).fetchone()
        last = min(pruned + ROWS_PER_STEP, settled)
        if last <= pruned:
            return Step(0, more=False)
        dropped = sql.execute(queries.DROP_PAYLOADS, (now, pruned, last)).rowcount
        sql.execute(queries.SET_PRUNED_UPTO, (last,))
    return Step(dropped, more=last < settled)


def drop_reclaimable(db: Database) -> Step:
    """Drop payloads at pruned positions that an exception had kept, and none needs any more."""
    now = db.clock()
    with db.transaction(synced=False) as sql:
        positions = sql.execute(queries.SOME_RECLAIMABLE, (ROWS_PER_STEP,)).fetchall()
        dropped = sql.executemany(
            queries.DROP_RECLAIMABLE_PAYLOAD, [(now, seq) for (seq,) in positions]
        ).rowcount
        sql.executemany(queries.DELETE_RECLAIMABLE, positions)
    return Step(max(dropped, 0), more=len(positions) == ROWS_PER_STEP)


def forget_ids(db: Database, remember: float) -> Step:
    """Forget ids of payloads that were dropped at least *remember* seconds ago."""
    with db.transaction(synced=False) as sql:
        before = db.clock() - remember
        forgotten = sql.execute(queries.FORGET_IDS, (before, ROWS_PER_STEP)).rowcount
    return Step(forgotten, more=forgotten == ROWS_PER_STEP)
