"""The statements that drop payloads which every destination has, and forget ids."""

from __future__ import annotations

# Dropping payloads

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

# Forgetting ids

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

# Remove the times of payloads, once their ids are forgotten.
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
