"""The statements that append to the log of an outbox file, and read from it."""

from __future__ import annotations

# The condition on a row of the log to be addressed to a destination; its name is the parameter.
ADDRESSED = "(destinations IS NULL OR instr(destinations, char(10) || ? || char(10)))"

# Appending

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

# Position and summary of an event id, to distinguish repeats from contradictions.
LOG_SUMMARY = "SELECT seq, summary FROM ids WHERE event_id = ?"

# Destinations with their cursor, and how many conversions behind it are not settled.
BACKLOGS = """SELECT name, cursor, pending
    + (SELECT coalesce(sum(size), 0) FROM span WHERE destination = name) FROM destination"""

# Number of positions between two that have no conversion addressed to a destination; some may have
# been dropped.
COUNT_FOREIGN = f"""SELECT ?2 - ?1 - count(*) FROM log WHERE seq > ?1 AND seq <= ?2
    AND {ADDRESSED}"""  # noqa: S608

# Reading

# Position of the newest conversion.
END_OF_LOG = "SELECT coalesce(max(seq), 0) FROM ids"

# Position of an event id.
LOG_SEQ = "SELECT seq FROM ids WHERE event_id = ?"

# The event id at a position, which its record is bound to.
EVENT_ID_AT = "SELECT event_id FROM ids WHERE seq = ?"

# Event ids and summaries of those of some event ids, a JSON array, that are known.
SUMMARIES = """SELECT event_id, summary FROM ids
    WHERE event_id IN (SELECT value FROM json_each(?))"""

# The record of an event id for a report: position, when its payload was dropped if that was later
# than its neighbours', recipients, whether the payload was dropped.
LOG_RECORD = """SELECT ids.seq, late, ids.destinations, log.seq IS NULL
    FROM ids LEFT JOIN log ON log.seq = ids.seq WHERE event_id = ?"""

# Positions and event ids of a range that are addressed to a destination.
LOG_RANGE_IDS = f"""SELECT seq, event_id FROM ids WHERE seq BETWEEN ? AND ?
    AND {ADDRESSED} ORDER BY seq LIMIT ?"""  # noqa: S608

# The last position that was certainly accepted before a moment. Payloads are dropped after their
# acceptance, so a payload that was dropped before the moment was also accepted before it.
ACCEPTED_BEFORE = """SELECT max(coalesce((SELECT max(upto) FROM dropped WHERE at < ?1), 0),
    coalesce((SELECT max(seq) FROM log WHERE at < ?1), 0))"""

# The last position that may have been accepted until a moment; NULL if all may.
ACCEPTED_UNTIL = """SELECT min(last) FROM (
    SELECT min(upto) AS last FROM dropped WHERE at > ?1
    UNION ALL SELECT min(seq) - 1 FROM log WHERE at > ?1)"""

# Positions and event ids between two positions.
IDS_BETWEEN = "SELECT seq, event_id FROM ids WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"

# All conversions behind a position; dropped ones have no payload.
EVERYTHING_AFTER = """SELECT ids.seq, event_id, summary, payload, digest
    FROM ids LEFT JOIN log ON log.seq = ids.seq WHERE ids.seq > ? ORDER BY ids.seq LIMIT ?"""

# Some stored conversions after a position.
STORED = """SELECT seq, event_id, payload, digest FROM log JOIN ids USING (seq)
    WHERE seq > ? ORDER BY seq LIMIT ?"""

# The stored conversion at a position.
STORED_AT = "SELECT event_id, payload, digest FROM log JOIN ids USING (seq) WHERE seq = ?"
