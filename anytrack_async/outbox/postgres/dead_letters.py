"""Dead letters of an outbox in PostgreSQL: reading, replaying, discarding and correcting them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import encode, memory_bytes
from anytrack_async.errors import DecodeError
from anytrack_async.models.contradiction import summary
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.checks import (
    USUAL_BYTES,
    unknown_destination_error,
)
from anytrack_async.outbox.dead_letters import ALL, DeadLetter, DeadLetterFilter
from anytrack_async.outbox.methods import DeadLetterMethods, DeadLetterSelection
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.reading import DECODED_AT_ONCE
from anytrack_async.outbox.postgres.store import PostgresStore

_log = logging.getLogger("anytrack_async")

_PAGE_BYTES = 8 * 2**20
"""Bytes that the records of one page may have, except those of one conversion."""

_SEARCHED_AT_ONCE = 2_000
"""Dead letters that are compared with a filter before other tasks may run."""

Key = tuple[int, str]
"""Position and destination of a dead letter."""


class _Reason(NamedTuple):
    """The part of a dead letter that a filter needs."""

    seq: int
    destination: str
    error: str
    code: str | None
    at: float

    def matches(self, where: DeadLetterFilter, now: float, shift: float) -> bool:
        """Return whether *where* is fulfilled at *now* on the outbox's clock.

        The caller's clock is ahead of that by *shift*.
        """
        return where.matches(
            error=self.error, code=self.code, died_at=self.at + shift, age=now - self.at
        )


class PostgresDeadLetters(PostgresStore, DeadLetterMethods):
    """The part of `PostgresOutbox` that handles dead letters."""

    # Reading

    async def _read_dead_letters(
        self, selection: DeadLetterSelection, after: int, limit: int
    ) -> Sequence[DeadLetter]:
        ids, where = selection.event_ids, selection.where
        names = await self._names(selection.destination)
        letters: list[DeadLetter] = []
        more = True
        while more and len(letters) < limit:  # an unreadable one leaves a gap for the next ones
            count = limit - len(letters)
            if ids is None:
                keys, after, more = await self._next_keys(names, where, after, count)
            else:
                keys, more = await self._keys_of(names, ids, where, after, count), False
            page, end = await self._read(keys)
            letters += page
            if end is not None:
                after, more = end, True
                if letters:
                    break
        return letters

    async def _names(self, destination: str | None) -> Sequence[str]:
        """Return *destination*, or the names of all destinations for None.

        Raises:
            OutboxError: the destination is not registered.
        """
        registered = await self.destinations()
        if destination is None:
            return registered
        if destination not in registered:
            raise unknown_destination_error(destination)
        return [destination]

    async def _next_keys(
        self,
        names: Sequence[str],
        where: DeadLetterFilter,
        after: int,
        limit: int,
        within: int = _SEARCHED_AT_ONCE,
    ) -> tuple[list[Key], int, bool]:
        """Return keys by position, up to which position all were looked at, and if more follow.

        It looks at *within* dead letters of each destination, or at *limit* if that is more.
        """
        count = limit if where == ALL else max(limit, within)
        now, shift = await self._now_and_shift()
        reasons: list[_Reason] = []
        ends: list[int] = []
        for name in names:
            rows = await self._db.fetch(queries.DEAD, name, after, count)
            await self._know_keys(row["error"] for row in rows)
            reasons += [self._reason(row["seq"], name, row) for row in rows]
            if len(rows) == count:
                ends.append(rows[-1][0] if rows else after)
        # With 2,000 of "meta" up to position 8,000 and all 30 of "crm", up to 9,500, the page ends
        # at 8,000: after that, some of "meta" are not read yet.
        end = min(ends, default=None)
        keys = [
            (reason.seq, reason.destination)
            for reason in sorted(reasons)
            if (end is None or reason.seq <= end) and reason.matches(where, now, shift)
        ]
        if len(keys) > limit:
            end = keys[limit - 1][0] if limit else after
            keys = [key for key in keys if key[0] <= end]
        return keys, after if end is None else end, end is not None

    async def _keys_of(
        self,
        names: Sequence[str],
        event_ids: Sequence[str],
        where: DeadLetterFilter,
        after: int = 0,
        limit: int | None = None,
    ) -> list[Key]:
        """Return the keys of dead letters of *event_ids*, and all of the last position."""
        now, shift = await self._now_and_shift()
        ids = [event_id for event_id in event_ids if "\0" not in event_id]
        rows = await self._db.fetch(queries.DEAD_OF, ids)
        await self._know_keys(row["error"] for row in rows)
        reasons = [self._reason(row["seq"], row["destination"], row) for row in rows]
        keys = sorted(
            (reason.seq, reason.destination)
            for reason in reasons
            if reason.seq > after
            and reason.destination in names
            and reason.matches(where, now, shift)
        )
        last = keys[:limit][-1:]
        return [key for key in keys if last and key[0] <= last[0][0]]

    def _reason(self, seq: int, name: str, row: Any) -> _Reason:
        error = self._cipher.open_error(seq, name, row["error"])
        return _Reason(seq, name, error, row["code"], row["at"])

    async def _now_and_shift(self) -> tuple[float, float]:
        """Return the time on the outbox's clock, and by how much the caller's is ahead of it."""
        now = await self._db.value(queries.NOW, self._fixed_now())
        return now, self._caller_now() - now

    async def _read(self, keys: Sequence[Key]) -> tuple[list[DeadLetter], int | None]:
        """Return the dead letters at *keys*; and the last one's position if others follow."""
        if not keys:
            return [], None
        seqs, names = [seq for seq, _ in keys], [name for _, name in keys]
        rows = await self._db.fetch(queries.LETTERS, seqs, names, _PAGE_BYTES)
        await self._know_keys(row["payload"] for row in rows)
        await self._know_keys(row["error"] for row in rows)
        _, shift = await self._now_and_shift()
        letters: list[DeadLetter] = []
        for count, row in enumerate(rows, 1):
            try:
                letters.append(self._decode(row, shift))
            except DecodeError as exc:
                _log.warning(
                    "dead letter %s of %s cannot be read: %s", row["seq"], row["destination"], exc
                )
            if count % DECODED_AT_ONCE == 0:
                await checkpoint()
        return letters, rows[-1]["seq"] if rows and rows[-1]["seq"] < keys[-1][0] else None

    def _decode(self, row: Any, shift: float) -> DeadLetter:
        return DeadLetter(
            seq=row["seq"],
            destination=row["destination"],
            conversion=self._cache.decode(row["payload"], row["digest"]),
            attempts=row["attempts"],
            error=self._cipher.open_error(row["seq"], row["destination"], row["error"]),
            code=row["code"],
            died_at=row["at"] + shift,
        )

    # Changing

    async def _replay_selected(self, selection: DeadLetterSelection) -> int:
        return await self._change(self._replay, selection)

    async def _replay(self, name: str, seqs: Sequence[int]) -> int:
        return int(await self._db.value(queries.REPLAY, name, seqs, self._fixed_now()))

    async def _discard_selected(self, selection: DeadLetterSelection) -> int:
        return await self._change(self._discard, selection)

    async def _discard(self, name: str, seqs: Sequence[int]) -> int:
        return int(await self._db.value(queries.DISCARD, name, seqs))

    async def _change(self, change: Any, selection: DeadLetterSelection) -> int:
        ids, where = selection.event_ids, selection.where
        count = 0
        for name in await self._names(selection.destination):
            after, more = 0, True
            while more:
                if ids is None:
                    keys, after, more = await self._next_keys(
                        [name], where, after, _SEARCHED_AT_ONCE
                    )
                else:
                    keys, more = await self._keys_of([name], ids, where), False
                if keys:
                    count += await change(name, [seq for seq, _ in keys])
        return count

    async def correct(self, conversion: Conversion) -> Sequence[str]:
        """Replace a stored conversion and replay it where it is dead; see `Outbox.correct`."""
        payload, digest = encode(conversion)
        size = memory_bytes(payload) if len(payload) > USUAL_BYTES else 0
        payload, digest = self._cipher.seal_record(payload, digest)
        (row,) = await self._db.fetch(
            self._cipher.listing(queries.CORRECT),
            conversion.event_id,
            summary(conversion),
            payload,
            digest,
            size,
            self._fixed_now(),
        )
        return list(row[0])
