"""The tables and SQL statements of the history in an outbox file, by name.

All times in these tables are dates, not moments of the file's clock; see `outbox.history`.

* ``history_outcomes``: how many attempts ended in the same way within a minute, and the sum of the
  seconds since the conversions were accepted.
* ``history_accepted``: how many conversions of a kind were accepted within an hour, and the sum of
  their revenues, as text with every digit.
* ``history_batches``: when a destination confirmed a range of positions, which one claim took from
  the log. Ranges of a destination do not overlap. Conversions in a range that failed are in the
  other table.
* ``history_attempts``: attempts that failed, and those that were delivered after failed ones. A
  batch that was released as a whole is one row, with ``first`` below ``last``, and so is a batch
  with a lost lease, without ``error``, because that is the same for all. An encrypted ``error`` is
  a BLOB, bound to ``last`` and the destination like that of an exception.
"""

from __future__ import annotations

from anytrack_async.outbox.history import LEASE_LOST_CODE

MAX_RANGE = 20_000
"""Positions that one claim takes from the log at most, those of others included."""

HISTORY_TABLES = """
CREATE TABLE history_outcomes (
    minute INTEGER NOT NULL,
    destination TEXT NOT NULL,
    status TEXT NOT NULL,
    code TEXT NOT NULL,
    count INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (minute, destination, status, code)
) WITHOUT ROWID;
CREATE TABLE history_accepted (
    hour INTEGER NOT NULL,
    conversion_type TEXT NOT NULL,
    currency TEXT NOT NULL,
    source TEXT NOT NULL,
    campaign TEXT NOT NULL,
    count INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (hour, conversion_type, currency, source, campaign)
) WITHOUT ROWID;
CREATE TABLE history_batches (
    destination TEXT NOT NULL,
    last INTEGER NOT NULL,
    first INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (destination, last)
) WITHOUT ROWID;
CREATE TABLE history_attempts (
    id INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    first INTEGER NOT NULL,
    destination TEXT NOT NULL,
    at REAL NOT NULL,
    number INTEGER NOT NULL,
    status TEXT NOT NULL,
    code TEXT,
    http_status INTEGER,
    error NOT NULL,
    due REAL
);
CREATE INDEX history_attempts_last ON history_attempts(last, first);
CREATE INDEX history_attempts_of_batches ON history_attempts(last, first) WHERE first < last;
"""

# Counts

# Add to the outcomes of a minute.
ADD_OUTCOMES = """INSERT INTO history_outcomes (minute, destination, status, code, count, seconds)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
    SET count = count + excluded.count, seconds = seconds + excluded.seconds"""

# The outcomes of a period.
OUTCOMES = """SELECT minute, destination, status, code, count, seconds FROM history_outcomes
    WHERE minute > ?1 AND (?2 IS NULL OR minute < ?2) AND (?3 IS NULL OR destination = ?3)
    ORDER BY minute, destination, status, code"""

# Add a kind of conversion to an hour, or replace its numbers.
SET_ACCEPTED = """INSERT OR REPLACE INTO history_accepted
    (hour, conversion_type, currency, source, campaign, count, value)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""

# The numbers of a kind of conversion in an hour.
ACCEPTED_OF_KIND = """SELECT count, value FROM history_accepted WHERE hour = ?
    AND conversion_type = ? AND currency = ? AND source = ? AND campaign = ?"""

# The conversions accepted in a period.
ACCEPTED = """SELECT hour, conversion_type, currency, source, campaign, count, value
    FROM history_accepted WHERE hour > ?1 AND (?2 IS NULL OR hour < ?2)
    ORDER BY hour, conversion_type, currency, source, campaign"""

# Every pair of source and campaign of a day.
NAMES_OF_DAY = """SELECT DISTINCT source, campaign FROM history_accepted
    WHERE hour >= ? AND hour < ?"""

# Delete some counts from before ?1, or from after ?2, when the date was wrong.
FORGET_COUNTS = (
    """DELETE FROM history_outcomes WHERE (minute, destination, status, code) IN (
    SELECT minute, destination, status, code FROM history_outcomes
    WHERE minute < ?1 OR minute > ?2 LIMIT ?3)""",
    """DELETE FROM history_accepted WHERE (hour, conversion_type, currency, source, campaign) IN (
    SELECT hour, conversion_type, currency, source, campaign FROM history_accepted
    WHERE hour < ?1 OR hour > ?2 LIMIT ?3)""",
)

# Attempts and batches

# Record when a destination confirmed the spans of a lease, just before these are deleted.
INSERT_BATCHES = """INSERT OR REPLACE INTO history_batches (destination, last, first, at)
    SELECT destination, last, first, ? FROM span WHERE lease = ?"""

# Record a failed attempt at a conversion, from its exception. ?5 is the date minus the time.
INSERT_FAILED = """INSERT INTO history_attempts
    (last, first, destination, at, number, status, code, http_status, error, due)
    SELECT seq, seq, destination, at, attempts, ?3, code, ?4, error, due + ?5
    FROM exception WHERE seq = ?1 AND destination = ?2"""

# Record an attempt.
INSERT_ATTEMPT = """INSERT INTO history_attempts
    (last, first, destination, at, number, status, code, http_status, error, due)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

# Record the attempts of a lost lease: of its spans, and of its retries. ?3 is 1 if it counts as an
# attempt. The reason is the same for all, so it is not stored.
INSERT_LOST = tuple(
    f"""INSERT INTO history_attempts
    (last, first, destination, at, number, status, code, http_status, error, due)
    SELECT {columns}, destination, ?2, attempts + ?3, 'waiting', '{LEASE_LOST_CODE}', NULL, '', NULL
    FROM {table} WHERE lease = ?1 AND lease <> 0"""  # noqa: S608
    for columns, table in (("last, first", "span"), ("seq, seq", "exception"))
)

# Count the attempts of a lost lease. ?2 is the minute, ?3 the time on the file's clock.
COUNT_LOST = f"""INSERT INTO history_outcomes (minute, destination, status, code, count, seconds)
    SELECT ?2, destination, 'waiting', '{LEASE_LOST_CODE}', count(*), sum(max(?3 - at, 0)) FROM (
        SELECT span.destination, log.at FROM span JOIN log ON log.seq BETWEEN first AND last
            AND (destinations IS NULL
                OR instr(destinations, char(10) || span.destination || char(10)))
            WHERE lease = ?1 AND lease <> 0
        UNION ALL SELECT exception.destination, log.at FROM exception JOIN log USING (seq)
            WHERE lease = ?1 AND lease <> 0)
    WHERE true GROUP BY destination ON CONFLICT DO UPDATE
    SET count = count + excluded.count, seconds = seconds + excluded.seconds"""  # noqa: S608

# The spans of a lease, which may be released.
SPANS_OF_LEASE = "SELECT first, last, attempts FROM span WHERE lease = ?"

# The retries of a lease, which may be released.
RETRIES_OF_LEASE = "SELECT seq, seq, attempts FROM exception WHERE lease = ? AND lease <> 0"

_ATTEMPT = "last, destination, at, number, status, code, http_status, error, due, id"

# The condition on a row to contain a position. A claim takes 20,000 positions at most, so a row
# that contains 50,000 ends before 70,000: the index on `last` leads to these rows only.
_OF_BATCHES = f"last >= ?1 AND last < ?1 + {MAX_RANGE} AND first <= ?1"

# The attempts at a position, oldest first. Without the name of the index, and with an ORDER BY that
# the index of the rows could serve, SQLite would read the whole table.
ATTEMPTS_AT = f"""SELECT * FROM (SELECT {_ATTEMPT} FROM history_attempts
    WHERE last = ?1 AND first = ?1
    UNION ALL SELECT {_ATTEMPT} FROM history_attempts INDEXED BY history_attempts_of_batches
    WHERE first < last AND {_OF_BATCHES}) ORDER BY +id"""  # noqa: S608

# When each destination confirmed the batch that a position was taken from the log with. Batches of
# a destination do not overlap, so only the first one that ends at the position or later can contain
# it: of 1 to 500 and 501 to 900, for 620 the second one. A CROSS JOIN keeps the order of the
# tables: SQLite would else read every batch.
BATCHES_AT = """SELECT name, at FROM destination CROSS JOIN history_batches
    ON destination = name AND last = (SELECT min(last) FROM history_batches AS later
        WHERE later.destination = name AND later.last >= ?1)
    WHERE first <= ?1"""

# When each destination confirmed a position after failed attempts.
DELIVERED_RETRIES_AT = """SELECT destination, max(at) FROM history_attempts
    WHERE last = ? AND first = last AND status = 'delivered' GROUP BY destination"""

# Empty the reasons of failures at a position.
EMPTY_ATTEMPT_ERRORS = (
    "UPDATE history_attempts SET error = '' WHERE last = ?1 AND first = ?1",
    f"UPDATE history_attempts SET error = '' WHERE first < last AND {_OF_BATCHES}",  # noqa: S608
)

# Forgetting and checking

_NOT_REMEMBERED = "NOT EXISTS (SELECT 1 FROM ids WHERE seq BETWEEN first AND last)"

# Forget batches and attempts that end between two positions, after the event ids.
FORGET_HISTORY = (
    f"""DELETE FROM history_batches WHERE destination IN (SELECT name FROM destination)
    AND last > ?1 AND last <= ?2 AND {_NOT_REMEMBERED}""",  # noqa: S608
    f"DELETE FROM history_attempts WHERE last > ?1 AND last <= ?2 AND {_NOT_REMEMBERED}",  # noqa: S608
)

# Forget batches and attempts that contain a position, after its event id.
FORGET_HISTORY_AT = (
    f"""DELETE FROM history_batches WHERE (destination, last) IN
    (SELECT name, (SELECT min(last) FROM history_batches WHERE destination = name AND last >= ?1)
        FROM destination) AND first <= ?1 AND {_NOT_REMEMBERED}""",  # noqa: S608
    "DELETE FROM history_attempts WHERE last = ?1 AND first = ?1",
    f"""DELETE FROM history_attempts
    WHERE first < last AND {_OF_BATCHES} AND {_NOT_REMEMBERED}""",  # noqa: S608
)

# Delete the history of a destination, but not its counts.
FORGET_HISTORY_OF_DESTINATION = (
    "DELETE FROM history_batches WHERE destination = ?",
    "DELETE FROM history_attempts WHERE destination = ?",
)

# Number of batches and attempts that would never be forgotten.
ENDLESS_HISTORY = f"""SELECT count(*) FROM (
    SELECT first, last, destination FROM history_batches
    UNION ALL SELECT first, last, destination FROM history_attempts)
    WHERE {_NOT_REMEMBERED} OR destination NOT IN (SELECT name FROM destination)"""  # noqa: S608

# Finding conversions

_REMEMBERED = """SELECT ids.seq, event_id, summary, ids.destinations, at, payload, digest
    FROM ids LEFT JOIN log ON log.seq = ids.seq"""

# The conversion with an event id.
BY_EVENT_ID = f"{_REMEMBERED} WHERE event_id = ?"

# The newest conversions before a position.
NEWEST = f"{_REMEMBERED} WHERE ids.seq < ? ORDER BY ids.seq DESC LIMIT ?"

# Positions and sizes of the newest stored conversions before a position.
STORED_SIZES = """SELECT seq, length(payload) FROM log WHERE seq < ? ORDER BY seq DESC LIMIT ?"""

# The stored conversions between two positions, the newest first, that may contain one of four
# texts. A record that is no plain JSON always may.
CONTAINING = """SELECT ids.seq, event_id, summary, ids.destinations, at, payload, digest
    FROM log JOIN ids ON ids.seq = log.seq WHERE log.seq >= ?1 AND log.seq < ?2
    AND (substr(payload, 1, 1) <> x'7B' OR instr(payload, ?3) OR instr(payload, ?4)
        OR instr(payload, ?5) OR instr(payload, ?6)) ORDER BY log.seq DESC"""
