"""The statements that register destinations, and report on them and on conversions."""

from __future__ import annotations

from anytrack_async.outbox.sqlite.tables import ISOLATED_AFTER

# Destinations

# Every registered destination.
DESTINATION_NAMES = "SELECT name FROM destination"

# One row if a destination is registered.
DESTINATION_EXISTS = "SELECT 1 FROM destination WHERE name = ?"

# The cursor of a destination; no row if it is not registered.
DESTINATION_CURSOR = "SELECT cursor FROM destination WHERE name = ?"

# The part of all depths that is kept as numbers.
DESTINATION_COUNTS = "SELECT name, cursor, pending, dead FROM destination"

# How many conversions each destination has received.
DELIVERED_COUNTS = "SELECT name, delivered FROM destination"

# The positions that decide which conversions concern a destination.
DESTINATION_POSITIONS = "SELECT name, start, since, cursor FROM destination"

# Register a destination.
INSERT_DESTINATION = (
    "INSERT INTO destination (name, start, since, cursor, pending, inherited)"
    " VALUES (?1, ?2, ?3, ?2, ?4, ?4)"
)

# Give a destination that starts at the beginning of the log a retry, due now, for each payload that
# an exception of another destination has kept there.
INHERIT_EXCEPTIONS = """INSERT INTO exception (seq, destination, attempts, due, error, at)
    SELECT seq, ?1, 0, ?2, '', ?2 FROM log
    WHERE (destinations IS NULL OR instr(destinations, char(10) || ?1 || char(10)))
    AND seq IN (SELECT seq FROM exception WHERE seq <= ?3 UNION SELECT seq FROM loose)"""

# Delete every row of a destination.
FORGET_DESTINATION = (
    "DELETE FROM exception WHERE destination = ?",
    "DELETE FROM discarded WHERE destination = ?",
    "DELETE FROM remote_ids WHERE destination = ?",
    "DELETE FROM span WHERE destination = ?",
    "DELETE FROM lease WHERE destination = ?",
    "DELETE FROM destination WHERE name = ?",
)

# Depths

# Number of conversions in spans that are leased, that failed before or lost their lease, and in
# all spans, for the time ?1 and the destination ?2.
SPAN_DEPTHS = """SELECT coalesce(sum(size) FILTER (WHERE until > ?1), 0),
    coalesce(sum(size) FILTER (WHERE until <= ?1 OR (until IS NULL AND attempts > 0)), 0),
    coalesce(sum(size), 0)
    FROM span LEFT JOIN lease ON lease.id = span.lease WHERE span.destination = ?2"""

# Number of retries that are leased now.
LEASED_RETRY_COUNT = """SELECT count(*) FROM lease JOIN exception ON exception.lease = lease.id
    WHERE lease.destination = ? AND until > ? AND exception.lease <> 0"""

# When the conversion at the first position that a destination ?1 still has to get was accepted; no
# row, or NULL, if nothing waits. Of the retries, each of the three kinds has an index of its own.
OLDEST_WAITING = f"""SELECT at FROM log WHERE seq = (SELECT min(seq) FROM (
    SELECT min(first) AS seq FROM span WHERE destination = ?1
    UNION ALL SELECT min(seq) FROM log
        WHERE seq > (SELECT cursor FROM destination WHERE name = ?1)
    UNION ALL SELECT min(seq) FROM exception
        WHERE destination = ?1 AND due IS NOT NULL AND lease = 0 AND lost < {ISOLATED_AFTER}
    UNION ALL SELECT min(seq) FROM exception
        WHERE destination = ?1 AND due IS NOT NULL AND lease = 0 AND lost >= {ISOLATED_AFTER}
    UNION ALL SELECT min(seq) FROM lease JOIN exception ON exception.lease = lease.id
        WHERE lease.destination = ?1 AND exception.lease <> 0))"""  # noqa: S608

# Conversions

# The ranges of a destination that are not settled.
UNSETTLED_SPANS = "SELECT first, last FROM span WHERE destination = ?"

# The unsettled span that starts last at or before a position, which may contain it.
SPAN_BEFORE = """SELECT attempts, last FROM span WHERE destination = ? AND first <= ?
    ORDER BY first DESC LIMIT 1"""

# Failed conversions at one position, one per destination.
EXCEPTIONS_AT = "SELECT destination, due, attempts, error, code FROM exception WHERE seq = ?"

# Retries of a destination, in log order.
RETRY_IDS = """SELECT seq, event_id FROM exception JOIN ids USING (seq)
    WHERE destination = ? AND due IS NOT NULL ORDER BY seq LIMIT ?"""

# Discarded dead letters at one position, one per destination.
DISCARDED_AT = "SELECT destination, attempts, error, code FROM discarded WHERE seq = ?"

# The ids among which that of a position is, if it is kept.
REMOTE_IDS_AFTER = """SELECT first, packed FROM remote_ids WHERE destination = ? AND last >= ?
    ORDER BY last LIMIT 1"""

# Checkpoints

# The value of a checkpoint.
CHECKPOINT = "SELECT value FROM checkpoints WHERE name = ?"

# Save a checkpoint, new or not.
SAVE_CHECKPOINT = """INSERT INTO checkpoints (name, value) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""

# Delete a checkpoint.
DELETE_CHECKPOINT = "DELETE FROM checkpoints WHERE name = ?"
