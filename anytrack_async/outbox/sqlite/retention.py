"""Retention in an outbox file: payloads and ids are dropped once no destination needs them.

Each function does one step in a transaction of its own, so that other processes can write between
the steps. Call it again while `Step.more` is true.

A payload is dropped once it is behind every cursor, outside every span and not an exception. With
cursors at 900 and 700 and a span of the second destination from 650, everything up to 649 is
dropped, except for instance a dead letter at 120. Pruning then never looks at positions up to 649
again; when the dead letter is replayed and delivered, its position becomes *reclaimable* and its
payload is dropped in the next run.

A destination may be held for days. So conversions that are not addressed to it are *swept*: each
conversion that another destination has got is looked at, once, and dropped if its recipients all
have it. With the cursors above, a sweep for the first destination looks at 650 to 900, and drops
for instance a conversion at 800 that is for the first destination only.

An id is forgotten some time after its payload was dropped. The ids of payloads that were dropped
together are forgotten together; one that was reclaimed or swept is *late*, and has a time of its
own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Concatenate, NamedTuple, ParamSpec

from anytrack_async.outbox.history import COUNTS_KEPT_FOR, DAY
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.history.counts import forget
from anytrack_async.outbox.sqlite.history.tables import FORGET_HISTORY, FORGET_HISTORY_AT
from anytrack_async.outbox.sqlite.queries import retention as queries

ROWS_PER_STEP = 500
"""Rows changed in one transaction: few, so that writers never wait long."""

IDS_PER_STEP = 50
"""Ids forgotten in one transaction of about 0.2 ms, for which a submit may have to wait. Its sync
then writes these pages too, so fewer ids shorten it twice."""

_BYTES_PER_STEP = 2**19
"""Payload dropped in one transaction, which has to fit on a disk that is nearly full."""

_POSITIONS_PER_STEP = 1_000
"""Positions swept in one transaction, in a millisecond or two: each row has to be read."""

_PAGES_PER_STEP = 40
_UNUSED_SHARE = 5  # a fifth of the pages may be unused
_MIN_UNUSED = 256  # pages, 1 MB


class Step(NamedTuple):
    """The result of one transaction of a long operation.

    Attributes:
        rows: number of rows it handled.
        more: whether another step may find more.
        seconds: how long it took; 0 if that does not matter.
    """

    rows: int
    more: bool
    seconds: float = 0.0


_P = ParamSpec("_P")


def if_log_has_room(
    db: Database,
    step: Callable[Concatenate[Database, _P], Step],
    /,
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> Step:
    """Do a step, unless the write-ahead log is full or the disk has space for deliveries only.

    Pruning writes far more pages than it frees while the log cannot be emptied.
    """
    return step(db, *args, **kwargs) if db.wal.has_room_for_pruning() else Step(0, more=False)


# Payloads


def drop_payloads(db: Database) -> Step:
    """Drop payloads that every destination has, except those that an exception still needs."""
    now = db.clock.now()
    with db.transaction(synced=False) as sql:
        (pruned,) = sql.execute(queries.PRUNED_UPTO).fetchone()
        settled = min(_settled_by_name(sql).values(), default=0)
        last = min(pruned + ROWS_PER_STEP, settled)
        if last <= pruned:
            return Step(0, more=False)
        parameters = (pruned, last, _BYTES_PER_STEP)
        (last,) = sql.execute(queries.END_OF_PAYLOADS, parameters).fetchone()
        dropped = sql.execute(queries.DROP_PAYLOADS, (pruned, last)).rowcount
        if dropped:
            sql.execute(queries.INSERT_DROPPED, (last, now))
        sql.execute(queries.SET_PRUNED_UPTO, (last,))
    return Step(dropped, more=last < settled)


def _settled_by_name(sql: sqlite3.Connection) -> dict[str, int]:
    """Return destination → the position up to which it has only exceptions left."""
    return {name: settled for name, settled, _ in sql.execute(queries.SETTLED_BY)}


def sweep_payloads(db: Database) -> Step:
    """Drop payloads that all their recipients have, though another destination is behind them."""
    with db.transaction(synced=False) as sql:
        (pruned,) = sql.execute(queries.PRUNED_UPTO).fetchone()
        for name, settled, swept in sql.execute(queries.SETTLED_BY).fetchall():
            first = max(swept, pruned)
            last = min(first + _POSITIONS_PER_STEP, settled)
            if first < last:
                parameters = (first, last, ROWS_PER_STEP)
                rows = sql.execute(queries.ADDRESSED_RANGE, parameters).fetchall()
                candidates = _within_bytes(rows)
                is_last = len(candidates) == len(rows) < ROWS_PER_STEP
                sql.execute(queries.SET_SWEPT, (last if is_last else candidates[-1].seq, name))
                return Step(_drop_late(db, candidates, pruned), more=True)
    return Step(0, more=False)


def drop_reclaimable(db: Database) -> Step:
    """Drop payloads at positions looked at before that an exception had kept until now."""
    with db.transaction(synced=False) as sql:
        (pruned,) = sql.execute(queries.PRUNED_UPTO).fetchone()
        rows = sql.execute(queries.SOME_RECLAIMABLE, (ROWS_PER_STEP,)).fetchall()
        candidates = _within_bytes(rows)
        dropped = _drop_late(db, candidates, pruned)
        positions = [(candidate.seq,) for candidate in candidates]
        sql.executemany(queries.DELETE_RECLAIMABLE, positions)
    return Step(dropped, more=len(candidates) < len(rows) or len(rows) == ROWS_PER_STEP)


class _Candidate(NamedTuple):
    """A conversion that may be dropped; *size* is None if it was dropped already."""

    seq: int
    recipients: str | None
    size: int | None


def _within_bytes(rows: Sequence[tuple[int, str | None, int | None]]) -> list[_Candidate]:
    """Return the first of *rows* with at most `_BYTES_PER_STEP`, and at least one."""
    candidates: list[_Candidate] = []
    size = 0
    for candidate in map(_Candidate._make, rows):
        size += candidate.size or 0
        if candidates and size > _BYTES_PER_STEP:
            break
        candidates.append(candidate)
    return candidates


def _drop_late(db: Database, candidates: Sequence[_Candidate], pruned: int) -> int:
    """Drop those of *candidates* that nothing needs, and return how many these are."""
    settled_by_name = _settled_by_name(db.sql)
    dropped = [
        (candidate.seq,)
        for candidate in candidates
        if candidate.size is not None
        and (candidate.seq <= pruned or _is_settled(candidate, settled_by_name))
        and not db.sql.execute(queries.IS_EXCEPTION, (candidate.seq,)).fetchone()
    ]
    now = db.clock.now()
    db.sql.executemany(queries.SET_LATE, [(now, *row) for row in dropped])
    db.sql.executemany(queries.DROP_PAYLOAD, dropped)
    return len(dropped)


def _is_settled(candidate: _Candidate, settled_by_name: Mapping[str, int]) -> bool:
    """Return whether all recipients have the conversion, or have an exception there.

    A recipient that is not registered may be so later, and then gets it from the beginning.
    """
    names = (candidate.recipients or "").split("\n")[1:-1]
    settled = (settled_by_name.get(name, -1) for name in names)
    return bool(names) and all(position >= candidate.seq for position in settled)


# Ids


def forget_ids(db: Database, remember: float) -> Step:
    """Forget ids of payloads that were dropped at least *remember* seconds ago."""
    started, limit = monotonic(), min(ROWS_PER_STEP, IDS_PER_STEP)
    with db.transaction(synced=False) as sql:
        before = db.clock.now() - remember
        forgotten, end = sql.execute(queries.FORGOTTEN_UPTO).fetchone()
        (dropped,) = sql.execute(queries.DROPPED_BEFORE, (limit, before)).fetchone()
        last = min(dropped or 0, forgotten + limit, end - 1)  # the newest id stays
        count = 0
        if last > forgotten:
            count += sql.execute(queries.FORGET_IDS, (forgotten, last)).rowcount
            sql.execute(queries.FORGET_DISCARDED, (forgotten, last))
            for statement in (queries.FORGET_REMOTE_IDS, *FORGET_HISTORY):
                sql.execute(statement, (forgotten, last))
            sql.execute(queries.DELETE_DROPPED, (last,))
            sql.execute(queries.SET_FORGOTTEN_UPTO, (last,))
        late = sql.execute(queries.LATE_IDS, (before, limit)).fetchall()
        sql.executemany(queries.FORGET_ID, late)
        sql.executemany(queries.FORGET_DISCARDED_AT, late)
        for statement in (queries.FORGET_REMOTE_IDS_AT, *FORGET_HISTORY_AT):
            sql.executemany(statement, late)
    more = last > forgotten or len(late) == limit
    return Step(count + len(late), more, seconds=monotonic() - started)


def forget_counts(db: Database, remember: float) -> Step:
    """Forget some counts that are older than *remember* seconds, but at least `COUNTS_KEPT_FOR`."""
    date = db.clock.wall()
    with db.transaction(synced=False) as sql:
        more = forget(sql, date - max(remember, COUNTS_KEPT_FOR), date + DAY)
    return Step(0, more=more)


# The file


def shrink(db: Database) -> Step:
    """Return some unused pages at the end of the file to the disk, unless there are few.

    Of 10,000 pages with 4,000 unused, 40 at a time are returned until 1,500 of 7,500 are unused:
    new conversions need some soon, and each returned page costs moving another one.
    """
    started = monotonic()
    (unused,) = db.sql.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.sql.execute("PRAGMA page_count").fetchone()
    count = min(unused - max(pages // _UNUSED_SHARE, _MIN_UNUSED), _PAGES_PER_STEP)
    if count <= 0:
        return Step(0, more=False)
    with db.transaction(synced=False) as sql:
        for _ in range(count):  # Python's module executes one step of it, which is one page
            sql.execute("PRAGMA incremental_vacuum(1)")
    (now_unused,) = db.sql.execute("PRAGMA freelist_count").fetchone()
    returned = unused - now_unused  # an old file does not shrink
    return Step(returned, more=returned > 0, seconds=monotonic() - started)
