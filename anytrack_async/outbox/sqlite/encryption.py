"""Encryption of an outbox file: of the records, and of the error texts, which may quote from them.

The table ``encryption_key`` lists each key that a row may be encrypted with. A transaction that
encrypts lists its key first, so a key that is missing there was never used: a row with another key
is damaged, and becomes a dead letter. A row with a key that is listed but not in the key ring
raises `MissingKeyError`, so that no conversion is given up because a program was started without
its keys.

Removing a key from the list has to consider programs that still encrypt with that key. So
`Rekeying` first marks all keys but its own as *retiring*, then reads the whole file once,
encrypting with its own key each row that has another one, and removes the keys that are still
marked in the end. A transaction that encrypts takes the mark off its key.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from anytrack_async.codec.encryption import (
    PREFIX_BYTES,
    Cipher,
    KeyRing,
    is_sealed,
    key_id_of,
    prefix_of,
)
from anytrack_async.codec.storage import UNDECIPHERABLE, Encoded
from anytrack_async.errors import ConfigurationError, DecodeError, MissingKeyError
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import decrypted_record
from anytrack_async.outbox.sqlite.queries import encryption as queries
from anytrack_async.outbox.sqlite.queries import log as log_queries
from anytrack_async.outbox.sqlite.retention import Step

_IDS_WIDTH, _LOG_WIDTH = len(log_queries.IDS_COLUMNS), len(log_queries.LOG_COLUMNS)
_EVENT_ID = log_queries.IDS_COLUMNS.index("event_id")
_DIGEST, _PAYLOAD = map(log_queries.LOG_COLUMNS.index, ("digest", "payload"))

_DIGEST_BYTES = 16

_POSITIONS_PER_STEP = 5_000
_ROWS_PER_STEP = 200
_BYTES_PER_STEP = 2**19
"""Limits of one transaction of a step, so that it takes a few milliseconds: positions looked at,
rows encrypted again, and bytes of these rows."""


class RowCipher:
    """Encrypts and decrypts the rows of one open file; use it in the outbox's thread.

    A record is bound to its event id, an error text to its position and destination.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._cipher = Cipher(ring)
        self.key_id = self._cipher.key_id
        self.has_key = self._cipher.has_key

    def list_key(self, sql: sqlite3.Connection) -> None:
        """Say in the file that this transaction encrypts with the first key."""
        sql.execute(queries.LIST_KEY, (self.key_id,))

    def seal_rows(self, sql: sqlite3.Connection, ids: list[object], log: list[object]) -> None:
        """Encrypt the records in *log*; *ids* has the ids of the same rows, see `append.Rows`."""
        self.list_key(sql)
        event_ids = cast("list[str]", ids[_EVENT_ID::_IDS_WIDTH])
        for start, event_id in zip(range(0, len(log), _LOG_WIDTH), event_ids, strict=True):
            payload = cast("bytes", log[start + _PAYLOAD])
            digest = cast("bytes", log[start + _DIGEST])
            sealed = self.seal_record(event_id, payload, digest)
            log[start + _PAYLOAD], log[start + _DIGEST] = sealed

    def seal_record(self, event_id: str, payload: bytes, digest: bytes) -> Encoded:
        """Return a record encrypted, with its digest in it.

        The digest beside it is the tag of the ciphertext. It identifies this version of the record,
        and reveals nothing about its content.
        """
        if len(digest) != _DIGEST_BYTES:
            digest = bytes(_DIGEST_BYTES)  # matches no payload, so that reading validates it
        sealed = self._cipher.seal(digest + payload, _record_context(event_id))
        return Encoded(sealed, sealed[-_DIGEST_BYTES:])

    def open_record(self, event_id: str, payload: bytes) -> tuple[bytes, bytes]:
        """Return payload and digest of a record that is encrypted with a key of the ring.

        The payload is `UNDECIPHERABLE` if it cannot be decrypted.
        """
        try:
            content = self._cipher.open(payload, _record_context(event_id))
        except DecodeError:
            return UNDECIPHERABLE, b""
        return content[_DIGEST_BYTES:], content[:_DIGEST_BYTES]

    def seal_errors(
        self, sql: sqlite3.Connection, destination: str, failed: Sequence[FailedEntry]
    ) -> list[bytes | str]:
        """Return the error text of each of *failed* encrypted; an empty one stays empty."""
        self.list_key(sql)
        return [self.seal_error(entry.seq, destination, entry.error) for entry in failed]

    def seal_error(self, seq: int, destination: str, error: str) -> bytes | str:
        """Return an error text encrypted; an empty one stays empty."""
        return error and self._cipher.seal(error.encode(), _error_context(seq, destination))

    def open_error(self, seq: int, destination: str, error: bytes) -> str | None:
        """Return an encrypted error text; None if it cannot be decrypted."""
        try:
            return self._cipher.open(error, _error_context(seq, destination)).decode()
        except (DecodeError, UnicodeDecodeError):
            return None


def _record_context(event_id: str) -> bytes:
    return b"record\n" + event_id.encode()


def _error_context(seq: int, destination: str) -> bytes:
    return f"error\n{seq}\n{destination}".encode()


# Opening the file


def attach(db: Database, path: Path, ring: KeyRing | None) -> None:
    """Encrypt with *ring* from now on; None encrypts nothing.

    Raises:
        MissingKeyError: conversions in the file are encrypted with keys that are not in *ring*.
    """
    listed = {key_id for (key_id,) in db.sql.execute(queries.LISTED_KEYS)}
    missing = listed - set(ring.ids if ring else ())
    # A key that is listed may be of no more use: its conversions were delivered and dropped.
    if missing and (used := sorted(missing & set(_all_used(db)))):
        raise _missing_key_error(used, f"outbox file {path}")
    if ring is not None:
        db.cipher = RowCipher(ring)


def _all_used(db: Database) -> Iterator[str]:
    counting = KeyCounting()
    while counting.step(db).more:
        pass
    return (key_id for key_id in counting.counts if key_id)


def _missing_key_error(key_ids: Sequence[str], place: str) -> MissingKeyError:
    names = f"key{'s' if len(key_ids) > 1 else ''} {', '.join(key_ids)}"
    return MissingKeyError(
        f"{place}: conversions in it are encrypted with the {names}, not known to this program: "
        "add the whole key to ANYTRACK_OUTBOX_KEYS, or to SQLiteOutbox(keys=KeyRing(…)), and start "
        "the program again; nothing is lost",
        key_ids,
    )


# Reading rows


def open_record(db: Database, event_id: str, payload: bytes) -> tuple[bytes, bytes]:
    """Return payload and digest of an encrypted record; see `decoding.decrypted_record`."""
    cipher = _cipher_for(db, payload)
    return cipher.open_record(event_id, payload) if cipher else (UNDECIPHERABLE, b"")


def open_error(db: Database, seq: int, destination: str, error: bytes) -> str | None:
    """Return an encrypted error text; None if it cannot be decrypted although its key is known.

    Raises:
        MissingKeyError: its key is not in the key ring.
    """
    cipher = _cipher_for(db, error)
    return cipher.open_error(seq, destination, error) if cipher else None


def _cipher_for(db: Database, text: bytes) -> RowCipher | None:
    """Return the cipher that opens *text*; None if the text is damaged.

    Raises:
        MissingKeyError: its key is not in the ring, but listed in the file.
    """
    key_id = key_id_of(text)
    if db.cipher is not None and db.cipher.has_key(key_id):
        return db.cipher
    if db.sql.execute(queries.KEY_IS_LISTED, (key_id,)).fetchone():
        raise _missing_key_error([key_id], "the outbox file")
    return None


# Counting and replacing keys


class KeyCounting:
    """Counts how many records and error texts each key has encrypted, in steps.

    Attributes:
        counts: id of a key → number of records and error texts; "" → those that are not encrypted.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._position = 0

    def step(self, db: Database) -> Step:
        """Count a part of the file; it may be written to before the next step."""
        with db.snapshot() as sql:
            end = _end_of_step(sql, self._position)
            bounds = (PREFIX_BYTES, self._position, end)
            for query in (queries.RECORDS_BY_KEY, *queries.ERRORS_BY_KEY):
                for prefix, count in sql.execute(query, bounds):
                    self.counts[key_id_of(prefix) if is_sealed(prefix) else ""] += count
            (last,) = sql.execute(log_queries.END_OF_LOG).fetchone()
        self._position = end
        return Step(0, more=end < last)


def _end_of_step(sql: sqlite3.Connection, position: int) -> int:
    """Return the last position of a step that begins after *position*; gaps are passed over.

    After 100 in a log that goes on with 3,000: 7,999.
    """
    (first,) = sql.execute(queries.NEXT_STORED, (position,)).fetchone()
    return int(first) - 1 + _POSITIONS_PER_STEP


class Rekeying:
    """Encrypts the whole file with the first key of its ring, in steps; see the module.

    It can be interrupted at any time, and done again.

    Args:
        ring: the keys that the file was opened with.

    Raises:
        ConfigurationError: there are none.
    """

    def __init__(self, ring: KeyRing | None) -> None:
        if ring is None:
            raise ConfigurationError(
                "there is no key to encrypt with: set ANYTRACK_OUTBOX_KEYS, or pass "
                "SQLiteOutbox(keys=KeyRing(…)); make a key with `anytrack outbox new-key`"
            )
        self._key_id = ring.ids[0]
        self._position = 0

    def step(self, db: Database) -> Step:
        """Encrypt some rows; other programs may use the file before the next step."""
        db.wal.check_size()
        with db.transaction(synced=False) as sql:
            if not self._position:
                sql.execute(queries.RETIRE_OTHER_KEYS, (self._key_id,))
            sql.execute(queries.LIST_KEY, (self._key_id,))
            end = _end_of_step(sql, self._position)
            records, end = self._seal_records(db, end)
            errors, end = self._seal_errors(db, end)
            (last,) = sql.execute(log_queries.END_OF_LOG).fetchone()
        self._position = end
        if end >= last:
            # Synced, so that no power failure brings rows with a removed key back.
            with db.transaction(synced=True) as sql:
                sql.execute(queries.REMOVE_RETIRING_KEYS)
            db.checkpoint(at_once=True)  # the replaced rows are still in the write-ahead log
        return Step(records + errors, more=end < last)

    def _bounds(self, end: int) -> tuple[object, ...]:
        return (self._position, end, PREFIX_BYTES, prefix_of(self._key_id), _ROWS_PER_STEP)

    def _seal_records(self, db: Database, end: int) -> tuple[int, int]:
        """Encrypt the records up to *end*, or the first of them if they are many.

        Returns:
            How many were encrypted, and the position up to which all are.
        """
        rows, size = [], 0
        for row in db.sql.execute(queries.RECORDS_OF_OTHER_KEYS, self._bounds(end)):
            rows.append(row)
            size += len(row[2])
            if size >= _BYTES_PER_STEP:
                break
        sealed = sum(_seal_record(db, *row) for row in rows)
        is_cut = size >= _BYTES_PER_STEP or len(rows) == _ROWS_PER_STEP
        return sealed, rows[-1][0] if is_cut else end

    def _seal_errors(self, db: Database, end: int) -> tuple[int, int]:
        """Do the same with error texts."""
        sealed = 0
        for read, write in zip(queries.ERRORS_OF_OTHER_KEYS, queries.SET_ERROR, strict=True):
            rows = db.sql.execute(read, self._bounds(end)).fetchall()
            sealed += sum(_seal_error(db, write, *row) for row in rows)
            if len(rows) == _ROWS_PER_STEP:
                # The last position may have more of them, for other destinations.
                end = max(rows[-1][0] - 1, self._position)
        return sealed, end


def _seal_record(db: Database, seq: int, event_id: str, stored: bytes, digest: bytes) -> bool:
    """Encrypt a stored record with the first key; False if it cannot be decrypted."""
    payload, digest = decrypted_record(db, event_id, stored, digest)
    if payload == UNDECIPHERABLE or db.cipher is None:
        db.sql.execute(queries.KEEP_KEY, (key_id_of(stored),))
        return False
    db.sql.execute(queries.SET_RECORD, (*db.cipher.seal_record(event_id, payload, digest), seq))
    return True


def _seal_error(db: Database, statement: str, seq: int, name: str, stored: bytes | str) -> bool:
    """Encrypt a stored error text with the first key; False if it cannot be decrypted."""
    error = open_error(db, seq, name, stored) if isinstance(stored, bytes) else stored
    if error is None or db.cipher is None:
        db.sql.execute(queries.KEEP_KEY, (key_id_of(cast("bytes", stored)),))
        return False
    db.sql.execute(statement, (db.cipher.seal_error(seq, name, error), seq, name, stored))
    return True


def key_usage(ring: KeyRing | None, counts: Mapping[str, int]) -> Mapping[str, int]:
    """Return *counts* in the order of *ring*, with 0 for its unused keys."""
    ids = (*(ring.ids if ring else ()), *sorted(key_id for key_id in counts if key_id), "")
    return {key_id: counts.get(key_id, 0) for key_id in ids}
