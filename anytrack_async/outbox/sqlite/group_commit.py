"""Group commit: all who append at the same time share one transaction: `Intake`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from anytrack_async.errors import OutboxError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite.append import Batch, append
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.thread import OwnerThread
from anytrack_async.outbox.sqlite.ticket import Ticket, hand_out, new_ticket

Remember = Callable[[int, Sequence[Conversion]], None]
"""Is told the place of the first of some conversions that are now in the log, and them."""

Answer: TypeAlias = Sequence[Appended] | Exception
"""What became of each conversion of a call, or why nothing of the call was taken."""


class _Call(NamedTuple):
    """What one call of `append` brings; *values* are its rows, None if they are not made yet."""

    ticket: Ticket[Answer]
    conversions: Sequence[Conversion]
    mask: str | None
    values: Sequence[object] | None


class Intake:
    """Collects calls of `append` until the thread is free, which then writes them as one group.

    Args:
        thread: does the writing, and the encoding of small calls: a hundred in a row take less
            than one now and then, whenever a task is woken.
        capacity: how many conversions may wait for the slowest destination.
        remember: is told what is new in the log, in the thread.
    """

    def __init__(self, thread: OwnerThread[Database], capacity: int, remember: Remember) -> None:
        self._thread = thread
        self._capacity = capacity
        self._remember = remember
        self._calls: deque[_Call] = deque()
        self._is_posted = False

    def join(
        self,
        conversions: Sequence[Conversion],
        mask: str | None,
        values: Sequence[object] | None = None,
    ) -> Ticket[Answer]:
        """Add a call to the group that is written next; await the ticket for what became of it.

        Args:
            conversions: at least one.
            mask: whom they are for, see `log.mask`.
            values: their rows, if they are too many for the thread to make them.

        Raises:
            OutboxError: this process was forked after the thread started.
        """
        self._thread.check_here()  # or it is the parent's thread that was posted to
        ticket: Ticket[Answer] = new_ticket()
        self._calls.append(_Call(ticket, conversions, mask, values))
        if not self._is_posted:
            self._is_posted = True
            self._thread.post(self)
        return ticket

    def run(self, db: Database) -> None:
        """Write what was brought, and answer; called in the thread."""
        self._is_posted = False  # before anything is taken: who comes later posts again
        calls = [self._calls.popleft() for _ in range(len(self._calls))]
        try:
            answers = self._written(db, calls)
        except Exception as exc:
            answers = [_own(exc) for _ in calls]
        hand_out(zip([call.ticket for call in calls], answers, strict=True))

    def _written(self, db: Database, calls: Sequence[_Call]) -> Sequence[Answer]:
        batch, now = Batch(), db.clock()
        for _, conversions, mask, values in calls:
            try:
                if values is None:
                    batch.encode(conversions, mask, now)
                else:
                    batch.add(conversions, values)
            except Exception as exc:  # it cannot be encoded: its caller alone has to hear of it
                batch.refuse(exc)
        with db.explained():
            first = append(db, batch, self._capacity)
        self._remember(first, batch.new())
        return batch.answers()


def _own(error: Exception) -> Exception:
    """Return *error* for one of those who wait: they raise it at the same time."""
    if not isinstance(error, OutboxError):
        return error
    own = OutboxError(str(error))
    own.__cause__ = error
    return own
