"""Erasing a person's data from an outbox file.

The file is read in steps, each in a snapshot that blocks no writer. Records that match are replaced
in transactions of their own; the old bytes are overwritten (``secure_delete``), and leave the
write-ahead log at the end. Reasons of failures are emptied too, as a service may have quoted the
customer in them; so are reasons that quote the customer at conversions that were dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.capabilities import ErasedConversion, Erasure
from anytrack_async.outbox.sqlite.access import SQLiteAccess
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import decrypted_error, decrypted_record
from anytrack_async.outbox.sqlite.history.tables import EMPTY_ATTEMPT_ERRORS
from anytrack_async.outbox.sqlite.queries import claims as claim_queries
from anytrack_async.outbox.sqlite.queries import dead_letters as dead_letter_queries
from anytrack_async.outbox.sqlite.queries import log as log_queries
from anytrack_async.outbox.sqlite.retention import Step

_ROWS_PER_STEP = 200
_BYTES_PER_STEP = 2**19
"""Limits of one snapshot, so that a step occupies the thread for a few milliseconds only."""

_REASONS_PER_STEP = 50
"""Reasons that are searched in one go, in about a millisecond, and six if they are long."""

_CUSTOMER = b'"customer"'
"""A record without it has no customer, and is not decoded."""


class Erasing:
    """Reads the whole file once, and replaces the records of one person.

    Args:
        erase: returns the replacement of a conversion; None if it is another person's.

    Attributes:
        erased: the replaced conversions, in log order.
        seqs: their positions.
        unreadable: event ids of the records that cannot be decoded.
    """

    def __init__(self, erase: Callable[[Conversion], Conversion | None]) -> None:
        self.erased: list[ErasedConversion] = []
        self.seqs: list[int] = []
        self.unreadable: list[str] = []
        self._erase = erase
        self._position = 0

    def step(self, db: Database) -> Step:
        """Erase in a part of the file; it may be written to before the next step.

        Raises:
            MissingKeyError: a record is encrypted with a key that is not in the key ring.
        """
        rows: list[tuple[int, str, bytes, bytes]] = []
        size = 0
        with db.snapshot() as sql:
            for row in sql.execute(log_queries.STORED, (self._position, _ROWS_PER_STEP)):
                rows.append(row)
                size += len(row[2])
                if size >= _BYTES_PER_STEP:
                    break
            matching = [row[0] for row in rows if self._replacement(db, *row[1:], note=True)]
        for seq in matching:
            self._replace(db, seq)
        if not rows:
            return Step(0, more=False)
        self._position = rows[-1][0]
        return Step(len(matching), more=True)

    def _replacement(
        self, db: Database, event_id: str, payload: bytes, digest: bytes, *, note: bool = False
    ) -> tuple[Conversion, Conversion] | None:
        """Return the stored conversion and its replacement, if it is the person's."""
        payload, digest = decrypted_record(db, event_id, payload, digest)
        try:
            # Of JSON without the word, only a damaged one is worth decoding.
            if _CUSTOMER not in payload and payload[:1] == b"{":
                return None
            conversion = decode(payload, digest)
        except DecodeError:
            if note:
                self.unreadable.append(event_id)
            return None
        replacement = self._erase(conversion)
        return None if replacement is None else (conversion, replacement)

    def _replace(self, db: Database, seq: int) -> None:
        with db.transaction(synced=True) as sql:
            # Read again: another process may have corrected or dropped it since.
            row = sql.execute(log_queries.STORED_AT, (seq,)).fetchone()
            pair = row and self._replacement(db, *row)
            if not pair:
                return
            original, replacement = pair
            encoded = encode(replacement)
            if db.cipher is not None:
                db.cipher.list_key(sql)
                encoded = db.cipher.seal_record(original.event_id, *encoded)
            sql.execute(dead_letter_queries.CORRECT, (*encoded, seq))
            for statement in (*dead_letter_queries.EMPTY_ERRORS, *EMPTY_ATTEMPT_ERRORS):
                sql.execute(statement, (seq,))
            in_flight = tuple(
                name for (name,) in sql.execute(claim_queries.IN_FLIGHT_AT, (seq, seq, seq))
            )
        self.seqs.append(seq)
        self.erased.append(
            ErasedConversion(
                event_id=original.event_id, order_id=original.order_id, in_flight=in_flight
            )
        )


class EmptyingReasons:
    """Reads every reason in the file once, and empties those that match.

    Args:
        matches: returns whether to empty a reason.

    Attributes:
        count: how many were emptied.
    """

    def __init__(self, matches: Callable[[str], bool]) -> None:
        self.count = 0
        self._matches = matches
        self._tables = list(dead_letter_queries.REASONS)
        self._after = (-1, "")

    def step(self, db: Database) -> Step:
        """Empty reasons in a part of a table; it may be written to before the next step.

        Raises:
            MissingKeyError: a reason is encrypted with a key that is not in the key ring.
        """
        read, write = self._tables[0]
        with db.snapshot() as sql:
            rows = sql.execute(read, (*self._after, _REASONS_PER_STEP)).fetchall()
            matching = self._matching(db, rows)
        if matching:
            with db.transaction(synced=True) as sql:
                # Read again: another process may have written another reason there.
                rows = sql.execute(read, (*self._after, _REASONS_PER_STEP)).fetchall()
                matching = self._matching(db, rows)
                sql.executemany(write, matching)
            self.count += len(matching)
        if rows:
            self._after = rows[-1][:2]
        else:
            del self._tables[0]
            self._after = (-1, "")
        return Step(len(matching), more=bool(self._tables))

    def _matching(
        self, db: Database, rows: Iterable[tuple[int, str, int, bytes | str]]
    ) -> list[tuple[int, str]]:
        """Return the keys of the *rows* with a reason that matches."""
        return [
            (key, name)
            for key, name, seq, error in rows
            if error and self._matches(decrypted_error(db, seq, name, error))
        ]


class SQLiteErasing(SQLiteAccess):
    """The part of `SQLiteOutbox` that erases a person's data."""

    async def erase(self, erase: Callable[[Conversion], Conversion | None]) -> Erasure:
        """Replace each stored conversion of a person; see `ErasesCustomers`."""
        erasing = Erasing(erase)
        while (await self._run(erasing.step)).more:
            pass
        if erasing.seqs:
            self._cache.forget(erasing.seqs)
            await self._run(_empty_write_ahead_log)
        return Erasure(conversions=tuple(erasing.erased), unreadable=tuple(erasing.unreadable))

    async def empty_reasons(self, matches: Callable[[str], bool]) -> int:
        """Empty reasons of failures; see `EmptiesReasons`."""
        emptying = EmptyingReasons(matches)
        while (await self._run(emptying.step)).more:
            pass
        if emptying.count:
            await self._run(_empty_write_ahead_log)
        return emptying.count


def _empty_write_ahead_log(db: Database) -> None:
    db.checkpoint(at_once=True)
