"""Dead letters in an outbox file: the methods of `SQLiteOutbox`, and the changes they make.

Long operations go from position to position in steps, each a transaction of its own, so that other
processes can write in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from anytrack_async.codec.storage import Encoded, encode
from anytrack_async.models.contradiction import summary
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.dead_letters import (
    ALL,
    Action,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStep,
)
from anytrack_async.outbox.methods import (
    DeadLetterMethods,
    DeadLetterSelection,
    DeadLetterStepMethods,
)
from anytrack_async.outbox.sqlite import dead_letter_pages
from anytrack_async.outbox.sqlite.access import SQLiteAccess
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.dead_letter_pages import (
    StoredDeadLetter,
    decode_dead_letters,
    matching_after,
    matching_ids,
    names,
    read_by_ids,
    read_page,
)
from anytrack_async.outbox.sqlite.dead_letter_search import count_matching
from anytrack_async.outbox.sqlite.leases import mark_reclaimable
from anytrack_async.outbox.sqlite.queries import claims as claim_queries
from anytrack_async.outbox.sqlite.queries import dead_letters as queries
from anytrack_async.outbox.sqlite.retention import ROWS_PER_STEP

Change: TypeAlias = Callable[[Database, str, Sequence[int]], None]
"""`replay` or `discard`: changes the dead letters of a destination at some positions."""


class Changed(NamedTuple):
    """The result of one step.

    Attributes:
        rows: how many dead letters were changed.
        after: the position after which the next step begins; None if this was the last one.
    """

    rows: int
    after: int | None


def change_next(
    db: Database,
    change: Change,
    name: str,
    where: DeadLetterFilter,
    after: int,
    within: int | None = None,
) -> Changed:
    """Change the next dead letters of a destination after a position; see `matching_after`."""
    with db.transaction(synced=False):
        seqs, last = matching_after(db, name, where, after, within)
        change(db, name, seqs)
    return Changed(len(seqs), last)


def change_by_ids(
    db: Database, change: Change, name: str, event_ids: Sequence[str], where: DeadLetterFilter
) -> int:
    """Change the dead letters of *event_ids* at a destination; return how many there were."""
    with db.transaction(synced=False):
        dead_letters = matching_ids(db, event_ids, where)
        seqs = [seq for seq, destination in dead_letters if destination == name]
        change(db, name, seqs)
    return len(seqs)


def replay(db: Database, name: str, seqs: Sequence[int]) -> None:
    """Make the dead letters at *seqs* due now; called in a transaction."""
    now = db.clock.now()
    db.sql.executemany(queries.REPLAY, [(now, seq, name) for seq in seqs])
    db.sql.execute(claim_queries.ADD_TO_COUNTS, (len(seqs), -len(seqs), 0, name))


def discard(db: Database, name: str, seqs: Sequence[int]) -> None:
    """Give up the dead letters at *seqs*; called in a transaction."""
    keys = [(seq, name) for seq in seqs]
    db.sql.executemany(queries.INSERT_DISCARDED, keys)
    db.sql.executemany(queries.DELETE_DEAD, keys)
    mark_reclaimable(db.sql, name, seqs)
    db.sql.execute(queries.ADD_DISCARDED, (len(seqs), name))


def correct(db: Database, event_id: str, encoded: Encoded, summary_: str) -> list[str]:
    """Replace a stored conversion and replay it where it is dead; see `Outbox.correct`.

    Args:
        db: the file.
        event_id: the event id of both.
        encoded: the corrected conversion.
        summary_: its `summary`.
    """
    with db.transaction(synced=True) as sql:
        keys = list(matching_ids(db, [event_id], ALL))
        destinations = [name for _, name in keys]
        if destinations:
            if db.cipher is not None:
                db.cipher.list_key(sql)
                encoded = db.cipher.seal_record(event_id, *encoded)
            seq, _ = keys[0]
            sql.execute(queries.CORRECT, (encoded.payload, encoded.digest, seq))
            sql.execute(queries.SET_SUMMARY, (summary_, seq))
            for name in destinations:
                replay(db, name, [seq])
    return destinations


# The methods of an outbox


class SQLiteDeadLetters(SQLiteAccess, DeadLetterMethods):
    """The part of `SQLiteOutbox` that handles dead letters."""

    async def _read_dead_letters(
        self, selection: DeadLetterSelection, after: int, limit: int
    ) -> Sequence[DeadLetter]:
        destination, ids, where = selection.destination, selection.event_ids, selection.where
        if ids is not None:
            page = await self._run(read_by_ids, destination, ids, where, after=after, limit=limit)
            return await decode_dead_letters(page.letters, self._cache)
        letters: list[DeadLetter] = []
        more = True
        while more and len(letters) < limit:  # an unreadable one leaves a gap for the next ones
            count = limit - len(letters)
            page = await self._run(read_page, destination, where, after=after, limit=count)
            letters += await decode_dead_letters(page.letters, self._cache)
            _, after, more, is_full = page
            if is_full and letters:
                break
        return letters

    async def _replay_selected(self, selection: DeadLetterSelection) -> int:
        return await self._change(replay, selection)

    async def _discard_selected(self, selection: DeadLetterSelection) -> int:
        return await self._change(discard, selection)

    async def _change(self, change: Change, selection: DeadLetterSelection) -> int:
        count, ids = 0, selection.event_ids
        for name in await self._run(names, selection.destination):
            if ids is None:
                count += await self._change_all(change, name, selection.where)
                continue
            for start in range(0, len(ids), ROWS_PER_STEP):
                part = ids[start : start + ROWS_PER_STEP]
                count += await self._run(change_by_ids, change, name, part, selection.where)
        return count

    async def _change_all(self, change: Change, name: str, where: DeadLetterFilter) -> int:
        count, after = 0, 0
        while True:
            step = await self._run(change_next, change, name, where, after)
            count += step.rows
            if step.after is None:
                return count
            after = step.after

    async def correct(self, conversion: Conversion) -> Sequence[str]:
        """Replace a stored conversion and replay it where it is dead; see `Outbox.correct`."""
        encoded = encode(conversion)
        options = (conversion.event_id, encoded, summary(conversion))
        return await self._run(correct, *options)


# Step by step


_CHANGES: dict[Action, Change] = {"replay": replay, "discard": discard}

_CHANGED_PER_STEP = 500
"""Dead letters that one step changes: some milliseconds, in which no other process can write."""


class SQLiteDeadLetterSteps(SQLiteAccess, DeadLetterStepMethods):
    """Searches and changes the dead letters of a file step by step; see `SearchesDeadLetters`."""

    async def _names(self, destination: str | None) -> Sequence[str]:
        return await self._run(names, destination)

    async def _search_dead(
        self, destination: str | None, where: DeadLetterFilter, after: int, limit: int, within: int
    ) -> DeadLetterPage:
        letters, more = list[StoredDeadLetter](), True
        while more and within > 0 and len(letters) < limit:
            size = min(within, dead_letter_pages.DEAD_LETTERS_PER_STEP)
            page = await self._run(read_page, destination, where, after, limit - len(letters), size)
            letters += page.letters
            after, more, within = page.after, page.more, within - size
            if page.is_full:
                break
        return DeadLetterPage(
            letters=await decode_dead_letters(letters, self._cache),
            after=after if more else None,
        )

    async def _count_dead(self, name: str, where: DeadLetterFilter, within: int) -> DeadLetterStep:
        return await self._run(_count, name, where, within)

    async def _change_dead(
        self, action: Action, name: str, where: DeadLetterFilter, after: int
    ) -> DeadLetterStep:
        within = min(_CHANGED_PER_STEP, dead_letter_pages.DEAD_LETTERS_PER_STEP)
        changed = await self._run(_change, _CHANGES[action], name, where, after, within)
        return DeadLetterStep(count=changed.rows, after=changed.after)


def _change(
    db: Database,
    change: Change,
    name: str,
    where: DeadLetterFilter,
    after: int,
    within: int,
) -> Changed:
    names(db, name)  # raises if there is no such destination
    return change_next(db, change, name, where, after, within)


def _count(db: Database, name: str, where: DeadLetterFilter, within: int) -> DeadLetterStep:
    with db.snapshot():
        number, end = count_matching(db, name, where, within)
    return DeadLetterStep(count=number, after=end)
