"""`SQLiteCopying`: reading everything that an outbox file knows, to copy it into another outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.checks import check_number
from anytrack_async.outbox.history import PastAttempt
from anytrack_async.outbox.sqlite.access import SQLiteAccess
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import decrypted_record
from anytrack_async.outbox.sqlite.history.attempts import attempts, delivered_at
from anytrack_async.outbox.sqlite.queries import log as queries


@attrs.frozen(kw_only=True)
class StoredConversion:
    """What an outbox file knows of an event id.

    Attributes:
        seq: position in the log.
        event_id: the event id.
        summary: type, amount and currency; see `summary`.
        conversion: the conversion; None if it was dropped, or cannot be read.
        is_damaged: whether it cannot be read.
    """

    seq: int
    event_id: str
    summary: str
    conversion: Conversion | None = None
    is_damaged: bool = False


class SQLiteCopying(SQLiteAccess):
    """The part of `SQLiteOutbox` that reads it from beginning to end."""

    async def stored(self, *, after: int = 0, limit: int = 500) -> Sequence[StoredConversion]:
        """Return all event ids behind the position *after*, with their conversions, in log order.

        Conversions that every destination has are known by id and summary only.

        Raises:
            MissingKeyError: one is encrypted with a key that the outbox does not have.
        """
        after, limit = check_number("after", after), check_number("limit", limit)
        return await self._run(_stored, after, limit)

    async def past_attempts(
        self, event_ids: Sequence[str]
    ) -> Mapping[str, tuple[Sequence[PastAttempt], Mapping[str, float]]]:
        """Return the attempts at each of *event_ids* that has any, and when it was confirmed.

        Raises:
            MissingKeyError: a reason is encrypted with a key that the outbox does not have.
        """
        return await self._run(_past_attempts, event_ids)


def _past_attempts(
    db: Database, event_ids: Sequence[str]
) -> dict[str, tuple[Sequence[PastAttempt], Mapping[str, float]]]:
    attempts_of = {event_id: attempts(db, event_id) for event_id in event_ids}
    return {
        event_id: (past, delivered_at(db, event_id))
        for event_id, past in attempts_of.items()
        if past
    }


def _stored(db: Database, after: int, limit: int) -> list[StoredConversion]:
    with db.snapshot() as sql:
        rows = sql.execute(queries.EVERYTHING_AFTER, (after, limit)).fetchall()
    return [_from_row(db, *row) for row in rows]


def _from_row(
    db: Database,
    seq: int,
    event_id: str,
    summary: str,
    payload: bytes | None,
    digest: bytes | None,
) -> StoredConversion:
    conversion, is_damaged = None, False
    if payload is not None and digest is not None:
        try:
            conversion = decode(*decrypted_record(db, event_id, payload, digest))
        except DecodeError:
            is_damaged = True
    return StoredConversion(
        seq=seq, event_id=event_id, summary=summary, conversion=conversion, is_damaged=is_damaged
    )
