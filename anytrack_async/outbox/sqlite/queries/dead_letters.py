"""The statements that read, replay, discard, correct and erase dead letters."""

from __future__ import annotations

# Reading
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
