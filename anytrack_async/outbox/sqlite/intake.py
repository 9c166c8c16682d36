"""Group commit: all who append at the same time share one transaction: `Intake`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from anytrack_async.errors import OutboxError
from anytrack_async.models import Conversion
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite.batch import Batch, append
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.thread import Job, OwnerThread

Remember = Callable[[int, Sequence[Conversion]], None]
"""Is told the place of the first of some conversions that are now in the log, and them."""


class Group(Job[Database, None]):
    """The calls of `append` that share a commit. Wait for `done`, then ask for the `answers`."""

    def __init__(self, work: Callable[[Database], None]) -> None:
        super().__init__(work)
        self.batch = Batch()
        self.conversions: list[Conversion] = []

    def answers(self, at: int, count: int) -> list[Appended]:
        """Return the answers for the call that brought *count* rows, the first of them at *at*.

        Raises:
            QueueFullError: no room for this call.
            OutboxError: the group could not be written; nothing of it was accepted.
        """
        try:
            self.result()
        except OutboxError as exc:
            raise OutboxError(str(exc)) from exc  # each waiter its own: they are raised at once
        if at in self.batch.refused:
            raise self.batch.refused[at]
        known = self.batch.answers
        return [Appended.NEW] * count if known is None else known[at : at + count]

    def new(self) -> Sequence[Conversion]:
        """Return what was new, in the order in which it is in the log."""
        known = self.batch.answers
        if known is None:
            return self.conversions
        pairs = zip(self.conversions, known, strict=True)
        return [conversion for conversion, answer in pairs if answer is Appended.NEW]


class Intake:
    """Collects calls of `append` until the thread is free, then writes them as one group.

    Args:
        thread: does the writing.
        capacity: how many conversions may wait for the slowest destination.
        remember: is told what is new in the log, in the thread.
    """

    def __init__(self, thread: OwnerThread[Database], capacity: int, remember: Remember) -> None:
        self._thread = thread
        self._capacity = capacity
        self._remember = remember
        self._door = threading.Lock()
        self._groups: deque[Group] = deque()

    def join(
        self, values: Sequence[object], conversions: Sequence[Conversion]
    ) -> tuple[Group, int]:
        """Add a call to the group that is written next; return it and the call's first row.

        Args:
            values: the rows, one behind the other.
            conversions: what they are of, at least one.

        Raises:
            OutboxError: this process was forked after the thread started.
        """
        self._thread.check_here()  # or the group is the parent's, and the door may be locked
        with self._door:
            group = self._groups[-1] if self._groups else self._open()
            if group.is_orphaned():  # it would not be told here either
                group = self._open()
            group.conversions += conversions
            return group, group.batch.add(values)

    def _open(self) -> Group:
        group = Group(self._write)
        self._thread.post(group)
        self._groups.append(group)
        return group

    def _write(self, db: Database) -> None:
        with self._door:
            group = self._groups.popleft()
        with db.explained():
            first = append(db, group.batch, self._capacity)
        self._remember(first, group.new())
