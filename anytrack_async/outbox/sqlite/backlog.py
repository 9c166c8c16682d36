"""How many conversions wait for each destination of an outbox file, to find out whether it is full.

The difference between the end of the log and a cursor costs nothing to read, and is at least the
number of conversions that wait. Only where it exceeds the capacity are the conversions counted that
are not addressed to the destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

from anytrack_async.outbox.sqlite import queries
from anytrack_async.outbox.sqlite.database import Database

_MAX_COUNTED = 200_000
"""Positions in which conversions for other destinations are counted, in a fraction of a second."""


class Backlog(NamedTuple):
    """How many conversions wait for each destination.

    Attributes:
        waiting: destination → how many wait for it; "" → how many are stored, without any.
        cursors: destination → its cursor.
    """

    waiting: dict[str, int]
    cursors: Mapping[str, int]

    @classmethod
    def read(cls, db: Database, end: int) -> Self:
        """Return the backlogs in a log that ends at *end*.

        Conversions after a cursor that are not addressed to the destination are counted too, since
        nothing but reading the log tells them apart; see `subtract_foreign`.
        """
        rows = db.sql.execute(queries.BACKLOGS).fetchall()
        waiting = {name: end - cursor + unsettled for name, cursor, unsettled in rows}
        if not rows:
            (pruned,) = db.sql.execute(queries.PRUNED_UPTO).fetchone()
            waiting = {"": end - pruned}
        return cls(waiting, {name: cursor for name, cursor, _ in rows})

    def subtract_foreign(self, db: Database, end: int) -> None:
        """Subtract the conversions after each cursor that are not addressed to the destination."""
        for name, cursor in self.cursors.items():
            if end - cursor <= _MAX_COUNTED:
                self.waiting[name] -= _count_foreign(db, name, cursor, end)

    def full_for(self, recipients: str | None, added: int, capacity: int) -> dict[str, int]:
        """Return the destinations without room for *added* more, with what waits for each."""
        return {
            name: waiting
            for name, waiting in self.waiting.items()
            if waiting + added > capacity and _is_addressed(name, recipients)
        }

    def add(self, recipients: str | None, added: int) -> None:
        """Count *added* more conversions for *recipients*."""
        for name in self.waiting:
            if _is_addressed(name, recipients):
                self.waiting[name] += added


def _is_addressed(name: str, recipients: str | None) -> bool:
    return not name or recipients is None or f"\n{name}\n" in recipients


def _count_foreign(db: Database, name: str, cursor: int, end: int) -> int:
    """Return how many conversions between the positions are not addressed to *name*.

    After 30 between 100 and 900, the count between 200 and 950 reads 100 to 200 and 900 to 950
    only. So a position is read at most twice, however often a full outbox is asked.
    """

    def read(first: int, last: int) -> int:
        (count,) = db.sql.execute(queries.COUNT_FOREIGN, (first, last, name)).fetchone()
        return int(count)

    first, last, count = db.foreign.get(name, (cursor, cursor, 0))
    if first <= cursor <= last <= end:
        count += read(last, end) - read(first, cursor)
    else:
        count = read(cursor, end)
    db.foreign[name] = (cursor, end, count)
    return count
