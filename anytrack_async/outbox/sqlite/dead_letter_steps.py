"""The part of `SQLiteOutbox` that searches and changes dead letters in parts of a bounded size."""

from __future__ import annotations

from collections.abc import Sequence

from anytrack_async.outbox.dead_letters import (
    Action,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStep,
)
from anytrack_async.outbox.methods import DeadLetterStepMethods
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


class SQLiteDeadLetterSteps(SQLiteAccess, DeadLetterStepMethods):
    """Searches and changes the dead letters of a file step by step; see `SearchesDeadLetters`."""

    async def _names(self, destination: str | None) -> Sequence[str]:
        return await self._run(pages.names, destination)

    async def _search_dead(
        self, destination: str | None, where: DeadLetterFilter, after: int, limit: int, within: int
    ) -> DeadLetterPage:
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

    async def _count_dead(self, name: str, where: DeadLetterFilter, within: int) -> DeadLetterStep:
        return await self._run(_count, name, where, within)

    async def _change_dead(
        self, action: Action, name: str, where: DeadLetterFilter, after: int
    ) -> DeadLetterStep:
        within = min(_CHANGED_PER_STEP, pages.DEAD_LETTERS_PER_STEP)
        changed = await self._run(_change, _CHANGES[action], name, where, after, within)
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
