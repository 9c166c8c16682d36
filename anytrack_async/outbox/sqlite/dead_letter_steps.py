"""The part of `SQLiteOutbox` that searches and changes dead letters in parts of a bounded size."""

from __future__ import annotations

from anytrack_async.outbox.checks import check_destination, check_number
from anytrack_async.outbox.dead_letters import (
    Action,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStep,
)
from anytrack_async.outbox.sqlite import dead_letter_pages as pages
from anytrack_async.outbox.sqlite import dead_letter_search, dead_letters
from anytrack_async.outbox.sqlite.access import SQLiteAccess
from anytrack_async.outbox.sqlite.database import Database

_CHANGES: dict[Action, dead_letters.Change] = {
    "replay": dead_letters.replay,
    "discard": dead_letters.discard,
}


_CHANGED_PER_STEP = 500
"""Dead letters that one step changes: some milliseconds, in which no other process can write."""


class SQLiteDeadLetterSteps(SQLiteAccess):
    """Searches and changes the dead letters of a file step by step; see `SearchesDeadLetters`."""

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
        if destination is not None:
            check_destination(destination)
        after, limit = check_number("after", after), check_number("limit", limit)
        letters, more = list[pages.StoredDeadLetter](), True
        while more and within > 0 and len(letters) < limit:
            size = min(within, pages.DEAD_LETTERS_PER_STEP)
            page = await self._run(
                pages.read_page, destination, where, after, limit - len(letters), size
            )
            letters += page.letters
            after, more, within = page.after, page.more, within - size
            if page.is_full:
                break
        return DeadLetterPage(
            letters=await pages.decode_dead_letters(letters, self._cache),
            after=after if more else None,
        )

    async def count_dead_letters(
        self, destination: str | None, where: DeadLetterFilter, *, within: int = 5_000
    ) -> DeadLetterStep:
        """Return how many of the first dead letters fulfil a condition."""
        if destination is not None:
            check_destination(destination)
        counts = [
            await self._run(_count, name, where, within)
            for name in await self._run(pages.names, destination)
        ]
        ends = [item.after for item in counts if item.after is not None]
        return DeadLetterStep(
            count=sum(item.count for item in counts), after=min(ends, default=None)
        )

    async def change_dead_letters(
        self, action: Action, destination: str, where: DeadLetterFilter, *, after: int = 0
    ) -> DeadLetterStep:
        """Replay or discard some dead letters after a position."""
        check_destination(destination)
        change, after = _CHANGES[action], check_number("after", after)
        within = min(_CHANGED_PER_STEP, pages.DEAD_LETTERS_PER_STEP)
        changed = await self._run(_change, change, destination, where, after, within)
        return DeadLetterStep(count=changed.rows, after=changed.after)


def _change(
    db: Database,
    change: dead_letters.Change,
    name: str,
    where: DeadLetterFilter,
    after: int,
    within: int,
) -> dead_letters.Changed:
    pages.names(db, name)  # raises if there is no such destination
    return dead_letters.change_next(db, change, name, where, after, within)


def _count(db: Database, name: str, where: DeadLetterFilter, within: int) -> DeadLetterStep:
    with db.snapshot():
        number, end = dead_letter_search.count_matching(db, name, where, within)
    return DeadLetterStep(count=number, after=end)
