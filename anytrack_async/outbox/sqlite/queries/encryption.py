"""The statements that encrypt rows, and keep the list of the keys in use."""

from __future__ import annotations

# Keys

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

# Rows

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

# Some records between two positions that do not begin with ?4, which is ?3 bytes long.
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
