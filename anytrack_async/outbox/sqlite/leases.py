"""What becomes of leases on an outbox file: renewed, released, settled."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.retention import pruned_upto


def renew(db: Database, claim: Claim, lease: float) -> bool:
    """Extend the lease to *lease* seconds from now; False if it was lost."""
    with db.transaction(synced=False) as sql:
        extended = sql.execute(
            "UPDATE lease SET until = ? WHERE id = ? AND destination = ?",
            (db.clock() + lease, claim.lease_id, claim.destination),
        )
    return extended.rowcount == 1


def release(db: Database, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
    """Give the whole *claim* back; False if it was lost. Costs the same for any range."""
    with db.transaction(synced=False) as sql:
        held = _holds(sql, claim)
        if held:
            give_back(sql, claim.lease_id, due=due, counts_as_attempt=counts_as_attempt)
    return held


def settle(db: Database, claim: Claim, failed: Sequence[FailedEntry]) -> bool:
    """End *claim*; False if it was lost."""
    with db.transaction(synced=False) as sql:
        held = _holds(sql, claim)
        if held:
            sql.execute("DELETE FROM lease WHERE id = ?", (claim.lease_id,))
            sql.execute("DELETE FROM span WHERE lease = ?", (claim.lease_id,))
            over = _end_retries(sql, claim.lease_id)
            _keep(sql, claim.destination, failed, db.clock(), over=over)
    return held


def _holds(sql: sqlite3.Connection, claim: Claim) -> bool:
    query = "SELECT 1 FROM lease WHERE id = ? AND destination = ?"
    return sql.execute(query, (claim.lease_id, claim.destination)).fetchone() is not None


def give_back(
    sql: sqlite3.Connection, lease_id: int, *, due: float, counts_as_attempt: bool
) -> None:
    """Release what a lease holds, to be claimed again from *due*, unix seconds."""
    sql.execute("DELETE FROM lease WHERE id = ?", (lease_id,))
    for table in ("span", "exception"):
        sql.execute(
            f"UPDATE {table} SET lease = 0, due = ?, attempts = attempts + ?"  # noqa: S608
            " WHERE lease = ? AND lease <> 0",
            (due, int(counts_as_attempt), lease_id),
        )


def _end_retries(sql: sqlite3.Connection, lease_id: int) -> int:
    """Delete the exceptions that a lease holds, and return how many there were."""
    held = "SELECT seq FROM exception WHERE lease = ? AND lease <> 0"
    seqs = sql.execute(held, (lease_id,)).fetchall()
    if seqs:
        upto = pruned_upto(sql)
        loose = [row for row in seqs if row[0] <= upto]
        sql.executemany("INSERT OR IGNORE INTO loose VALUES (?)", loose)
        sql.execute("DELETE FROM exception WHERE lease = ? AND lease <> 0", (lease_id,))
    return len(seqs)


def _keep(
    sql: sqlite3.Connection, name: str, failed: Sequence[FailedEntry], now: float, *, over: int
) -> None:
    """Make *failed* exceptions, and count them in for the *over* that are none any more."""
    if not failed and not over:
        return
    sql.executemany(
        "INSERT INTO exception (seq, destination, attempts, due, error, code, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(one.seq, name, one.attempts, one.due, one.error, one.code, now) for one in failed],
    )
    dead = sum(one.due is None for one in failed)
    sql.execute(
        "UPDATE destination SET pending = pending + ?, dead = dead + ? WHERE name = ?",
        (len(failed) - dead - over, dead, name),
    )
