"""Settling claims on an outbox file: recording deliveries, retries and dead letters."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from anytrack_async.codec.remote_ids import pack_ids
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.history import attempts as history
from anytrack_async.outbox.sqlite.leases import SQLiteClaim, mark_reclaimable
from anytrack_async.outbox.sqlite.queries import claims as queries


def settle(
    db: Database,
    claim: Claim,
    failed: Sequence[FailedEntry],
    remote_ids: Sequence[str | None] = (),
) -> bool:
    """End *claim*, with *failed* retried or dead; False if its lease was lost.

    The *remote_ids* are those of `KeepsRemoteIds`, if there are any.
    """
    packs = pack_ids(claim.entries.seqs, remote_ids) if remote_ids else ()
    with db.transaction(synced=False) as sql:
        parameters = (claim.lease_id, claim.destination)
        is_ours = sql.execute(queries.LEASE_EXISTS, parameters).fetchone() is not None
        if is_ours:
            history.add_batches(db, claim.lease_id)
            sql.execute(queries.DELETE_LEASE, (claim.lease_id,))
            sql.execute(queries.DELETE_LEASED_SPANS, (claim.lease_id,))
            ended = _end_retries(sql, claim.destination, claim.lease_id)
            if ended:
                history.add_delivered_retries(db, claim, ended, failed)
            if failed:
                _add_exceptions(db, claim.destination, failed)
                history.add_failed(db, claim.destination, failed)
            db.counts.settle(claim, failed)
            for pack in packs:
                sql.execute(queries.INSERT_REMOTE_IDS, (claim.destination, *pack))
            count = len(claim.entries.seqs)
            if isinstance(claim, SQLiteClaim):
                count += len(claim.unreadable)
            dead = sum(entry.due is None for entry in failed)
            # Of 9, 3 were retries; one fails again and one dies: -2 retries, 1 dead, 7 delivered.
            pending = len(failed) - dead - len(ended)
            changes = (pending, dead, count - len(failed), claim.destination)
            sql.execute(queries.ADD_TO_COUNTS, changes)
    return is_ours


def _end_retries(sql: sqlite3.Connection, destination: str, lease_id: int) -> list[int]:
    """Delete the retries in a lease of *destination*, and return their positions."""
    positions = [seq for (seq,) in sql.execute(queries.LEASED_RETRIES, (lease_id,)).fetchall()]
    if positions:
        mark_reclaimable(sql, destination, positions)
        sql.execute(queries.DELETE_LEASED_RETRIES, (lease_id,))
    return positions


def _add_exceptions(db: Database, name: str, failed: Sequence[FailedEntry]) -> None:
    """Insert *failed*, which failed now; called in a transaction."""
    errors: Sequence[bytes | str] = [entry.error for entry in failed]
    if db.cipher is not None:
        errors = db.cipher.seal_errors(db.sql, name, failed)
    now, date = db.clock.now(), db.clock.wall()
    db.sql.executemany(
        queries.INSERT_EXCEPTION,
        [
            (entry.seq, name, entry.attempts, entry.due, error, entry.code, date, now)
            for entry, error in zip(failed, errors, strict=True)
        ],
    )
