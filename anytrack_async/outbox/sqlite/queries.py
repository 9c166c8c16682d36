"""Every SQL statement that reads or writes the tables of an outbox file, by name.

Parameters are positional, in the order in which they appear, unless they are numbered. What the
tables contain is in `tables`.
"""

from __future__ import annotations

from anytrack_async.outbox.sqlite.tables import ISOLATED_AFTER

# Number of tables and indexes: 0 in an empty file.
COUNT_TABLES = "SELECT count(*) FROM sqlite_master"

# The condition on a row of the log to be addressed to the destination whose name is bound.
_ADDRESSED = "(destinations IS NULL OR instr(destinations, char(10) || ? || char(10)))"

# The log

IDS_COLUMNS = ("event_id", "summary", "destinations")
LOG_COLUMNS = ("digest", "payload", "at", "destinations")


def insert_into_ids(rows: int) -> str:
    """Return the statement that adds *rows* rows of `IDS_COLUMNS` to ``ids``, except known ids."""
    return f"""INSERT INTO ids ({", ".join(IDS_COLUMNS)}) VALUES {_rows(rows, "(?, ?, ?)")}
    ON CONFLICT (event_id) DO NOTHING"""  # noqa: S608


def insert_into_log(rows: int) -> str:
    """Return the statement that adds *rows* rows of `LOG_COLUMNS` to ``log``.

    They must all have been new: they get the last positions of ``ids``, the first one explicitly.
    """
    values = _rows(rows, "(NULL, ?, ?, ?, ?)")
    first = f"(SELECT max(seq) - {rows - 1} FROM ids)"  # noqa: S608
    return f"""INSERT INTO log (seq, {", ".join(LOG_COLUMNS)})
    VALUES {values.replace("NULL", first, 1)}"""  # noqa: S608


def _rows(count: int, row: str) -> str:
    return ", ".join([row] * count)


# Add one row to the log, at a position.
INSERT_INTO_LOG_AT = """INSERT INTO log (seq, digest, payload, at, destinations)
    VALUES (?, ?, ?, ?, ?)"""


# Position of the newest conversion.
END_OF_LOG = "SELECT coalesce(max(seq), 0) FROM ids"

# Position and summary of an event id, to distinguish repeats from contradictions.
LOG_SUMMARY = "SELECT seq, summary FROM ids WHERE event_id = ?"

# Event ids and summaries of those of some event ids, a JSON array, that are known.
SUMMARIES = """SELECT event_id, summary FROM ids
    WHERE event_id IN (SELECT value FROM json_each(?))"""

# Position of an event id.
LOG_SEQ = "SELECT seq FROM ids WHERE event_id = ?"

# The record of an event id for a report: position, when its payload was dropped if that was later
# than its neighbours', recipients, whether the payload was dropped.
LOG_RECORD = """SELECT ids.seq, late, ids.destinations, log.seq IS NULL
    FROM ids LEFT JOIN log ON log.seq = ids.seq WHERE event_id = ?"""

# Stored entries of a range that are addressed to a destination; attempts are bound as a constant.
LOG_RANGE = f"""SELECT seq, at, payload, digest, ? FROM log WHERE seq >= ? AND seq <= ?
    AND {_ADDRESSED} ORDER BY seq LIMIT ?"""  # noqa: S608

# Positions and event ids of a range that are addressed to a destination.
LOG_RANGE_IDS = f"""SELECT seq, event_id FROM ids WHERE seq BETWEEN ? AND ?
    AND {_ADDRESSED} ORDER BY seq LIMIT ?"""  # noqa: S608

# The last position that was certainly accepted before a moment. Payloads are dropped after their
# acceptance, so what was dropped before it was accepted before it.
ACCEPTED_BEFORE = """SELECT max(coalesce((SELECT max(upto) FROM dropped WHERE at < ?1), 0),
    coalesce((SELECT max(seq) FROM log WHERE at < ?1), 0))"""

# The last position that may have been accepted until a moment; NULL if all may.
ACCEPTED_UNTIL = """SELECT min(last) FROM (
    SELECT min(upto) AS last FROM dropped WHERE at > ?1
    UNION ALL SELECT min(seq) - 1 FROM log WHERE at > ?1)"""

# Everything behind a position: what was dropped has no payload.
EVERYTHING_AFTER = """SELECT ids.seq, event_id, summary, payload, digest
    FROM ids LEFT JOIN log ON log.seq = ids.seq WHERE ids.seq > ? ORDER BY ids.seq LIMIT ?"""

# Positions and event ids between two positions.
IDS_BETWEEN = "SELECT seq, event_id FROM ids WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"

# Destinations with their cursor, and how many conversions behind it are not settled.
BACKLOGS = """SELECT name, cursor, pending
    + (SELECT coalesce(sum(size), 0) FROM span WHERE destination = name) FROM destination"""

# Number of positions between two that have no conversion addressed to a destination; some may have
# been dropped.
COUNT_FOREIGN = f"""SELECT ?2 - ?1 - count(*) FROM log WHERE seq > ?1 AND seq <= ?2
    AND {_ADDRESSED}"""  # noqa: S608

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

# The ranges of a destination that are not settled.
UNSETTLED_SPANS = "SELECT first, last FROM span WHERE destination = ?"

# The unsettled span that starts last at or before a position, which may contain it.
SPAN_BEFORE = """SELECT attempts, last FROM span WHERE destination = ? AND first <= ?
    ORDER BY first DESC LIMIT 1"""

# Ids that destinations gave

# Keep the ids of consecutive conversions that were delivered.
INSERT_REMOTE_IDS = """INSERT OR REPLACE INTO remote_ids (destination, last, first, packed)
    VALUES (?, ?, ?, ?)"""

# The ids among which that of a position is, if it is kept.
REMOTE_IDS_AFTER = """SELECT first, packed FROM remote_ids WHERE destination = ? AND last >= ?
    ORDER BY last LIMIT 1"""

# Every row of ids.
REMOTE_IDS = "SELECT destination, first, last, packed FROM remote_ids"

# Exceptions: retries and dead letters

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

# Add a failed entry: a retry, or a dead letter if ``due`` is NULL.
INSERT_EXCEPTION = """INSERT INTO exception
    (seq, destination, attempts, due, error, code, at, settled) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

# Failed conversions at one position, one per destination.
EXCEPTIONS_AT = "SELECT destination, due, attempts, error, code FROM exception WHERE seq = ?"

# Retries of a destination, in log order.
RETRY_IDS = """SELECT seq, event_id FROM exception JOIN ids USING (seq)
    WHERE destination = ? AND due IS NOT NULL ORDER BY seq LIMIT ?"""

# Dead letters
#
# Files of earlier versions have only the date of a dead letter, not its time on the file's clock.

_DEAD_REASON = "seq, destination, error, code, at, coalesce(settled, at)"

# Reasons and times of some dead letters of a destination after a position.
DEAD_REASONS = f"""SELECT {_DEAD_REASON} FROM exception
    WHERE destination = ? AND due IS NULL AND seq > ? ORDER BY seq LIMIT ?"""  # noqa: S608

# Reasons and times of the dead letters at a position.
DEAD_REASONS_AT = f"""SELECT {_DEAD_REASON} FROM exception
    WHERE seq = ? AND due IS NULL"""  # noqa: S608

# The dead letter of a destination at a position.
DEAD_LETTER = """SELECT exception.seq, destination, event_id, payload, digest, attempts, error,
    code, exception.at FROM exception JOIN log ON log.seq = exception.seq
    JOIN ids ON ids.seq = exception.seq
    WHERE exception.seq = ? AND exception.destination = ?"""

# Make a dead letter due, with 0 attempts.
REPLAY = """UPDATE exception SET due = ?, attempts = 0, lost = 0
    WHERE seq = ? AND destination = ? AND due IS NULL"""

# Replace the stored conversion of an event id.
CORRECT = "UPDATE log SET payload = ?, digest = ? WHERE seq = ?"

# Replace the summary of a stored conversion.
SET_SUMMARY = "UPDATE ids SET summary = ? WHERE seq = ?"

# Remember that a dead letter is discarded.
INSERT_DISCARDED = """INSERT OR REPLACE INTO discarded
    SELECT seq, destination, attempts, error, code FROM exception
    WHERE seq = ? AND destination = ? AND due IS NULL"""

# Delete a dead letter.
DELETE_DEAD = "DELETE FROM exception WHERE seq = ? AND destination = ? AND due IS NULL"

# Count dead letters as discarded.
ADD_DISCARDED = """UPDATE destination SET dead = dead - ?1, discarded = discarded + ?1
    WHERE name = ?2"""

# Discarded dead letters at one position, one per destination.
DISCARDED_AT = "SELECT destination, attempts, error, code FROM discarded WHERE seq = ?"

# Checks

# What has become of the positions between a destination's start and its cursor.
ACCOUNTS = """SELECT name, start, cursor, inherited, delivered, skipped, pending, dead, discarded,
    (SELECT coalesce(sum(size), 0) FROM span WHERE destination = name) FROM destination"""

# The exceptions of a destination: retries and dead letters, as rows.
EXCEPTION_COUNTS = """SELECT count(due), count(*) - count(due) FROM exception
    WHERE destination = ?"""

# The unsettled spans of a destination, with the number of conversions that are addressed to it.
SPAN_CONTENTS = f"""SELECT first, last, size, (SELECT count(*) FROM log
    WHERE seq BETWEEN first AND last AND {_ADDRESSED})
    FROM span WHERE destination = ? ORDER BY first"""  # noqa: S608

# Number of exceptions whose conversion is missing.
LOST_EXCEPTIONS = "SELECT count(*) FROM exception WHERE seq NOT IN (SELECT seq FROM log)"

# Number of spans and exceptions in a lease that does not exist.
LOST_LEASES = """SELECT count(*) FROM (SELECT lease FROM span WHERE lease <> 0
    UNION ALL SELECT lease FROM exception WHERE lease <> 0)
    WHERE lease NOT IN (SELECT id FROM lease)"""

# Some stored conversions after a position.
STORED = """SELECT seq, event_id, payload, digest FROM log JOIN ids USING (seq)
    WHERE seq > ? ORDER BY seq LIMIT ?"""

# The stored conversion at a position.
STORED_AT = "SELECT event_id, payload, digest FROM log JOIN ids USING (seq) WHERE seq = ?"

# The destinations for which a position is leased; of a span, also those it is not addressed to.
IN_FLIGHT_AT = """SELECT destination FROM span WHERE lease <> 0 AND first <= ? AND last >= ?
    UNION SELECT destination FROM exception WHERE lease <> 0 AND seq = ?"""

# Empty the reasons of failures at a position.
EMPTY_ERRORS = (
    "UPDATE exception SET error = '' WHERE seq = ?",
    "UPDATE discarded SET error = '' WHERE seq = ?",
)

# Number of stored conversions whose id is missing.
LOST_IDS = "SELECT count(*) FROM log WHERE seq NOT IN (SELECT seq FROM ids)"

# Number of ids after the pruned position whose conversion is neither stored nor dropped.
LOST_PAYLOADS = """SELECT count(*) FROM ids WHERE seq > (SELECT upto FROM pruned) AND late IS NULL
    AND NOT EXISTS (SELECT 1 FROM log WHERE log.seq = ids.seq)"""

# Number of remembered ids that have no time at which they are forgotten; the newest id may stay.
ENDLESS_IDS = """SELECT count(*) FROM ids WHERE seq <= (SELECT upto FROM pruned) AND late IS NULL
    AND (seq <= (SELECT forgotten FROM pruned) OR seq > (SELECT max(upto) FROM dropped)
        OR NOT EXISTS (SELECT 1 FROM dropped))
    AND seq < (SELECT max(seq) FROM ids)
    AND NOT EXISTS (SELECT 1 FROM log WHERE log.seq = ids.seq)"""

# Number of rows of ids of destinations that would never be forgotten.
ENDLESS_REMOTE_IDS = """SELECT count(*) FROM remote_ids
    WHERE NOT EXISTS (SELECT 1 FROM ids WHERE seq BETWEEN first AND last)
    OR destination NOT IN (SELECT name FROM destination)"""

# Whether the positions that retention keeps are in order.
RETENTION_IS_IN_ORDER = """SELECT forgotten <= pruned.upto
    AND pruned.upto <= coalesce((SELECT max(seq) FROM ids), 0)
    AND NOT EXISTS (SELECT 1 FROM destination WHERE swept > cursor)
    AND NOT EXISTS (SELECT 1 FROM dropped WHERE dropped.upto > pruned.upto) FROM pruned"""

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

# Move a cursor past claimed and skipped conversions.
MOVE_CURSOR = "UPDATE destination SET cursor = ?, skipped = skipped + ? WHERE name = ?"

# Change the numbers of retries, of dead letters and of delivered conversions.
ADD_TO_COUNTS = """UPDATE destination SET pending = pending + ?, dead = dead + ?,
    delivered = delivered + ? WHERE name = ?"""

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

# The clock

# The boot that the offset belongs to, the offset, and the latest time that was recorded.
CLOCK = "SELECT boot, clock_offset, seen FROM clock"

# When the newest conversion was accepted or dropped; NULL for an empty log.
NEWEST_MOMENT = """SELECT max(at) FROM (SELECT (SELECT max(at) FROM dropped) AS at
    UNION ALL SELECT (SELECT at FROM log ORDER BY seq DESC LIMIT 1)
    UNION ALL SELECT (SELECT max(late) FROM ids WHERE late IS NOT NULL))"""

# Continue the clock in this boot.
SET_CLOCK = "UPDATE clock SET boot = ?, clock_offset = ?, seen = ?"

# Record the time, unless another process has recorded a later one.
RECORD_TIME = "UPDATE clock SET seen = ?1 WHERE seen < ?1"

# Let moments later than ?2 be now, ?1: they were written when the date was wrong. The lease of an
# owner ends when the owner dies, whatever time it was given.
LIMIT_MOMENTS = tuple(
    f"""UPDATE {table} SET {column} = ?1 WHERE {column} > ?2
    AND destination IN (SELECT name FROM destination){condition}"""  # noqa: S608
    for table, column, condition in (
        ("lease", "until", " AND owner = 0"),
        ("span", "due", f" AND lease = 0 AND lost < {ISOLATED_AFTER}"),
        ("span", "due", f" AND lease = 0 AND lost >= {ISOLATED_AFTER}"),
        ("exception", "due", f" AND due IS NOT NULL AND lease = 0 AND lost < {ISOLATED_AFTER}"),
        ("exception", "due", f" AND due IS NOT NULL AND lease = 0 AND lost >= {ISOLATED_AFTER}"),
    )
)

# Checkpoints

# The value of a checkpoint.
CHECKPOINT = "SELECT value FROM checkpoints WHERE name = ?"

# Save a checkpoint, new or not.
SAVE_CHECKPOINT = """INSERT INTO checkpoints (name, value) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""

# Delete a checkpoint.
DELETE_CHECKPOINT = "DELETE FROM checkpoints WHERE name = ?"

# Encryption

# The keys that rows may be encrypted with.
LISTED_KEYS = "SELECT id FROM encryption_key"

# One row if rows may be encrypted with a key.
KEY_IS_LISTED = "SELECT 1 FROM encryption_key WHERE id = ?"

# List a key before rows are encrypted with it; it is not retiring then.
LIST_KEY = """INSERT INTO encryption_key (id) VALUES (?)
    ON CONFLICT (id) DO UPDATE SET retiring = 0 WHERE retiring <> 0"""

# Mark all keys but one: they are removed unless a row is found that is encrypted with them.
RETIRE_OTHER_KEYS = "UPDATE encryption_key SET retiring = 1 WHERE id <> ?"

# A row that is encrypted with this key was found.
KEEP_KEY = "UPDATE encryption_key SET retiring = 0 WHERE id = ?"

# Remove the keys that no row is encrypted with.
REMOVE_RETIRING_KEYS = "DELETE FROM encryption_key WHERE retiring <> 0"

# The event id at a position, which its record is bound to.
EVENT_ID_AT = "SELECT event_id FROM ids WHERE seq = ?"

# The first position after ?1 that has a row.
NEXT_STORED = """SELECT coalesce(min(seq), ?1 + 1) FROM (
    SELECT min(seq) AS seq FROM log WHERE seq > ?1
    UNION ALL SELECT min(seq) FROM exception WHERE seq > ?1
    UNION ALL SELECT min(seq) FROM discarded WHERE seq > ?1
    UNION ALL SELECT min(last) FROM history_attempts WHERE last > ?1)"""

# Number of records between two positions by the first ?1 bytes, which name the key.
RECORDS_BY_KEY = """SELECT substr(payload, 1, ?1), count(*) FROM log
    WHERE seq > ?2 AND seq <= ?3 GROUP BY 1"""

# Tables with error texts, and the column of the position that a text is bound to.
_TABLES_WITH_ERRORS = (("exception", "seq"), ("discarded", "seq"), ("history_attempts", "last"))

# The same of error texts, for each table that has some.
ERRORS_BY_KEY = tuple(
    f"""SELECT CASE WHEN typeof(error) = 'blob' THEN substr(error, 1, ?1) ELSE '' END,
    count(*) FROM {table} WHERE {seq} > ?2 AND {seq} <= ?3 AND error <> '' GROUP BY 1"""  # noqa: S608
    for table, seq in _TABLES_WITH_ERRORS
)

# Some records between two positions whose first ?3 bytes are not ?4.
RECORDS_OF_OTHER_KEYS = """SELECT seq, event_id, payload, digest FROM log JOIN ids USING (seq)
    WHERE seq > ?1 AND seq <= ?2 AND substr(payload, 1, ?3) <> ?4 ORDER BY seq LIMIT ?5"""

# The same of error texts.
ERRORS_OF_OTHER_KEYS = tuple(
    f"""SELECT {seq}, destination, error FROM {table}
    WHERE {seq} > ?1 AND {seq} <= ?2 AND error <> '' AND substr(error, 1, ?3) <> ?4
    ORDER BY {seq} LIMIT ?5"""  # noqa: S608
    for table, seq in _TABLES_WITH_ERRORS
)

# Replace a record by the encrypted one.
SET_RECORD = "UPDATE log SET payload = ?, digest = ? WHERE seq = ?"

# Replace an error text by the encrypted one.
SET_ERROR = tuple(
    f"UPDATE {table} SET error = ? WHERE {seq} = ? AND destination = ? AND error = ?"  # noqa: S608
    for table, seq in _TABLES_WITH_ERRORS
)

# Retention

# The position up to which payloads have been dropped.
PRUNED_UPTO = "SELECT upto FROM pruned"

# Record how far payloads have been dropped.
SET_PRUNED_UPTO = "UPDATE pruned SET upto = ?"

# Destinations with the position up to which each has only exceptions left, and the position up to
# which conversions for single destinations were looked at after it got them.
SETTLED_BY = """SELECT name, min(cursor, coalesce(
    (SELECT min(first) - 1 FROM span WHERE destination = name), cursor)), swept FROM destination"""

# The last of the positions from ?1 to ?2 up to which payloads have at most ?3 bytes; at least one.
END_OF_PAYLOADS = """SELECT coalesce(max(seq), ?2) FROM (SELECT seq,
    sum(length(payload)) OVER (ORDER BY seq) - length(payload) AS before
    FROM log WHERE seq > ?1 AND seq <= ?2) WHERE coalesce(before, 0) <= ?3"""

# Drop the payloads between two positions, except those that an exception still needs.
DROP_PAYLOADS = """DELETE FROM log WHERE seq > ?1 AND seq <= ?2
    AND seq NOT IN (SELECT seq FROM exception WHERE seq > ?1 AND seq <= ?2)"""

# Record when the payloads up to a position were dropped.
INSERT_DROPPED = "INSERT INTO dropped (upto, at) VALUES (?, ?)"

# Some conversions between two positions that are not for all destinations. An index of them would
# cost more with each conversion than reading each of them once.
ADDRESSED_RANGE = """SELECT seq, destinations, length(payload) FROM log
    WHERE destinations IS NOT NULL AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"""

# Record up to which position they were looked at after a destination got them.
SET_SWEPT = "UPDATE destination SET swept = ? WHERE name = ?"

# Note that an exception at a position that is not looked at again has ended.
MARK_RECLAIMABLE = "INSERT OR IGNORE INTO loose VALUES (?)"

# The position up to which the end of an exception of a destination has to be noted.
RECLAIMABLE_UPTO = """SELECT max(upto, coalesce((SELECT swept FROM destination WHERE name = ?1), 0))
    FROM pruned"""

# The positions that a destination to be forgotten has kept from being dropped.
MARK_RECLAIMABLE_OF_DESTINATION = f"""INSERT OR IGNORE INTO loose
    SELECT seq FROM exception WHERE destination = ?1 AND seq <= ({RECLAIMABLE_UPTO})"""  # noqa: S608

# Some reclaimable positions, for one step, with the recipients and the size of each conversion.
SOME_RECLAIMABLE = """SELECT loose.seq, destinations, length(payload) FROM loose
    LEFT JOIN log ON log.seq = loose.seq ORDER BY loose.seq LIMIT ?"""

# Remove a reclaimable position, once it has been looked at.
DELETE_RECLAIMABLE = "DELETE FROM loose WHERE seq = ?"

# Whether an exception needs the payload at a position.
IS_EXCEPTION = "SELECT 1 FROM exception WHERE seq = ?"

# Drop one payload.
DROP_PAYLOAD = "DELETE FROM log WHERE seq = ?"

# Record that a payload was dropped at another time than its neighbours.
SET_LATE = "UPDATE ids SET late = ? WHERE seq = ?"

# The position up to which ids have been forgotten, and the end of the log.
FORGOTTEN_UPTO = "SELECT forgotten, coalesce((SELECT max(seq) FROM ids), 0) FROM pruned"

# The last of some positions up to which payloads were dropped at or before a moment.
DROPPED_BEFORE = """SELECT max(upto) FROM (SELECT upto, at FROM dropped ORDER BY upto LIMIT ?)
    WHERE at <= ?"""

# Forget the ids between two positions, except those of stored conversions and late ones.
FORGET_IDS = """DELETE FROM ids WHERE seq > ?1 AND seq <= ?2 AND late IS NULL
    AND seq NOT IN (SELECT seq FROM log WHERE seq > ?1 AND seq <= ?2)"""

# Forget the discarded dead letters of the same ids, after the ids.
FORGET_DISCARDED = """DELETE FROM discarded WHERE seq > ?1 AND seq <= ?2
    AND seq NOT IN (SELECT seq FROM ids WHERE seq > ?1 AND seq <= ?2)"""

# Record how far ids have been forgotten.
SET_FORGOTTEN_UPTO = "UPDATE pruned SET forgotten = ?"

# Remove the times of payloads whose ids have been forgotten.
DELETE_DROPPED = "DELETE FROM dropped WHERE upto <= ?"

# Some late ids dropped at or before a moment; never the newest id.
LATE_IDS = """SELECT seq FROM ids WHERE late <= ? AND seq < (SELECT max(seq) FROM ids)
    ORDER BY late, seq LIMIT ?"""

# Forget one id.
FORGET_ID = "DELETE FROM ids WHERE seq = ?"

# Forget the discarded dead letters of one id.
FORGET_DISCARDED_AT = "DELETE FROM discarded WHERE seq = ?"

_NOT_REMEMBERED = "NOT EXISTS (SELECT 1 FROM ids WHERE seq BETWEEN first AND last)"

# Forget the ids of destinations in rows that end between two positions, after the event ids.
FORGET_REMOTE_IDS = f"""DELETE FROM remote_ids WHERE destination IN (SELECT name FROM destination)
    AND last > ?1 AND last <= ?2 AND {_NOT_REMEMBERED}"""  # noqa: S608

# The same of the rows that contain a position.
FORGET_REMOTE_IDS_AT = f"""DELETE FROM remote_ids WHERE (destination, last) IN
    (SELECT name, (SELECT min(last) FROM remote_ids WHERE destination = name AND last >= ?1)
        FROM destination) AND first <= ?1 AND {_NOT_REMEMBERED}"""  # noqa: S608
