"""The part of `PostgresOutbox` that searches and changes dead letters in bounded parts."""

from __future__ import annotations

from anytrack_async.outbox.checks import check_destination, check_number
from anytrack_async.outbox.dead_letters import (
    Action,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStep,
)
from anytrack_async.outbox.postgres.dead_letters import PostgresDeadLetters

_READ_AT_ONCE = 2_000
_CHANGED_PER_STEP = 500
"""Dead letters that one step looks at: some milliseconds, in which no worker can claim."""


class PostgresDeadLetterSteps(PostgresDeadLetters):
    """Searches and changes dead letters step by step; see `SearchesDeadLetters`."""

    async def search_dead_letters(
        self,
        destination: str | None,
        where: DeadLetterFilter,
        *,
        after: int = 0,
        limit: int = 100,
        within: int = 5_000,
    ) -> DeadLetterPage:
        """Return dead letters that fulfil a condition; see `SearchesDeadLetters`."""
        names = await self._searched(destination)
        after, limit = check_number("after", after), check_number("limit", limit)
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

    async def count_dead_letters(
        self, destination: str | None, where: DeadLetterFilter, *, within: int = 5_000
    ) -> DeadLetterStep:
        """Return how many of the first dead letters fulfil a condition."""
        counts = [
            await self._count(name, where, within) for name in await self._searched(destination)
        ]
        ends = [item.after for item in counts if item.after is not None]
        return DeadLetterStep(
            count=sum(item.count for item in counts), after=min(ends, default=None)
        )

    async def _count(self, name: str, where: DeadLetterFilter, within: int) -> DeadLetterStep:
        count, after, more = 0, 0, True
        while more and within > 0:
            size = min(within, _READ_AT_ONCE)
            keys, after, more = await self._next_keys([name], where, after, size, size)
            count, within = count + len(keys), within - size
        return DeadLetterStep(count=count, after=after if more else None)

    async def change_dead_letters(
        self, action: Action, destination: str, where: DeadLetterFilter, *, after: int = 0
    ) -> DeadLetterStep:
        """Replay or discard some dead letters after a position."""
        names = await self._searched(destination)
        size, after = _CHANGED_PER_STEP, check_number("after", after)
        keys, after, more = await self._next_keys(names, where, after, size, size)
        change = self._replay if action == "replay" else self._discard
        count = await change(destination, [seq for seq, _ in keys]) if keys else 0
        return DeadLetterStep(count=count, after=after if more else None)

    async def _searched(self, destination: str | None) -> list[str]:
        if destination is not None:
            check_destination(destination)
        return [*await self._names(destination)]
