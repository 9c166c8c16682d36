"""Group commit: all who append at the same time share one transaction: `Intake`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.log import Call, append
from anytrack_async.outbox.sqlite.thread import Job, OwnerThread


class Intake:
    """Collects calls of `append` until the thread is free, then writes them as one group.

    Args:
        thread: does the writing.
        capacity: how many conversions may wait for the slowest destination.
    """

    def __init__(self, thread: OwnerThread[Database], capacity: int) -> None:
        self._thread = thread
        self._capacity = capacity
        self._door = threading.Lock()
        self._calls: list[Call] = []
        self._group: Job[Database, None] | None = None

    async def append(self, call: Call) -> Sequence[Appended]:
        """Return once *call* is on the disk, together with all that came meanwhile.

        Raises:
            QueueFullError: no room for this call.
            OutboxError: the group could not be written; nothing of it was accepted.
        """
        group = self._join(call)
        try:
            await group.wait()
        except OutboxError as exc:
            raise OutboxError(str(exc)) from exc  # each waiter its own: they are raised at once
        if call.refused:
            raise call.refused
        return call.answers

    def _join(self, call: Call) -> Job[Database, None]:
        with self._door:
            if self._group is None:
                group = Job(self._write)
                self._thread.post(group)
                self._group, self._calls = group, []
            self._calls.append(call)
            return self._group

    def _write(self, db: Database) -> None:
        with self._door:
            calls, self._group = self._calls, None
        with db.explained():
            append(db, calls, self._capacity)
