"""The part of `PostgresOutbox` that searches and changes dead letters in bounded parts."""

from __future__ import annotations

from anytrack_async.outbox.dead_letters import (
    Action,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStep,
)
from anytrack_async.outbox.methods import DeadLetterStepMethods
from anytrack_async.outbox.postgres.dead_letters import PostgresDeadLetters

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
