"""Attempts and times of delivery in an outbox file, written by the transactions that settle.

A batch that was delivered at once is one row for each range that it took from the log. A failed
attempt is a row of its own, copied from the exception with its encrypted reason. It costs about as
much as the exception itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.counting import status_of
from anytrack_async.outbox.history import (
    LEASE_LOST_CODE,
    LEASE_LOST_ERROR,
    PastAttempt,
    ReleaseReason,
)
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import decrypted_error
from anytrack_async.outbox.sqlite.history import tables
from anytrack_async.outbox.sqlite.queries import log as queries

# Writing, in the transaction that settles or releases


def add_batches(db: Database, lease_id: int) -> None:
    """Record that the spans of a lease, which still exist, are delivered now."""
    db.sql.execute(tables.INSERT_BATCHES, (db.clock.wall(), lease_id))


def add_failed(db: Database, destination: str, failed: Sequence[FailedEntry]) -> None:
    """Record failed attempts, just after their exceptions were inserted."""
    offset = db.clock.wall() - db.clock.now()
    db.sql.executemany(
        tables.INSERT_FAILED,
        [
            (entry.seq, destination, str(status_of(entry)), entry.http_status, offset)
            for entry in failed
        ],
    )


def add_delivered_retries(
    db: Database, claim: Claim, retries: Sequence[int], failed: Sequence[FailedEntry]
) -> None:
    """Record the conversions among *retries*, by their positions, that are delivered now."""
    undelivered = {entry.seq for entry in failed}
    numbers = dict(zip(claim.entries.seqs, claim.entries.attempts, strict=True))
    date, delivered = db.clock.wall(), (str(Status.DELIVERED), None, None, "", None)
    db.sql.executemany(
        tables.INSERT_ATTEMPT,
        [
            (seq, seq, claim.destination, date, numbers.get(seq, 0) + 1, *delivered)
            for seq in retries
            if seq not in undelivered
        ],
    )


def add_released(
    db: Database, claim: Claim, reason: ReleaseReason, *, due: float, counts_as_attempt: bool
) -> None:
    """Record the failure of a claim, just before its lease is released."""
    rows: list[tuple[int, int, int]] = []
    if reason.sent is None:
        for statement in (tables.SPANS_OF_LEASE, tables.RETRIES_OF_LEASE):
            rows += db.sql.execute(statement, (claim.lease_id,)).fetchall()
    else:
        seq = claim.entries.seqs[reason.sent]
        rows.append((seq, seq, claim.entries.attempts[reason.sent]))
    if db.cipher is not None:
        db.cipher.list_key(db.sql)
    date = db.clock.wall()
    date_due = due - db.clock.now() + date
    common = (str(Status.WAITING), reason.code, reason.http_status)
    for first, last, attempts in rows:
        error: bytes | str = reason.error
        if db.cipher is not None:
            error = db.cipher.seal_error(last, claim.destination, reason.error)
        number = attempts + counts_as_attempt
        row = (last, first, claim.destination, date, number, *common, error, date_due)
        db.sql.execute(tables.INSERT_ATTEMPT, row)


# Reading


def attempts(db: Database, event_id: str) -> list[PastAttempt]:
    """Return the attempts at a conversion that are kept, oldest first."""
    with db.snapshot() as sql:
        row = sql.execute(queries.LOG_SEQ, (event_id,)).fetchone()
        rows = sql.execute(tables.ATTEMPTS_AT, row).fetchall() if row else []
        return [
            PastAttempt(
                destination=name,
                at=date,
                number=number,
                status=Status(status),
                code=code,
                error=LEASE_LOST_ERROR
                if code == LEASE_LOST_CODE
                else decrypted_error(db, last, name, error),
                http_status=http,
                due=due,
            )
            for last, name, date, number, status, code, http, error, due, _ in rows
        ]


def delivered_at(db: Database, event_id: str) -> dict[str, float]:
    """Return destination → when it confirmed a conversion, which may since have failed there."""
    with db.snapshot() as sql:
        row = sql.execute(queries.LOG_SEQ, (event_id,)).fetchone()
        if not row:
            return {}
        dates = dict(sql.execute(tables.BATCHES_AT, row).fetchall())
        return dates | dict(sql.execute(tables.DELIVERED_RETRIES_AT, row).fetchall())
