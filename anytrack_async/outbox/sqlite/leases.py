"""Leases on an outbox file, and how they end: settled, released, expired, or taken over.

The functions with a connection as their first argument are called in a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from anytrack_async.codec.remote_ids import pack_ids
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.history import MINUTE
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import ClaimResult, SQLiteClaim
from anytrack_async.outbox.sqlite.history import attempts as history
from anytrack_async.outbox.sqlite.history.tables import COUNT_LOST, INSERT_LOST
from anytrack_async.outbox.sqlite.queries import claims as queries
from anytrack_async.outbox.sqlite.queries import retention as retention_queries
from anytrack_async.outbox.sqlite.thread import Job

# Settling


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


# Renewing and releasing


def renew(db: Database, claim: Claim, lease: float) -> bool:
    """Extend the lease to *lease* seconds from now; False if it was lost."""
    with db.transaction(synced=False) as sql:
        renewed = sql.execute(
            queries.RENEW_LEASE, (db.clock.now() + lease, claim.lease_id, claim.destination)
        )
    return renewed.rowcount == 1


def release(
    db: Database,
    claim: Claim,
    *,
    due: float,
    counts_as_attempt: bool,
    record: Callable[[], None] | None = None,
) -> bool:
    """Return the whole *claim* undelivered; False if its lease was lost.

    If it was not, *record* is called first, in the same transaction.
    """
    with db.transaction(synced=False) as sql:
        parameters = (claim.lease_id, claim.destination)
        is_ours = sql.execute(queries.LEASE_EXISTS, parameters).fetchone() is not None
        if is_ours:
            if record is not None:
                record()
            end_lease(sql, claim.lease_id, due=due, counts_as_attempt=counts_as_attempt)
    return is_ours


def undo(db: Database, claimed: Job[Database, ClaimResult], name: str) -> None:
    """Release the claim that a job has made for a task that was cancelled."""
    if claimed.result and claimed.result.lease_id:
        claim = Claim(destination=name, lease_id=claimed.result.lease_id)
        release(db, claim, due=db.clock.now(), counts_as_attempt=False)


# Ending


def lose_lease(db: Database, lease_id: int, *, due: float, is_blamed: bool) -> None:
    """Delete a lease that ended without a result; called in a transaction.

    Args:
        db: the file.
        lease_id: the lease.
        due: when its conversions are due.
        is_blamed: whether its conversions may have killed the worker: then it counts as an attempt.
    """
    date = db.clock.wall()
    db.sql.execute(COUNT_LOST, (lease_id, int(date) // MINUTE * MINUTE, db.clock.now()))
    for statement in INSERT_LOST:
        db.sql.execute(statement, (lease_id, date, int(is_blamed)))
    end_lease(db.sql, lease_id, due=due, counts_as_attempt=is_blamed, is_lost=is_blamed)


def end_lease(
    sql: sqlite3.Connection,
    lease_id: int,
    *,
    due: float,
    counts_as_attempt: bool,
    is_lost: bool = False,
) -> None:
    """Delete a lease; its conversions may be claimed again from *due*, unix seconds.

    Args:
        sql: the connection.
        lease_id: the lease.
        due: when its conversions are due.
        counts_as_attempt: whether each conversion has made one more attempt.
        is_lost: whether the lease ended without a result; two of them isolate a conversion.
    """
    sql.execute(queries.DELETE_LEASE, (lease_id,))
    parameters = (due, int(counts_as_attempt), int(is_lost), lease_id)
    sql.execute(queries.RELEASE_SPANS, parameters)
    sql.execute(queries.RELEASE_RETRIES, parameters)


def expire_lease(db: Database, destination: str, now: float) -> bool:
    """Release the lease of *destination* that expired first; False if none did."""
    lease = db.sql.execute(queries.EXPIRED_LEASE, (destination, now)).fetchone()
    if lease is None:
        return False
    lease_id, until = lease
    # It counts as an attempt, because its conversions may have killed the worker.
    lose_lease(db, lease_id, due=until, is_blamed=True)
    return True


def mark_reclaimable(sql: sqlite3.Connection, name: str, seqs: Sequence[int]) -> None:
    """Note that exceptions of a destination at *seqs* ended, where pruning does not look again."""
    (last,) = sql.execute(retention_queries.RECLAIMABLE_UPTO, (name,)).fetchone()
    sql.executemany(retention_queries.MARK_RECLAIMABLE, [(seq,) for seq in seqs if seq <= last])


def release_leases_of_dead(db: Database, owner_ids: Sequence[int]) -> None:
    """Take over the leases of those owners that are dead, and remove these owners."""
    for owner_id in owner_ids:
        with db.owner.proof_of_death(owner_id) as is_dead:
            if is_dead:
                with db.transaction(synced=False):
                    _release_lost(db, owner_id, db.clock.now())


def _release_lost(db: Database, owner_id: int, now: float) -> None:
    """End the leases of a dead owner.

    If it died with isolated conversions in flight, only they are to blame. If it closed the file in
    good order, none is.
    """
    leases = db.sql.execute(queries.LEASES_OF_OWNER, (owner_id,)).fetchall()
    has_isolated = any(alone for _, alone, _ in leases)
    for lease_id, alone, closed in leases:
        if closed:
            end_lease(db.sql, lease_id, due=now, counts_as_attempt=False)
        else:
            lose_lease(db, lease_id, due=now, is_blamed=bool(alone) or not has_isolated)
    db.sql.execute(queries.DELETE_OWNER, (owner_id,))


def register_owner(db: Database, previous_id: int) -> None:
    """Prove from now on that this process is alive, and take over the leases of dead owners.

    Args:
        db: the file.
        previous_id: the owner that this outbox object was when it last had the file open; 0 if it
            had not. It keeps the leases that it has left, unless they were taken over.
    """
    with db.transaction(synced=False) as sql:
        db.owner.remove_stray_files(sql)
        db.owner.register(sql, previous_id)
    release_leases_of_dead(db, db.owner.others(db.sql))


def close(db: Database) -> None:
    """Close the file and end the owner, which remains in the file if it has leases left."""
    try:
        with db.transaction(synced=False) as sql:
            db.counts.write_soon()
            if sql.execute(queries.LEASES_OF_OWNER, (db.owner.id,)).fetchone():
                sql.execute(queries.SET_OWNER_CLOSED, (1, db.owner.id))
            else:
                sql.execute(queries.DELETE_OWNER, (db.owner.id,))
                db.owner.delete_file()
    except sqlite3.Error:
        pass  # the file is full, locked or damaged: to others, this owner is dead
    finally:
        db.reserve.delete()
        db.close()
