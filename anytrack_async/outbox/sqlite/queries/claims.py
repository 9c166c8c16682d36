"""The statements that claim and settle: leases with their owners, spans and retries."""

from __future__ import annotations

from anytrack_async.outbox.sqlite.queries.log import ADDRESSED
from anytrack_async.outbox.sqlite.tables import ISOLATED_AFTER

# Leases

# Begin a lease, before it is known whether there is anything to claim.
INSERT_LEASE = "INSERT INTO lease (destination, until, owner, alone) VALUES (?, ?, ?, ?)"

# End a lease: it was settled, released, expired, or nothing could be claimed.
DELETE_LEASE = "DELETE FROM lease WHERE id = ?"

# Extend a lease; no row changes if another worker took it over.
RENEW_LEASE = "UPDATE lease SET until = ? WHERE id = ? AND destination = ?"

# One row if the lease still exists, which means that no other worker took it over.
LEASE_EXISTS = "SELECT 1 FROM lease WHERE id = ? AND destination = ?"

# The lease of a destination that expired first, if any did.
EXPIRED_LEASE = """SELECT id, until FROM lease WHERE destination = ? AND until <= ?
    ORDER BY until LIMIT 1"""

# Whether there is something to claim: cursor, end of the log, and the times at which the first
# retry, released span and isolated conversion become due and the first lease expires.
CLAIM_FORECAST = f"""SELECT cursor, coalesce((SELECT max(seq) FROM ids), 0),
    (SELECT min(due) FROM exception WHERE destination = ?1 AND due IS NOT NULL AND lease = 0
        AND lost < {ISOLATED_AFTER}),
    (SELECT min(due) FROM span WHERE destination = ?1 AND lease = 0 AND lost < {ISOLATED_AFTER}),
    (SELECT min(due) FROM exception WHERE destination = ?1 AND due IS NOT NULL AND lease = 0
        AND lost >= {ISOLATED_AFTER}),
    (SELECT min(due) FROM span WHERE destination = ?1 AND lease = 0 AND lost >= {ISOLATED_AFTER}),
    (SELECT min(until) FROM lease WHERE destination = ?1)
    FROM destination WHERE name = ?1"""  # noqa: S608

# The destinations for which a position is leased; of a span, also those it is not addressed to.
IN_FLIGHT_AT = """SELECT destination FROM span WHERE lease <> 0 AND first <= ? AND last >= ?
    UNION SELECT destination FROM exception WHERE lease <> 0 AND seq = ?"""

# Owners

# Register an outbox object that proves that it is alive.
INSERT_OWNER = "INSERT INTO owner (id) VALUES (?)"

# Record that an owner closed the file with leases left, or opened it again.
SET_OWNER_CLOSED = "UPDATE owner SET closed = ? WHERE id = ?"

# Remove an owner that has closed the file, or is dead.
DELETE_OWNER = "DELETE FROM owner WHERE id = ?"

# Every registered owner.
OWNERS = "SELECT id FROM owner"

# The owners that have leases, except one of them.
OWNERS_OF_LEASES = "SELECT DISTINCT owner FROM lease WHERE owner > 0 AND owner <> ?"

# The leases of an owner, whether each is of an isolated one, and whether the owner closed the file.
LEASES_OF_OWNER = """SELECT lease.id, alone, closed FROM lease LEFT JOIN owner
    ON owner.id = lease.owner WHERE owner = ?"""

# While an owner has isolated conversions in flight, 2 if one makes its last attempt, else 1.
ISOLATED_IN_FLIGHT = "SELECT max(alone) FROM lease WHERE owner = ? AND alone > 0 AND until > ?"

# Spans

# Stored entries of a range that are addressed to a destination; attempts are bound as a constant.
LOG_RANGE = f"""SELECT seq, at, payload, digest, ? FROM log WHERE seq >= ? AND seq <= ?
    AND {ADDRESSED} ORDER BY seq LIMIT ?"""  # noqa: S608

# Released spans that are due, those that have been due longest first.
DUE_SPANS = f"""SELECT id, first, last, size, attempts, lost FROM span
    WHERE destination = ? AND due <= ? AND lease = 0 AND lost < {ISOLATED_AFTER}
    ORDER BY due, first LIMIT ?"""  # noqa: S608

# The span of isolated conversions that has been due longest.
ISOLATED_SPAN = f"""SELECT id, first, last, size, attempts, lost FROM span
    WHERE destination = ? AND due <= ? AND lease = 0 AND lost >= {ISOLATED_AFTER}
    ORDER BY due, first LIMIT 1"""  # noqa: S608

# Lease a released span as a whole.
LEASE_SPAN = "UPDATE span SET lease = ? WHERE id = ?"

# Remove the claimed beginning of a released span that exceeds the limit of the claim.
SHRINK_SPAN = "UPDATE span SET first = ?, size = size - ? WHERE id = ?"

# Lease a range after the cursor, or the beginning of a released span.
INSERT_LEASED_SPAN = """INSERT INTO span (destination, first, last, size, attempts, lost, lease)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""

# Release the spans of a lease.
RELEASE_SPANS = """UPDATE span SET lease = 0, due = ?, attempts = attempts + ?, lost = lost + ?
    WHERE lease = ? AND lease <> 0"""

# Settle the spans of a lease: their conversions are now delivered or exceptions.
DELETE_LEASED_SPANS = "DELETE FROM span WHERE lease = ?"

# Retries

# Retries that are due, those that have been due longest first.
DUE_RETRIES = f"""SELECT seq, at, payload, digest, attempts, lost FROM
    (SELECT seq AS position, attempts, lost FROM exception
        WHERE destination = ? AND due <= ? AND lease = 0 AND lost < {ISOLATED_AFTER}
        ORDER BY due, seq LIMIT ?)
    JOIN log ON seq = position"""  # noqa: S608

# The isolated conversion among the retries that has been due longest.
ISOLATED_RETRY = f"""SELECT seq, at, payload, digest, attempts, lost FROM
    (SELECT seq AS position, attempts, lost FROM exception
        WHERE destination = ? AND due <= ? AND lease = 0 AND lost >= {ISOLATED_AFTER}
        ORDER BY due, seq LIMIT 1)
    JOIN log ON seq = position"""  # noqa: S608

# Add a retry to a lease.
LEASE_RETRY = "UPDATE exception SET lease = ? WHERE seq = ? AND destination = ?"

# Release the retries of a lease. Without ``lease <> 0`` no index could be used.
RELEASE_RETRIES = """UPDATE exception SET lease = 0, due = ?, attempts = attempts + ?,
    lost = lost + ? WHERE lease = ? AND lease <> 0"""

# The positions of the retries in a lease.
LEASED_RETRIES = "SELECT seq FROM exception WHERE lease = ? AND lease <> 0"

# Settle the retries of a lease; those that failed again are inserted anew.
DELETE_LEASED_RETRIES = "DELETE FROM exception WHERE lease = ? AND lease <> 0"

# Results

# Add a failed entry: a retry, or a dead letter if ``due`` is NULL.
INSERT_EXCEPTION = """INSERT INTO exception
    (seq, destination, attempts, due, error, code, at, settled) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

# Keep the ids of consecutive conversions that were delivered.
INSERT_REMOTE_IDS = """INSERT OR REPLACE INTO remote_ids (destination, last, first, packed)
    VALUES (?, ?, ?, ?)"""

# Move a cursor past claimed and skipped conversions.
MOVE_CURSOR = "UPDATE destination SET cursor = ?, skipped = skipped + ? WHERE name = ?"

# Change the numbers of retries, of dead letters and of delivered conversions.
ADD_TO_COUNTS = """UPDATE destination SET pending = pending + ?, dead = dead + ?,
    delivered = delivered + ? WHERE name = ?"""
