"""Every SQL statement that reads or writes the tables of an outbox file, by name.

Parameters are positional, in the order in which they appear, unless they are numbered.

In the tables, a position in the log is called ``seq``, and a lease of 0 means "not leased":

* ``log``: the accepted conversions, in order. Once every destination has a conversion, ``payload``
  is NULL and ``at`` is the time at which it was dropped; the row stays while the id is remembered.
  The newest row is never deleted, so that ``max(seq)`` is always the end of the log.
  ``summary`` stays with the id, to find contradictions; rows of format version 1 have none, and
  `SUMMARY_OF` makes it from their payload. ``digest`` belongs to the payload and goes with it.
  ``destinations`` is NULL for all, else each name between two line breaks.
* ``destination``: its cursor; where it started (``start``, and ``since`` if it started at the
  beginning of the log, with ``inherited`` exceptions); and how many conversions it has received, it
  has skipped, wait for a retry, are dead or were discarded. So no query has to count rows, and a
  damaged cursor is found: the positions between ``start`` and the cursor are these, and those in
  spans.
* ``owner``: the outbox objects that have the file open, or closed it with leases left; see
  `owners`.
* ``lease``: the right to work on some conversions until a moment. Ids are never reused, because a
  late worker must not end the lease of another. ``owner`` is 0 if the holder of the lease cannot
  prove that it is alive; ``alone`` is 1 for an isolated conversion, 2 if that makes its last
  attempt.
* ``span``: ranges behind a cursor that are not settled: leased, or released until ``due``.
  ``size`` counts the conversions in it that are addressed to the destination. ``lost`` counts the
  leases that ended without a result; conversions that lost two are isolated.
* ``exception``: single conversions behind a cursor that wait for a retry, or are dead letters
  (``due`` is NULL). ``settled`` is when a conversion failed last, ``at`` the date of that moment.
* ``discarded``: dead letters that were given up for good, as long as their ids are remembered.
* ``clock``: the clock of the file, see `clock.FileClock`: the monotonic clock of the boot with the
  id ``boot`` plus ``clock_offset``; ``seen`` is the latest recorded time. All moments in the file
  are on this clock, except ``exception.at``, which is the date.
* ``checkpoints``: the progress of long jobs, see `KeepsCheckpoints`.
* ``pruned``: the position up to which payloads have been dropped.
* ``loose``: the reclaimable positions. These were already pruned past, but an exception kept their
  payload, which can be dropped now.
"""

from __future__ import annotations

# The tables

FORMAT_VERSION = 3

ISOLATED_AFTER = 2
"""Lost leases after which a conversion may end the process that sends it."""

_CLOCK = """
CREATE TABLE clock (boot TEXT NOT NULL, clock_offset REAL NOT NULL, seen REAL);
INSERT INTO clock VALUES ('', 0, NULL);
"""

_CHECKPOINTS = "CREATE TABLE checkpoints (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"

_DISCARDED = """
CREATE TABLE discarded (
    seq INTEGER NOT NULL,
    destination TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    code TEXT,
    PRIMARY KEY (seq, destination)
) WITHOUT ROWID;
"""

# Conversions that may be claimed together, and isolated ones, each in the order of their due times.
_SPAN_INDEXES = f"""
CREATE INDEX span_due ON span(destination, due, first) WHERE lease = 0 AND lost < {ISOLATED_AFTER};
CREATE INDEX span_isolated ON span(destination, due, first)
    WHERE lease = 0 AND lost >= {ISOLATED_AFTER};
"""
_RETRY_INDEXES = f"""
CREATE INDEX exception_due ON exception(destination, due, seq)
    WHERE due IS NOT NULL AND lease = 0 AND lost < {ISOLATED_AFTER};
CREATE INDEX exception_isolated ON exception(destination, due, seq)
    WHERE due IS NOT NULL AND lease = 0 AND lost >= {ISOLATED_AFTER};
"""

TABLES = f"""
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    summary TEXT,
    digest BLOB NOT NULL,
    at REAL NOT NULL,
    destinations TEXT,
    payload BLOB
);
CREATE INDEX log_pruned ON log(at) WHERE payload IS NULL;
CREATE TABLE destination (
    name TEXT PRIMARY KEY,
    start INTEGER NOT NULL,
    since REAL,
    cursor INTEGER NOT NULL,
    pending INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    inherited INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE lease (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    until REAL NOT NULL,
    owner INTEGER NOT NULL DEFAULT 0,
    alone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX lease_until ON lease(destination, until);
CREATE INDEX lease_owner ON lease(owner);
CREATE TABLE owner (id INTEGER PRIMARY KEY, closed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE span (
    id INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    size INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    lease INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX span_first ON span(destination, first);
CREATE INDEX span_lease ON span(lease);
{_SPAN_INDEXES}
CREATE TABLE exception (
    seq INTEGER NOT NULL,
    destination TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due REAL,
    error TEXT NOT NULL,
    code TEXT,
    lease INTEGER NOT NULL DEFAULT 0,
    at REAL NOT NULL,
    lost INTEGER NOT NULL DEFAULT 0,
    settled REAL,
    PRIMARY KEY (seq, destination)
) WITHOUT ROWID;
{_RETRY_INDEXES}
CREATE INDEX exception_dead ON exception(destination, seq) WHERE due IS NULL;
CREATE INDEX exception_lease ON exception(lease) WHERE lease <> 0;
CREATE TABLE loose (seq INTEGER PRIMARY KEY);
CREATE TABLE pruned (upto INTEGER NOT NULL);
INSERT INTO pruned VALUES (0);
{_CLOCK}
{_CHECKPOINTS};
{_DISCARDED}
"""  # noqa: S608

# Format version → the statements that make a file of that version one of the next. A process with
# an earlier release that has the file open can go on: it adds rows without a summary.
UPGRADES = {
    1: f"""
ALTER TABLE log ADD COLUMN summary TEXT;
ALTER TABLE destination ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destination ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destination ADD COLUMN inherited INTEGER NOT NULL DEFAULT 0;
UPDATE destination SET delivered = cursor - start - pending - dead
    - (SELECT coalesce(sum(size), 0) FROM span WHERE destination = name);
ALTER TABLE lease ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
CREATE INDEX lease_owner ON lease(owner);
CREATE TABLE owner (id INTEGER PRIMARY KEY, closed INTEGER NOT NULL DEFAULT 0);
ALTER TABLE span ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
{_SPAN_INDEXES}
ALTER TABLE exception ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
DROP INDEX exception_due;
{_RETRY_INDEXES}
{_CLOCK}
""",  # noqa: S608
    2: f"""
{_CHECKPOINTS};
{_DISCARDED}
ALTER TABLE destination ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exception ADD COLUMN settled REAL;
""",
}

SUMMARY_OF = "summary_of"
"""SQL function of a payload and its digest: the conversion's summary, NULL if it is not known."""

_SUMMARY = f"coalesce(summary, {SUMMARY_OF}(payload, digest))"

# Number of tables and indexes: 0 in an empty file.
COUNT_TABLES = "SELECT count(*) FROM sqlite_master"

# The condition on a row of the log to be addressed to the destination whose name is bound.
_ADDRESSED = "(destinations IS NULL OR instr(destinations, char(10) || ? || char(10)))"

# The log

LOG_COLUMNS = ("event_id", "summary", "digest", "destinations", "payload", "at")


def insert_into_log(rows: int) -> str:
    """Return the statement that appends *rows* rows of `LOG_COLUMNS`, skipping known event ids."""
    row = f"({', '.join('?' * len(LOG_COLUMNS))})"
    return f"""INSERT INTO log ({", ".join(LOG_COLUMNS)}) VALUES {", ".join([row] * rows)}
    ON CONFLICT (event_id) DO NOTHING"""  # noqa: S608


# Position of the newest conversion.
END_OF_LOG = "SELECT coalesce(max(seq), 0) FROM log"

# Position and summary of an event id, to distinguish repeats from contradictions.
LOG_SUMMARY = f"SELECT seq, {_SUMMARY} FROM log WHERE event_id = ?"  # noqa: S608

# Position of an event id.
LOG_SEQ = "SELECT seq FROM log WHERE event_id = ?"

# The record of an event id for a report: position, time, recipients, whether it is pruned.
LOG_RECORD = "SELECT seq, at, destinations, payload IS NULL FROM log WHERE event_id = ?"

# Stored entries of a range that are addressed to a destination; attempts are bound as a constant.
LOG_RANGE = f"""SELECT seq, at, payload, digest, ? FROM log WHERE seq >= ? AND seq <= ?
    AND {_ADDRESSED} ORDER BY seq LIMIT ?"""  # noqa: S608

# Positions and event ids of a range that are addressed to a destination.
LOG_RANGE_IDS = f"""SELECT seq, event_id FROM log WHERE seq BETWEEN ? AND ?
    AND {_ADDRESSED} ORDER BY seq LIMIT ?"""  # noqa: S608

# Destinations with their cursor, and how many conversions behind it are not settled.
BACKLOGS = """SELECT name, cursor, pending
    + (SELECT coalesce(sum(size), 0) FROM span WHERE destination = name) FROM destination"""

# Number of conversions between two positions that are not addressed to a destination.
COUNT_FOREIGN = f"""SELECT count(*) FROM log WHERE seq > ? AND seq <= ?
    AND NOT {_ADDRESSED}"""  # noqa: S608

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
CLAIM_FORECAST = f"""SELECT cursor, coalesce((SELECT max(seq) FROM log), 0),
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
RETRY_IDS = """SELECT seq, event_id FROM exception JOIN log USING (seq)
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
    WHERE exception.seq = ? AND destination = ?"""

# Make a dead letter due, with 0 attempts.
REPLAY = """UPDATE exception SET due = ?, attempts = 0, lost = 0
    WHERE seq = ? AND destination = ? AND due IS NULL"""

# Replace the stored conversion of an event id.
CORRECT = "UPDATE log SET payload = ?, digest = ?, summary = ? WHERE event_id = ?"

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
    WHERE seq BETWEEN first AND last AND {_ADDRESSED} AND payload IS NOT NULL)
    FROM span WHERE destination = ? ORDER BY first"""  # noqa: S608

# Number of exceptions whose conversion is missing.
LOST_EXCEPTIONS = """SELECT count(*) FROM exception LEFT JOIN log USING (seq)
    WHERE payload IS NULL"""

# Number of spans and exceptions in a lease that does not exist.
LOST_LEASES = """SELECT count(*) FROM (SELECT lease FROM span WHERE lease <> 0
    UNION ALL SELECT lease FROM exception WHERE lease <> 0)
    WHERE lease NOT IN (SELECT id FROM lease)"""

# Some stored conversions after a position.
STORED = """SELECT seq, event_id, payload, digest FROM log
    WHERE seq > ? AND payload IS NOT NULL ORDER BY seq LIMIT ?"""

# Destinations

# Every registered destination.
DESTINATION_NAMES = "SELECT name FROM destination"

# One row if a destination is registered.
DESTINATION_EXISTS = "SELECT 1 FROM destination WHERE name = ?"

# The cursor of a destination; no row if it is not registered.
DESTINATION_CURSOR = "SELECT cursor FROM destination WHERE name = ?"

# The part of all depths that is kept as numbers.
DESTINATION_COUNTS = "SELECT name, cursor, pending, dead FROM destination"

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
    SELECT seq, ?1, 0, ?2, '', ?2 FROM log WHERE payload IS NOT NULL
    AND (destinations IS NULL OR instr(destinations, char(10) || ?1 || char(10)))
    AND seq IN (SELECT seq FROM exception WHERE seq <= ?3 UNION SELECT seq FROM loose)"""

# Delete every row of a destination.
FORGET_DESTINATION = (
    "DELETE FROM exception WHERE destination = ?",
    "DELETE FROM discarded WHERE destination = ?",
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

# The clock

# The boot that the offset belongs to, the offset, and the latest time that was recorded.
CLOCK = "SELECT boot, clock_offset, seen FROM clock"

# When the newest conversion was accepted or dropped; NULL for an empty log.
NEWEST_MOMENT = "SELECT (SELECT at FROM log WHERE seq = (SELECT max(seq) FROM log))"

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

# Retention

# The position up to which payloads have been dropped.
PRUNED_UPTO = "SELECT upto FROM pruned"

# Record how far payloads have been dropped.
SET_PRUNED_UPTO = "UPDATE pruned SET upto = ?"

# The position up to which every destination has only exceptions left.
SETTLED_UPTO = """SELECT coalesce(min(min(cursor, coalesce(
    (SELECT min(first) - 1 FROM span WHERE destination = name), cursor))), 0) FROM destination"""

# What is left of a row without its payload, for the time ?1.
_WITHOUT_PAYLOAD = f"payload = NULL, digest = x'', summary = {_SUMMARY}, at = ?1"

# The last of the positions from ?1 to ?2 up to which payloads have at most ?3 bytes; at least one.
END_OF_PAYLOADS = """SELECT coalesce(max(seq), ?2) FROM (SELECT seq,
    sum(length(payload)) OVER (ORDER BY seq) - length(payload) AS before
    FROM log WHERE seq > ?1 AND seq <= ?2) WHERE coalesce(before, 0) <= ?3"""

# Drop the payloads between two positions, except those that an exception still needs.
DROP_PAYLOADS = f"""UPDATE log SET {_WITHOUT_PAYLOAD} WHERE seq > ?2 AND seq <= ?3
    AND seq NOT IN (SELECT seq FROM exception WHERE seq > ?2 AND seq <= ?3)"""  # noqa: S608

# Note that an exception at a pruned position has ended.
MARK_RECLAIMABLE = "INSERT OR IGNORE INTO loose VALUES (?)"

# The positions that a destination to be forgotten has kept from being pruned.
MARK_RECLAIMABLE_OF_DESTINATION = """INSERT OR IGNORE INTO loose
    SELECT seq FROM exception WHERE destination = ? AND seq <= (SELECT upto FROM pruned)"""

# Some reclaimable positions, for one step.
SOME_RECLAIMABLE = "SELECT seq FROM loose LIMIT ?"

# Remove a reclaimable position, once it has been looked at.
DELETE_RECLAIMABLE = "DELETE FROM loose WHERE seq = ?"

# Drop one reclaimable payload, unless another exception needs it.
DROP_RECLAIMABLE_PAYLOAD = f"""UPDATE log SET {_WITHOUT_PAYLOAD}
    WHERE seq = ?2 AND payload IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM exception WHERE exception.seq = log.seq)"""  # noqa: S608

# Forget some ids of payloads dropped at or before a moment; never the newest row.
_OLDEST_IDS = """SELECT seq FROM log WHERE payload IS NULL AND at <= ?
    AND seq < (SELECT max(seq) FROM log) ORDER BY at, seq LIMIT ?"""
FORGET_IDS = f"DELETE FROM log WHERE seq IN ({_OLDEST_IDS})"  # noqa: S608

# Forget the discarded dead letters of the same ids, before the ids.
FORGET_DISCARDED = f"DELETE FROM discarded WHERE seq IN ({_OLDEST_IDS})"  # noqa: S608
