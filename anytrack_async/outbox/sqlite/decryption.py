"""Reading rows that may be encrypted; these functions take plain rows as well.

They import `encryption` when they meet the first encrypted row, so that it is never loaded for a
file without any.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from anytrack_async.codec.storage import SEALED, memory_bytes
from anytrack_async.errors import MissingKeyError
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.leases import StoredEntry
from anytrack_async.outbox.sqlite.queries import log as queries


def decrypted_record(
    db: Database, event_id: str, payload: bytes, digest: bytes
) -> tuple[bytes, bytes]:
    """Return payload and digest of a stored record.

    A record that cannot be decrypted although its key is known is damaged: the payload is then
    `storage.UNDECIPHERABLE`.

    Raises:
        MissingKeyError: its key is not in the key ring.
    """
    if payload[:1] != SEALED:
        return payload, digest
    from anytrack_async.outbox.sqlite.encryption import open_record

    return open_record(db, event_id, payload)


def stored_memory_bytes(db: Database, seq: int, payload: bytes) -> int:
    """Return about how many bytes of memory the conversion at position *seq* takes.

    Only its content shows that: 100 KB of numbers take megabytes, and look like text as long as
    they are encrypted.
    """
    if payload[:1] == SEALED:
        (event_id,) = db.sql.execute(queries.EVENT_ID_AT, (seq,)).fetchone() or ("",)
        with suppress(MissingKeyError):  # the claim fails when it is decoded
            payload, _ = decrypted_record(db, event_id, payload, b"")
    return memory_bytes(payload)


def decrypted_error(db: Database, seq: int, destination: str, error: bytes | str) -> str:
    """Return a stored error text, or a sentence that says that it cannot be decrypted.

    Raises:
        MissingKeyError: its key is not in the key ring.
    """
    if isinstance(error, str):
        return error
    from anytrack_async.outbox.sqlite.encryption import open_error

    opened = open_error(db, seq, destination, error)
    return "the reason cannot be decrypted: it was damaged or changed" if opened is None else opened


def decrypted_entries(db: Database, entries: Sequence[StoredEntry]) -> list[StoredEntry]:
    """Return *entries* of a claim, decrypted.

    Raises:
        MissingKeyError: the key of an entry is not in the key ring.
    """
    decrypted: list[StoredEntry] = []
    for entry in entries:
        (event_id,) = db.sql.execute(queries.EVENT_ID_AT, (entry.seq,)).fetchone() or ("",)
        payload, digest = decrypted_record(db, event_id, entry.payload, entry.digest)
        decrypted.append(entry._replace(payload=payload, digest=digest))
    return decrypted
