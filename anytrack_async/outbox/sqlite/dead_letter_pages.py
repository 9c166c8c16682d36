"""Reading dead letters of an outbox file, in pages, and decoding them."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from anyio.lowlevel import checkpoint

from anytrack_async.errors import DecodeError
from anytrack_async.outbox.checks import unknown_destination_error
from anytrack_async.outbox.dead_letters import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterKey,
    SearchPart,
)
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.dead_letter_search import reasons_of, search
from anytrack_async.outbox.sqlite.decoding import (
    DECODED_AT_ONCE,
    ConversionCache,
    decrypted_error,
    decrypted_record,
)
from anytrack_async.outbox.sqlite.queries import dead_letters as queries
from anytrack_async.outbox.sqlite.queries import log as log_queries
from anytrack_async.outbox.sqlite.queries import reports as report_queries

_log = logging.getLogger("anytrack_async")

_PAGE_BYTES = 8 * 2**20
"""Bytes that the records of one page may have, except those of one conversion."""

DEAD_LETTERS_PER_STEP = 2_000
"""Dead letters that one job compares with a condition, in a few milliseconds."""


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
    db: Database,
    destination: str | None,
    where: DeadLetterFilter,
    after: int,
    limit: int,
    within: int | None = None,
) -> Page:
    """Return up to *limit* dead letters by position, and all of the last position.

    A condition may need many steps to find the next one: then the page is shorter or empty. One
    step looks at *within* dead letters of each destination; by default at `DEAD_LETTERS_PER_STEP`.
    """
    within = within or max(limit, DEAD_LETTERS_PER_STEP)
    # Without a condition, or with a code alone, which has an index, each dead letter that is looked
    # at belongs to the page: a page of 100 looks at 100, not at 2,000.
    now, count = db.clock.now(), limit if where == DeadLetterFilter(code=where.code) else within
    with db.snapshot():
        parts = [search(db, name, where, after, count, now) for name in names(db, destination)]
        keys, end = SearchPart.merged(parts).limited(limit, after)
        letters, is_full = _read_all(db, keys)
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
    with db.snapshot():
        selected = set(names(db, destination))
        keys = [
            (seq, name)
            for seq, name in matching_ids(db, event_ids, where, after)
            if name in selected
        ]
        letters, _ = _read_all(db, SearchPart(keys, None).limited(limit, after).keys)
    return Page(letters, after, more=False)


def matching_after(
    db: Database, name: str, where: DeadLetterFilter, after: int, within: int | None = None
) -> tuple[list[int], int | None]:
    """Return positions of some dead letters of a destination that fulfil *where*.

    It looks at *within* of them, or at `DEAD_LETTERS_PER_STEP`.

    Returns:
        The positions, and the position up to which all were looked at; None if there are no more.
    """
    keys, end = search(db, name, where, after, within or DEAD_LETTERS_PER_STEP, db.clock.now())
    return [seq for seq, _ in keys], end


def matching_ids(
    db: Database, event_ids: Sequence[str], where: DeadLetterFilter, after: int = 0
) -> Iterator[tuple[int, str]]:
    """Yield positions and destinations of the dead letters of *event_ids* that fulfil *where*."""
    now = db.clock.now()
    seqs = {seq for seq in _positions(db.sql, event_ids) if seq > after}
    for seq in sorted(seqs):
        rows = db.sql.execute(queries.DEAD_REASONS_AT, (seq,)).fetchall()
        for reason in reasons_of(db, rows, where):
            if reason.matches(where, now):
                yield seq, reason.destination


def _positions(sql: sqlite3.Connection, event_ids: Sequence[str]) -> list[int]:
    rows = (sql.execute(log_queries.LOG_SEQ, (event_id,)).fetchone() for event_id in event_ids)
    return [row[0] for row in rows if row]


def _read(db: Database, seq: int, name: str) -> StoredDeadLetter:
    row = db.sql.execute(queries.DEAD_LETTER, (seq, name)).fetchone()
    letter = StoredDeadLetter._make(row)
    payload, digest = decrypted_record(db, letter.event_id, letter.payload, letter.digest)
    error = decrypted_error(db, seq, name, letter.error)
    return letter._replace(payload=payload, digest=digest, error=error)


def _read_all(db: Database, keys: Sequence[DeadLetterKey]) -> tuple[list[StoredDeadLetter], bool]:
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
