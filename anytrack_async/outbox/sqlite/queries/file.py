"""The statements on the file as a whole: its clock, and the checks of `verify`."""

from __future__ import annotations

from anytrack_async.outbox.sqlite.queries.log import ADDRESSED
from anytrack_async.outbox.sqlite.tables import ISOLATED_AFTER

# Number of tables and indexes: 0 in an empty file.
COUNT_TABLES = "SELECT count(*) FROM sqlite_master"

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

# Checks

# What has become of the positions between a destination's start and its cursor.
ACCOUNTS = """SELECT name, start, cursor, inherited, delivered, skipped, pending, dead, discarded,
    (SELECT coalesce(sum(size), 0) FROM span WHERE destination = name) FROM destination"""

# The exceptions of a destination: retries and dead letters, as rows.
EXCEPTION_COUNTS = """SELECT count(due), count(*) - count(due) FROM exception
    WHERE destination = ?"""

# The unsettled spans of a destination, with the number of conversions that are addressed to it.
SPAN_CONTENTS = f"""SELECT first, last, size, (SELECT count(*) FROM log
    WHERE seq BETWEEN first AND last AND {ADDRESSED})
    FROM span WHERE destination = ? ORDER BY first"""  # noqa: S608

# Number of exceptions without a conversion.
LOST_EXCEPTIONS = "SELECT count(*) FROM exception WHERE seq NOT IN (SELECT seq FROM log)"

# Number of spans and exceptions in a lease that does not exist.
LOST_LEASES = """SELECT count(*) FROM (SELECT lease FROM span WHERE lease <> 0
    UNION ALL SELECT lease FROM exception WHERE lease <> 0)
    WHERE lease NOT IN (SELECT id FROM lease)"""

# Number of stored conversions without an id.
LOST_IDS = "SELECT count(*) FROM log WHERE seq NOT IN (SELECT seq FROM ids)"

# Number of ids after the pruned position with a conversion that is neither stored nor dropped.
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

# Every row of ids.
REMOTE_IDS = "SELECT destination, first, last, packed FROM remote_ids"
