"""Reading stored conversions by event id. A file of its own: other parts read by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.checks import check_event_ids
from anytrack_async.outbox.sqlite import queries
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decryption import decrypted_record

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PER_STEP = 50
"""Conversions that one job reads, in a few milliseconds."""


class SQLiteStored:
    """The part of `SQLiteOutbox` that returns stored conversions."""

    async def _run(
        self, work: Callable[Concatenate[Database, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        raise NotImplementedError

    async def stored(self, event_ids: Sequence[str]) -> Mapping[str, Conversion]:
        """Return event id → the stored conversion; see `ReadsStored`."""
        conversions: dict[str, Conversion] = {}
        event_ids = check_event_ids(event_ids)
        for start in range(0, len(event_ids), _PER_STEP):
            records = await self._run(_records, event_ids[start : start + _PER_STEP])
            for event_id, record in records.items():
                try:
                    conversions[event_id] = decode(*record)
                except DecodeError:
                    continue  # the lane that claims it reports it
        return conversions


def _records(db: Database, event_ids: Sequence[str]) -> Mapping[str, tuple[bytes, bytes]]:
    """Return event id → payload and digest of its record."""
    records = {}
    with db.snapshot() as sql:
        for event_id in event_ids:
            seq = sql.execute(queries.LOG_SEQ, (event_id,)).fetchone()
            row = seq and sql.execute(queries.STORED_AT, seq).fetchone()
            if row:
                records[event_id] = decrypted_record(db, *row)
    return records
