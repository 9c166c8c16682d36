"""Appending to the log within the capacity.

Counting what waits in every call would take twice as long as the call. So the room that was counted
is a budget: each call takes from it, and it is counted again once half of it is used, or after some
seconds, because other processes append too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from anytrack_async.errors import AnyTrackError, QueueFullError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import AppendResult
from anytrack_async.outbox.checks import queue_full_error
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.append import APPEND, AppendArguments, results
from anytrack_async.outbox.postgres.claim import CACHED_BYTES
from anytrack_async.outbox.postgres.database import Database
from anytrack_async.outbox.postgres.errors import FULL, sqlstate

_COUNTED_FOR = 5.0
"""Seconds after which what waits is counted again."""

Remember = Callable[[Sequence[Conversion], Sequence[bytes]], None]


class Budget:
    """How many more conversions may wait for each destination, as far as this process knows."""

    def __init__(self, capacity: int) -> None:
        self.waiting: dict[str, int] = {}
        self._capacity = capacity
        self._room: dict[str, int] = {}
        self._counted_at = -_COUNTED_FOR

    def forget(self) -> None:
        """Have it counted again before the next append."""
        self._room = {}

    def count(self, waiting: dict[str, int]) -> None:
        """Start anew with what waits for each destination; "" for none being registered."""
        self.waiting = waiting
        self._room = {name: self._capacity - count for name, count in waiting.items()}
        self._counted_at = monotonic()

    def covers(self, recipients: Sequence[str] | None, count: int) -> bool:
        """Return whether *count* more fit without counting again."""
        if not self._room or monotonic() - self._counted_at >= _COUNTED_FOR:
            return False
        return all(
            2 * (room - count) >= self._capacity - self.waiting[name]
            for name, room in self._addressed(recipients)
        )

    def take(self, recipients: Sequence[str] | None, count: int) -> None:
        """Count *count* more for *recipients*; None for all."""
        for name, room in [*self._addressed(recipients)]:
            self._room[name] = room - count

    def room(self, recipients: Sequence[str] | None) -> int | None:
        """Return how many more fit at each of *recipients*; None if there is no limit."""
        return min((max(0, room) for _, room in self._addressed(recipients)), default=None)

    def full(self, recipients: Sequence[str] | None, added: int) -> dict[str, int]:
        """Return the destinations without room for *added* more, with what waits for each."""
        return {
            name: self._capacity - room
            for name, room in self._addressed(recipients)
            if room < added
        }

    def _addressed(self, recipients: Sequence[str] | None) -> Sequence[tuple[str, int]]:
        return [
            (name, room)
            for name, room in self._room.items()
            if not name or recipients is None or name in recipients
        ]


class Log:
    """Appends conversions.

    Args:
        db: the database.
        capacity: how many conversions may wait for each destination.
        now: returns the time of a test's clock, or None.
        remember: called with conversions that are new, and their digests.
    """

    def __init__(
        self, db: Database, capacity: int, now: Callable[[], float | None], remember: Remember
    ) -> None:
        self._db = db
        self._capacity = capacity
        self._now = now
        self._remember = remember
        self._budget = Budget(capacity)

    def forget_room(self) -> None:
        """Have what waits counted before the next append."""
        self._budget.forget()

    async def finish(self) -> None:
        """Wait for what is being appended."""
        self._budget.forget()

    async def append(
        self, conversions: Sequence[Conversion], arguments: AppendArguments
    ) -> Sequence[AppendResult]:
        """Append *conversions*, which are encoded as *arguments*; see `Outbox.append`."""
        recipients = arguments.recipients
        if not self._budget.covers(recipients, len(arguments)):
            await self._count()
        room = self._budget.room(recipients)
        try:
            (row,) = await self._db.fetch_raw(
                APPEND, *arguments.parameters(room=room, now=self._now())
            )
        except AnyTrackError:
            raise
        except Exception as exc:
            if sqlstate(exc) == FULL:
                raise self._full_error(recipients, int(getattr(exc, "detail", "") or 1)) from None
            raise self._db.change_error(exc) from None
        self._budget.take(recipients, row[0])
        appended = results(arguments, row[0], row[1])
        # Not if they are large on average: so the cache is bounded by bytes without counting any.
        if row[0] == len(arguments) and arguments.size <= CACHED_BYTES * len(arguments):
            self._remember(conversions, arguments.digests)
        return appended

    async def check_room(self, arguments: AppendArguments) -> None:
        """Raise `QueueFullError` if a destination has no room for all of *arguments*."""
        recipients = arguments.recipients
        if not self._budget.covers(recipients, len(arguments)):
            await self._count()
        room = self._budget.room(recipients)
        if room is not None and len(arguments) > room:
            raise self._full_error(recipients, len(arguments))

    def take_room(self, arguments: AppendArguments, added: int) -> None:
        """Count *added* conversions that a transaction of somebody else has appended."""
        self._budget.take(arguments.recipients, added)

    async def _count(self) -> None:
        rows = await self._db.fetch(queries.DEPTHS, self._now())
        self._budget.count({row["name"]: row["waiting"] for row in rows})

    def _full_error(self, recipients: Sequence[str] | None, added: int) -> QueueFullError:
        waiting = self._budget.full(recipients, added)
        too_large = added > self._capacity
        self._budget.forget()
        return queue_full_error(self._capacity, waiting, added, too_large=too_large)
