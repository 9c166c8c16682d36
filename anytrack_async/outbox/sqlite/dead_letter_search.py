"""Searching the dead letters of an outbox file that fulfil a condition, in short steps.

SQLite compares most of the condition: 5,000 dead letters in a few milliseconds. The rest of the
condition, such as the words of an encrypted reason, is compared here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from anytrack_async.outbox.dead_letters import DeadLetterFilter, SearchPart
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import decrypted_error
from anytrack_async.outbox.sqlite.queries import dead_letters as queries

_LAST_POSITION = 2**63 - 1

_FAR = 1e300
"""Instead of infinity, for which SQL has no literal; seconds."""


class StoredReason(NamedTuple):
    """The part of a dead letter that a condition needs."""

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


class _Part(NamedTuple):
    """A part of the dead letters of a destination, and a condition, for the statements.

    Attributes:
        end: see `SearchPart`.
        parameters: of the statements that compare.
        has_code: whether the statements for a code have to be used.
    """

    end: int | None
    parameters: tuple[object, ...]
    has_code: bool


def _part(
    db: Database, name: str, where: DeadLetterFilter, after: int, count: int, now: float
) -> _Part:
    code = () if where.code is None else (where.code,)
    statement = queries.DEAD_POSITION_OF_CODE if code else queries.DEAD_POSITION
    row = db.sql.execute(statement, (name, after, count - 1, *code)).fetchone()
    end = row[0] if row else None
    text = where.text.casefold() if where.text is not None and where.text.isascii() else None
    bounds = (where.died_after, where.died_before, now, where.min_age, where.max_age)
    condition = (*(max(-_FAR, min(bound, _FAR)) for bound in bounds), text)
    return _Part(end, (name, after, end or _LAST_POSITION, *condition, *code), bool(code))


def search(
    db: Database, name: str, where: DeadLetterFilter, after: int, count: int, now: float
) -> SearchPart:
    """Look at the next *count* dead letters of a destination after a position.

    Codes have an index: if *where* has a code, these are the next *count* with that code.
    """
    part = _part(db, name, where, after, count, now)
    statement = queries.DEAD_REASONS_OF_CODE if part.has_code else queries.DEAD_REASONS
    rows = db.sql.execute(statement, part.parameters).fetchall()
    reasons = [item for item in reasons_of(db, rows, where) if item.matches(where, now)]
    return SearchPart([(reason.seq, reason.destination) for reason in reasons], part.end)


def count_matching(
    db: Database, name: str, where: DeadLetterFilter, count: int
) -> tuple[int, int | None]:
    """Return how many of the first *count* match, and `SearchPart.end`."""
    now = db.clock.now()
    if where.text is not None:
        keys, end = search(db, name, where, 0, count, now)
        return len(keys), end
    if where.code is not None and where == DeadLetterFilter(code=where.code):
        parameters = (name, 0, _LAST_POSITION, where.code)
        (number,) = db.sql.execute(queries.COUNT_CODE, parameters).fetchone()
        return number, None  # all of them: only the index is read
    part = _part(db, name, where, 0, count, now)
    statement = queries.COUNT_DEAD_OF_CODE if part.has_code else queries.COUNT_DEAD
    (number,) = db.sql.execute(statement, part.parameters).fetchone()
    return number, part.end


def reasons_of(
    db: Database, rows: Sequence[tuple[Any, ...]], where: DeadLetterFilter
) -> list[StoredReason]:
    """Return *rows*, with their error texts decrypted if *where* compares them."""
    reasons = list(map(StoredReason._make, rows))
    if where.text is None:
        return reasons
    return [
        reason._replace(error=decrypted_error(db, reason.seq, reason.destination, reason.error))
        for reason in reasons
    ]
