"""Retention in an outbox file: payloads and ids are dropped once no destination needs them.

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

ROWS_PER_STEP = 500
"""Rows changed in one transaction: few, so that writers never wait long."""

_BYTES_PER_STEP = 2**19
"""Payload dropped in one transaction, which has to fit on a disk that is nearly full."""

_PAGES_PER_STEP = 100
_UNUSED_SHARE = 5  # a fifth of the pages may be unused
_MIN_UNUSED = 256  # pages, 1 MB


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
    now = db.clock.now()
    with db.transaction(synced=False) as sql:
        (pruned,) = sql.execute(queries.PRUNED_UPTO).fetchone()
        (settled,) = sql.execute(queries.SETTLED_UPTO).fetchone()
        last = min(pruned + ROWS_PER_STEP, settled)
        if last <= pruned:
            return Step(0, more=False)
        parameters = (pruned, last, _BYTES_PER_STEP)
        (last,) = sql.execute(queries.END_OF_PAYLOADS, parameters).fetchone()
        dropped = sql.execute(queries.DROP_PAYLOADS, (now, pruned, last)).rowcount
        sql.execute(queries.SET_PRUNED_UPTO, (last,))
    return Step(dropped, more=last < settled)


def drop_reclaimable(db: Database) -> Step:
    """Drop payloads at pruned positions that an exception had kept, and none needs any more."""
    now = db.clock.now()
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
        parameters = (db.clock.now() - remember, ROWS_PER_STEP)
        sql.execute(queries.FORGET_DISCARDED, parameters)
        forgotten = sql.execute(queries.FORGET_IDS, parameters).rowcount
    return Step(forgotten, more=forgotten == ROWS_PER_STEP)


def shrink(db: Database) -> Step:
    """Return some unused pages at the end of the file to the disk, unless there are few.

    Of 10,000 pages with 4,000 unused, 100 at a time are returned until 1,500 of 7,500 are unused:
    new conversions need some soon, and each returned page costs moving another one.
    """
    (unused,) = db.sql.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.sql.execute("PRAGMA page_count").fetchone()
    count = min(unused - max(pages // _UNUSED_SHARE, _MIN_UNUSED), _PAGES_PER_STEP)
    if count <= 0:
        return Step(0, more=False)
    with db.transaction(synced=False) as sql:
        for _ in range(count):  # Python's module executes one step of it, which is one page
            sql.execute("PRAGMA incremental_vacuum(1)")
    (now_unused,) = db.sql.execute("PRAGMA freelist_count").fetchone()
    return Step(unused - now_unused, more=now_unused < unused)  # an old file does not shrink
