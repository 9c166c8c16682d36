"""The statements that read, replay, discard, correct and erase dead letters."""

from __future__ import annotations

# Reading
#
# Files of earlier versions have only the date of a dead letter, not its time on the file's clock.

_DEAD_REASON = "seq, destination, error, code, at, coalesce(settled, at)"

# The position of a dead letter of a destination: ?3 others are between a position and it.
DEAD_POSITION = """SELECT seq FROM exception INDEXED BY exception_dead
    WHERE destination = ?1 AND due IS NULL AND seq > ?2 ORDER BY seq LIMIT 1 OFFSET ?3"""

# The same of those with a code, which have an index.
DEAD_POSITION_OF_CODE = """SELECT seq FROM exception
    WHERE destination = ?1 AND due IS NULL AND code = ?4 AND seq > ?2
    ORDER BY seq LIMIT 1 OFFSET ?3"""

# Dates, ages, and a text in small letters. An encrypted reason, or one that is not plain ASCII, may
# have the text: it takes more than SQL to compare these.
_MAY_MATCH = """at > ?4 AND at < ?5 AND ?6 - coalesce(settled, at) BETWEEN ?7 AND ?8
    AND (?9 IS NULL OR instr(lower(error), ?9)
        OR typeof(error) = 'blob' OR error GLOB '*[^ -~]*')"""

# Reasons and times of the dead letters of a destination that may match, between two positions.
DEAD_REASONS = f"""SELECT {_DEAD_REASON} FROM exception INDEXED BY exception_dead
    WHERE destination = ?1 AND due IS NULL AND seq > ?2 AND seq <= ?3 AND {_MAY_MATCH}
    ORDER BY seq"""  # noqa: S608

# The same of those with a code.
DEAD_REASONS_OF_CODE = f"""SELECT {_DEAD_REASON} FROM exception
    WHERE destination = ?1 AND due IS NULL AND code = ?10 AND seq > ?2 AND seq <= ?3
    AND {_MAY_MATCH} ORDER BY seq"""  # noqa: S608

# The number of those with a code between two positions: only the index is read.
COUNT_CODE = """SELECT count(*) FROM exception
    WHERE destination = ?1 AND due IS NULL AND code = ?4 AND seq > ?2 AND seq <= ?3"""

# The number of those between two positions that match; exact without a text.
COUNT_DEAD = f"""SELECT count(*) FROM exception INDEXED BY exception_dead
    WHERE destination = ?1 AND due IS NULL AND seq > ?2 AND seq <= ?3 AND {_MAY_MATCH}"""  # noqa: S608
COUNT_DEAD_OF_CODE = f"""SELECT count(*) FROM exception
    WHERE destination = ?1 AND due IS NULL AND code = ?10 AND seq > ?2 AND seq <= ?3
    AND {_MAY_MATCH}"""  # noqa: S608

# Reasons and times of the dead letters at a position.
DEAD_REASONS_AT = f"""SELECT {_DEAD_REASON} FROM exception
    WHERE seq = ? AND due IS NULL"""  # noqa: S608

# The dead letter of a destination at a position.
DEAD_LETTER = """SELECT exception.seq, destination, event_id, payload, digest, attempts, error,
    code, exception.at FROM exception JOIN log ON log.seq = exception.seq
    JOIN ids ON ids.seq = exception.seq
    WHERE exception.seq = ? AND exception.destination = ?"""

# Changing

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

# Empty the reasons of failures at a position.
EMPTY_ERRORS = (
    "UPDATE exception SET error = '' WHERE seq = ?",
    "UPDATE discarded SET error = '' WHERE seq = ?",
)

# Some reasons of failures after a row, of each table that has some, and emptying one. Empty ones
# are read too, so that a step is bounded.
REASONS = tuple(
    (
        f"""SELECT {key}, destination, {seq}, error FROM {table}
        WHERE {key} >= ?1 AND ({key}, destination) > (?1, ?2)
        ORDER BY {key}, destination LIMIT ?3""",  # noqa: S608
        f"UPDATE {table} SET error = '' WHERE {key} = ? AND destination = ?",  # noqa: S608
    )
    for table, key, seq in (
        ("exception", "seq", "seq"),
        ("discarded", "seq", "seq"),
        ("history_attempts", "id", "last"),
    )
)
