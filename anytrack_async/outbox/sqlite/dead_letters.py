"""Dead letters in an outbox file: reading, replaying, discarding and correcting them.

Long operations go from position to position in steps, each a transaction of its own, so that other
processes can write in between.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeAlias, TypeVar

from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import Encoded, encode
from anytrack_async.errors import DecodeError
from anytrack_async.models.contradiction import summary
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.checks import (
    check_destination,
    check_event_ids,
    check_number,
    unknown_destination_error,
)
from anytrack_async.outbox.dead_letters import ALL, DeadLetter, DeadLetterFilter
from anytrack_async.outbox.sqlite.claim import DECODED_AT_ONCE, ConversionCache
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decryption import decrypted_error, decrypted_record
from anytrack_async.outbox.sqlite.leases import mark_reclaimable
from anytrack_async.outbox.sqlite.queries import claims as claim_queries
from anytrack_async.outbox.sqlite.queries import dead_letters as queries
from anytrack_async.outbox.sqlite.queries import log as log_queries
from anytrack_async.outbox.sqlite.queries import reports as report_queries
from anytrack_async.outbox.sqlite.retention import ROWS_PER_STEP

_log = logging.getLogger("anytrack_async")

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PAGE_BYTES = 8 * 2**20
"""Bytes that the records of one page may have, except those of one conversion."""

SEARCHED_PER_STEP = 2_000
"""Dead letters that one job compares with a filter, in a few milliseconds."""


# Reading


class StoredDeadLetter(NamedTuple):
    """A dead letter as it is in the file; see `DeadLetter`."""

    seq: int
    destination: str
    event_id: str
    payload: bytes
    digest: bytes
    attempts: int
    error: str
    code: str | None
    died_at: float


class Page(NamedTuple):
    """Some dead letters.

    Attributes:
        letters: the dead letters, in log order.
        after: the position up to which all were looked at.
        more: whether there may be others after it.
        is_full: whether it ends where its records have `_PAGE_BYTES`.
    """

    letters: Sequence[StoredDeadLetter]
    after: int
    more: bool
    is_full: bool = False


class _Reason(NamedTuple):
    """The part of a dead letter that a filter needs."""

    seq: int
    destination: str
    error: str
    code: str | None
    died_at: float
    settled_at: float

    def matches(self, where: DeadLetterFilter, now: float) -> bool:
        """Return whether *where* is fulfilled at *now*, unix seconds."""
        age = now - self.settled_at
        return where.matches(error=self.error, code=self.code, died_at=self.died_at, age=age)


def names(db: Database, destination: str | None) -> list[str]:
    """Return *destination*, or the names of all destinations for None.

    Raises:
        OutboxError: the destination is not registered.
    """
    registered = [name for (name,) in db.sql.execute(report_queries.DESTINATION_NAMES)]
    if destination is None:
        return registered
    if destination not in registered:
        raise unknown_destination_error(destination)
    return [destination]


def read_page(
    db: Database, destination: str | None, where: DeadLetterFilter, after: int, limit: int
) -> Page:
    """Return up to *limit* dead letters by position, and all of the last position.

    A filter may need many steps to find the next one: then the page is shorter or empty.
    """
    now, count = db.clock.now(), limit if where == ALL else max(limit, SEARCHED_PER_STEP)
    with db.snapshot() as sql:
        reasons: list[_Reason] = []
        ends: list[int] = []
        for name in names(db, destination):
            rows = sql.execute(queries.DEAD_REASONS, (name, after, count)).fetchall()
            reasons += _reasons(db, rows, where)
            if len(rows) == count:
                ends.append(rows[-1][0])
        # With 2,000 of "meta" up to position 8,000 and all 30 of "crm", up to 9,500, the page ends
        # at 8,000: after that, some of "meta" are not read yet.
        end = min(ends, default=None)
        matching = [
            (reason.seq, reason.destination)
            for reason in sorted(reasons)
            if (end is None or reason.seq <= end) and reason.matches(where, now)
        ]
        if len(matching) > limit:
            end = matching[limit - 1][0] if limit else after
            matching = [key for key in matching if key[0] <= end]
        letters, is_full = _read_all(db, matching)
    if is_full:
        return Page(letters, letters[-1].seq, more=True, is_full=True)
    return Page(letters, after if end is None else end, more=end is not None)


def read_by_ids(
    db: Database,
    destination: str | None,
    event_ids: Sequence[str],
    where: DeadLetterFilter,
    after: int,
    limit: int,
) -> Page:
    """Return up to *limit* dead letters of *event_ids*, and all of the last position."""
    now = db.clock.now()
    with db.snapshot() as sql:
        selected = set(names(db, destination))
        keys = [
            (reason.seq, reason.destination)
            for seq in sorted(set(_positions(sql, event_ids)))
            if seq > after
            for reason in _reasons_at(db, seq, where)
            if reason.destination in selected and reason.matches(where, now)
        ]
        last = keys[:limit][-1:]
        letters, _ = _read_all(db, [key for key in keys if last and key[0] <= last[0][0]])
    return Page(letters, after, more=False)


def _positions(sql: sqlite3.Connection, event_ids: Sequence[str]) -> list[int]:
    rows = (sql.execute(log_queries.LOG_SEQ, (event_id,)).fetchone() for event_id in event_ids)
    return [row[0] for row in rows if row]


def _reasons_at(db: Database, seq: int, where: DeadLetterFilter) -> list[_Reason]:
    return _reasons(db, db.sql.execute(queries.DEAD_REASONS_AT, (seq,)).fetchall(), where)


def _reasons(
    db: Database, rows: Sequence[tuple[Any, ...]], where: DeadLetterFilter
) -> list[_Reason]:
    reasons = list(map(_Reason._make, rows))
    if where.text is None:  # an error text that is not compared need not be decrypted
        return reasons
    return [
        reason._replace(error=decrypted_error(db, reason.seq, reason.destination, reason.error))
        for reason in reasons
    ]


def _read(db: Database, seq: int, name: str) -> StoredDeadLetter:
    row = db.sql.execute(queries.DEAD_LETTER, (seq, name)).fetchone()
    letter = StoredDeadLetter._make(row)
    payload, digest = decrypted_record(db, letter.event_id, letter.payload, letter.digest)
    error = decrypted_error(db, seq, name, letter.error)
    return letter._replace(payload=payload, digest=digest, error=error)


def _read_all(db: Database, keys: Sequence[tuple[int, str]]) -> tuple[list[StoredDeadLetter], bool]:
    """Return the dead letters at *keys*, in order, and whether they end before the last.

    They end before a position with which their records would have more than `_PAGE_BYTES`.
    """
    letters: list[StoredDeadLetter] = []
    size = 0
    for key in keys:
        letter = _read(db, *key)
        size += len(letter.payload)
        if size > _PAGE_BYTES and letters and letters[-1].seq != letter.seq:
            return letters, True
        letters.append(letter)
    return letters, False


async def decode_dead_letters(
    letters: Sequence[StoredDeadLetter], cache: ConversionCache
) -> list[DeadLetter]:
    """Return *letters* decoded, and log a warning for each that cannot be read."""
    readable: list[DeadLetter] = []
    for count, letter in enumerate(letters, 1):
        try:
            readable.append(_decode(letter, cache))
        except DecodeError as exc:
            _log.warning(
                "dead letter %s of %s cannot be read: %s", letter.event_id, letter.destination, exc
            )
        if count % DECODED_AT_ONCE == 0:
            await checkpoint()
    return readable


def _decode(letter: StoredDeadLetter, cache: ConversionCache) -> DeadLetter:
    return DeadLetter(
        seq=letter.seq,
        destination=letter.destination,
        conversion=cache.decode(letter.seq, letter.payload, letter.digest),
        attempts=letter.attempts,
        error=letter.error,
        code=letter.code,
        died_at=letter.died_at,
    )


# Changing

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
    db: Database, change: Change, name: str, where: DeadLetterFilter, after: int
) -> Changed:
    """Change the next dead letters of a destination after a position."""
    now = db.clock.now()
    with db.transaction(synced=False) as sql:
        parameters = (name, after, SEARCHED_PER_STEP)
        rows = sql.execute(queries.DEAD_REASONS, parameters).fetchall()
        reasons = _reasons(db, rows, where)
        seqs = [reason.seq for reason in reasons if reason.matches(where, now)]
        change(db, name, seqs)
    return Changed(len(seqs), rows[-1][0] if len(rows) == SEARCHED_PER_STEP else None)


def change_by_ids(
    db: Database, change: Change, name: str, event_ids: Sequence[str], where: DeadLetterFilter
) -> int:
    """Change the dead letters of *event_ids* at a destination; return how many there were."""
    now = db.clock.now()
    with db.transaction(synced=False) as sql:
        seqs = [
            seq
            for seq in set(_positions(sql, event_ids))
            for reason in _reasons_at(db, seq, where)
            if reason.destination == name and reason.matches(where, now)
        ]
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
        destinations = [
            reason.destination
            for seq in _positions(sql, [event_id])
            for reason in _reasons_at(db, seq, ALL)
        ]
        if destinations:
            if db.cipher is not None:
                db.cipher.list_key(sql)
                encoded = db.cipher.seal_record(event_id, *encoded)
            (seq,) = _positions(sql, [event_id])
            sql.execute(queries.CORRECT, (encoded.payload, encoded.digest, seq))
            sql.execute(queries.SET_SUMMARY, (summary_, seq))
            for name in destinations:
                replay(db, name, [seq])
    return destinations


# The methods of an outbox


class SQLiteDeadLetters:
    """The part of `SQLiteOutbox` that handles dead letters."""

    _cache: ConversionCache

    async def _run(
        self, work: Callable[Concatenate[Database, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        raise NotImplementedError

    async def dead_letters(
        self,
        destination: str | None = None,
        *,
        event_ids: Sequence[str] | None = None,
        where: DeadLetterFilter | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[DeadLetter]:
        """Return dead letters in log order; see `Outbox.dead_letters`."""
        after, limit = check_number("after", after), check_number("limit", limit)
        if destination is not None:
            check_destination(destination)
        if event_ids is not None:
            ids = check_event_ids(event_ids)
            page = await self._run(
                read_by_ids, destination, ids, where or ALL, after=after, limit=limit
            )
            return await decode_dead_letters(page.letters, self._cache)
        letters: list[DeadLetter] = []
        more = True
        while more and len(letters) < limit:  # an unreadable one leaves a gap for the next ones
            count = limit - len(letters)
            page = await self._run(read_page, destination, where or ALL, after=after, limit=count)
            letters += await decode_dead_letters(page.letters, self._cache)
            _, after, more, is_full = page
            if is_full and letters:
                break
        return letters

    async def replay(
        self,
        destination: str | None,
        event_ids: Sequence[str] | None = None,
        *,
        where: DeadLetterFilter | None = None,
    ) -> int:
        """Make dead letters due now with 0 attempts; see `Outbox.replay`."""
        return await self._change(replay, destination, event_ids, where or ALL)

    async def discard(
        self,
        destination: str | None,
        event_ids: Sequence[str] | None = None,
        *,
        where: DeadLetterFilter | None = None,
    ) -> int:
        """Give up dead letters for good; see `Outbox.discard`."""
        return await self._change(discard, destination, event_ids, where or ALL)

    async def _change(
        self,
        change: Change,
        destination: str | None,
        event_ids: Sequence[str] | None,
        where: DeadLetterFilter,
    ) -> int:
        count = 0
        if destination is not None:
            check_destination(destination)
        ids = None if event_ids is None else check_event_ids(event_ids)
        for name in await self._run(names, destination):
            if ids is None:
                count += await self._change_all(change, name, where)
                continue
            for start in range(0, len(ids), ROWS_PER_STEP):
                part = ids[start : start + ROWS_PER_STEP]
                count += await self._run(change_by_ids, change, name, part, where)
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
