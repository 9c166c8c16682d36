"""Finding conversions in an outbox file by an id, and listing the newest ones.

Only event ids have an index. One of order ids or click ids would cost each accepted conversion a
quarter of the time that it takes to store it. So other ids are searched for in the newest stored
conversions, in steps that read one part of the log each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from anytrack_async.errors import MissingKeyError
from anytrack_async.outbox.history import BYTES_PER_STEP
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import decrypted_record
from anytrack_async.outbox.sqlite.history import tables


class StoredRow(NamedTuple):
    """A conversion as it is stored, decrypted; without payload once that was dropped."""

    seq: int
    event_id: str
    summary: str | None
    recipients: str | None
    accepted_at: float | None
    payload: bytes | None
    digest: bytes | None


def by_event_ids(db: Database, event_ids: Sequence[str]) -> list[StoredRow]:
    """Return the conversions with some event ids."""
    with db.snapshot() as sql:
        rows = [sql.execute(tables.BY_EVENT_ID, (event_id,)).fetchone() for event_id in event_ids]
        return [_decrypted(db, StoredRow._make(row)) for row in rows if row]


def newest(db: Database, before: int, limit: int) -> list[StoredRow]:
    """Return the newest remembered conversions below a position."""
    with db.snapshot() as sql:
        rows, _ = _read(sql.execute(tables.NEWEST, (before, limit)))
        return [_decrypted(db, row) for row in rows]


def search(
    db: Database, before: int, texts: Sequence[bytes], limit: int
) -> tuple[list[StoredRow], int]:
    """Search the newest stored conversions below a position, in one step.

    Args:
        db: the file.
        before: the position.
        texts: one to four; a record that has none of these does not match.
        limit: how many records to read.

    Returns:
        The candidates, the newest first, and the position below which to go on; 0 at the end.
    """
    with db.snapshot() as sql:
        sizes = sql.execute(tables.STORED_SIZES, (before, limit)).fetchall()
        if not sizes:
            return [], 0
        # The newest records up to 2 MiB together: of records with 0.9, 0.9 and 0.5 MiB, the first
        # three, as the third one reaches the limit. One record of 3 MiB is a step of its own.
        ends = accumulate(size for _, size in sizes)
        count = next((i for i, end in enumerate(ends, 1) if end >= BYTES_PER_STEP), len(sizes))
        position = sizes[count - 1][0]
        four = [*texts, *[texts[0]] * (4 - len(texts))]  # the statement has four parameters
        rows = sql.execute(tables.CONTAINING, (position, before, *four)).fetchall()
        candidates = [_decrypted(db, StoredRow._make(row)) for row in rows]
    is_last = count == len(sizes) < limit
    return [row for row in candidates if _may_contain(row, texts)], 0 if is_last else position


def _may_contain(row: StoredRow, texts: Sequence[bytes]) -> bool:
    if not row.payload:
        return False
    # A record that is not JSON cannot be searched by its text; `orjson` and `json` escape alike.
    return row.payload[:1] != b"{" or any(text in row.payload for text in texts)


def _read(cursor: sqlite3.Cursor) -> tuple[list[StoredRow], bool]:
    """Return the rows of a query, and whether they end before its last, as their bytes do."""
    rows: list[StoredRow] = []
    size = 0
    for row in map(StoredRow._make, cursor):
        rows.append(row)
        size += len(row.payload or b"")
        if size >= BYTES_PER_STEP:
            return rows, True
    return rows, False


def _decrypted(db: Database, row: StoredRow) -> StoredRow:
    """Return *row* decrypted; without a payload if its key is not known."""
    if row.payload is None or row.digest is None:
        return row
    try:
        payload, digest = decrypted_record(db, row.event_id, row.payload, row.digest)
    except MissingKeyError:
        return row._replace(payload=None)
    return row._replace(payload=payload, digest=digest)
