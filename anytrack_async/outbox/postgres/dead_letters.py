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
from anytrack_async.outbox.checks import USUAL_BYTES, unknown_destination_error
from anytrack_async.outbox.dead_letters import (
    ALL,
    Action,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterKey,
    DeadLetterPage,
    DeadLetterStep,
    SearchPart,
)
from anytrack_async.outbox.methods import (
    DeadLetterMethods,
    DeadLetterSelection,
    DeadLetterStepMethods,
)
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.reading import DECODED_AT_ONCE
from anytrack_async.outbox.postgres.store import PostgresStore

_log = logging.getLogger("anytrack_async")

_PAGE_BYTES = 8 * 2**20
"""Bytes that the records of one page may have, except those of one conversion."""

_SEARCHED_AT_ONCE = 2_000
"""Dead letters that are compared with a filter before other tasks may run."""


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
    ) -> tuple[Sequence[DeadLetterKey], int, bool]:
        """Return keys by position, up to which position all were looked at, and if more follow.

        It looks at *within* dead letters of each destination, or at *limit* if that is more.
        """
        count = limit if where == ALL else max(limit, within)
        now, shift = await self._now_and_shift()
        parts = [await self._search(name, where, after, count, now, shift) for name in names]
        keys, end = SearchPart.merged(parts).limited(limit, after)
        return keys, after if end is None else end, end is not None

    async def _search(
        self, name: str, where: DeadLetterFilter, after: int, count: int, now: float, shift: float
    ) -> SearchPart:
        """Look at the next *count* dead letters of a destination after a position."""
        rows = await self._db.fetch(queries.DEAD, name, after, count)
        await self._know_keys(row["error"] for row in rows)
        reasons = [self._reason(row["seq"], name, row) for row in rows]
        matching = [reason for reason in reasons if reason.matches(where, now, shift)]
        end = None
        if len(rows) == count:
            end = rows[-1]["seq"] if rows else after
        return SearchPart([(reason.seq, name) for reason in matching], end)

    async def _keys_of(
        self,
        names: Sequence[str],
        event_ids: Sequence[str],
        where: DeadLetterFilter,
        after: int = 0,
        limit: int | None = None,
    ) -> Sequence[DeadLetterKey]:
        """Return the keys of dead letters of *event_ids*, and all of the last position."""
        now, shift = await self._now_and_shift()
        matching = [
            (reason.seq, reason.destination)
            for reason in await self._reasons_of(event_ids)
            if reason.matches(where, now, shift)
        ]
        keys = [(seq, name) for seq, name in sorted(matching) if seq > after and name in names]
        return SearchPart(keys, None).limited(len(keys) if limit is None else limit, after).keys

    async def _reasons_of(self, event_ids: Sequence[str]) -> list[_Reason]:
        ids = [event_id for event_id in event_ids if "\0" not in event_id]
        rows = await self._db.fetch(queries.DEAD_OF, ids)
        await self._know_keys(row["error"] for row in rows)
        return [self._reason(row["seq"], row["destination"], row) for row in rows]

    def _reason(self, seq: int, name: str, row: Any) -> _Reason:
        error = self._cipher.open_error(seq, name, row["error"])
        return _Reason(seq, name, error, row["code"], row["at"])

    async def _now_and_shift(self) -> tuple[float, float]:
        """Return the time on the outbox's clock, and by how much the caller's is ahead of it."""
        now = await self._db.value(queries.NOW, self._fixed_now())
        return now, self._caller_now() - now

    async def _read(self, keys: Sequence[DeadLetterKey]) -> tuple[list[DeadLetter], int | None]:
        """Return the dead letters at *keys*; and the last one's position if others follow."""
        if not keys:
            return [], None
        seqs, names = [seq for seq, _ in keys], [name for _, name in keys]
        rows = await self._db.fetch(queries.LETTERS, seqs, names, _PAGE_BYTES)
        await self._know_keys(row["payload"] for row in rows)
        await self._know_keys(row["error"] for row in rows)
        end = rows[-1]["seq"] if rows and rows[-1]["seq"] < keys[-1][0] else None
        return await self._decode_letters(rows), end

    async def _decode_letters(self, rows: Sequence[Any]) -> list[DeadLetter]:
        """Return dead letters, and log a warning for each that cannot be read."""
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
        return letters

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


_READ_AT_ONCE = 2_000
_CHANGED_PER_STEP = 500
"""Dead letters that one step looks at: some milliseconds, in which no worker can claim."""


class PostgresDeadLetterSteps(PostgresDeadLetters, DeadLetterStepMethods):
    """Searches and changes dead letters step by step; see `SearchesDeadLetters`."""

    async def _search_dead(
        self, destination: str | None, where: DeadLetterFilter, after: int, limit: int, within: int
    ) -> DeadLetterPage:
        names = await self._names(destination)
        letters, more = list[DeadLetter](), True
        while more and within > 0 and len(letters) < limit:
            size = min(within, _READ_AT_ONCE)
            keys, after, more = await self._next_keys(
                names, where, after, min(limit - len(letters), size), size
            )
            page, end = await self._read(keys)
            letters += page
            within -= size
            if end is not None:
                after, more = end, True
                break
        return DeadLetterPage(letters=letters, after=after if more else None)

    async def _count_dead(self, name: str, where: DeadLetterFilter, within: int) -> DeadLetterStep:
        count, after, more = 0, 0, True
        while more and within > 0:
            size = min(within, _READ_AT_ONCE)
            keys, after, more = await self._next_keys([name], where, after, size, size)
            count, within = count + len(keys), within - size
        return DeadLetterStep(count=count, after=after if more else None)

    async def _change_dead(
        self, action: Action, name: str, where: DeadLetterFilter, after: int
    ) -> DeadLetterStep:
        names, size = await self._names(name), _CHANGED_PER_STEP
        keys, after, more = await self._next_keys(names, where, after, size, size)
        change = self._replay if action == "replay" else self._discard
        count = await change(name, [seq for seq, _ in keys]) if keys else 0
        return DeadLetterStep(count=count, after=after if more else None)
