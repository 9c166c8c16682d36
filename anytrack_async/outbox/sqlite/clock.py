"""The clock of an outbox file: all processes that have the file open share it.

Wall clocks are set, and a moment in the file may have been written before that. If the date was
wrong by 31 days, every remembered id would be forgotten at once; if it was an hour ahead, a retry
would wait an hour too long. So the file has a clock of its own, which never goes back and never
leaps: as long as the machine runs, it is the monotonic clock plus an offset in the file, for every
process. The time of this clock can differ from the date, so it is used for durations only.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from functools import cache, partial
from operator import add, itemgetter
from pathlib import Path

from anytrack_async.outbox.sqlite.queries import file as queries

_LONGEST_GAP = 86_400.0
"""Seconds that count at most of a time in which no process had the file open."""

_RECORD_INTERVAL = 1.0
"""Seconds between two records of the time in the file while it is written to."""

_IDLE_RECORD_INTERVAL = 3_600.0
"""Seconds between two records of the time in the file while nothing else is written to it."""

_LONGEST_WAIT = 2 * 86_400.0
"""Seconds by which a due time or the end of a lease may lie ahead when the file is opened."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FileClock:
    """Unix seconds on the clock of an outbox file.

    Before `start` it shows the time of *wall*.

    Args:
        wall: returns unix seconds; None for the system's wall clock, with the monotonic clock for
            the time since the file was opened. Any other function is used for both, so a test can
            let hours pass; it must not go back.

    Attributes:
        wall: see above.
        now: returns the time now.
        next_record: the time before which `record` has nothing to do.
    """

    # The file's clock when it is opened, if it was last written to on 1 May at 12:00:
    #
    #   the same boot of the machine     the monotonic clock says that 10 minutes passed: 12:10,
    #                                    whatever the wall clock shows
    #   another boot, wall clock 12:30   12:30
    #   another boot, wall clock 11:00   12:00: it never goes back
    #   another boot, 1 June             2 May, 12:00: an outbox that was closed for a month, or a
    #                                    wrong date; a day counts
    #
    # Without a boot id, which only Linux has, every opening counts as another boot. Then a process
    # that opens the file after the wall clock was set differs from those that had it open before.

    def __init__(self, wall: Callable[[], float] | None = None) -> None:
        self.wall = wall or time.time
        self._elapsed = wall or time.monotonic
        self._boot_id = _boot_id() if wall is None else ""
        self._offset = [self.wall() - self._elapsed()]  # a list, for `start` to change it
        # A single call of C code, like `anytrack_async.clock.steady_time`.
        offsets = iter(partial(itemgetter(0), self._offset), None)
        self.now: Callable[[], float] = map(add, iter(self._elapsed, None), offsets).__next__
        self.next_record = 0.0
        self._changes = 0

    def start(self, sql: sqlite3.Connection) -> None:
        """Continue the file's clock; called in a transaction, when the file is opened."""
        elapsed = self._elapsed()
        boot_id, offset, newest = sql.execute(queries.CLOCK).fetchone()
        now = elapsed + offset if boot_id and boot_id == self._boot_id else self.wall()
        if newest is None:  # the file is new, or of a release without this clock
            (newest,) = sql.execute(queries.NEWEST_MOMENT).fetchone()
        if newest is not None:
            now = min(max(now, newest), newest + _LONGEST_GAP)
        self._offset[0], self.next_record = now - elapsed, now + _RECORD_INTERVAL
        sql.execute(queries.SET_CLOCK, (self._boot_id, now - elapsed, now))
        for statement in queries.LIMIT_MOMENTS:
            sql.execute(statement, (now, now + _LONGEST_WAIT))
        self._changes = sql.total_changes

    def record(self, sql: sqlite3.Connection) -> None:
        """Record the time in the file, now and then; called at the end of each transaction.

        At most once a second, and once an hour if the transaction has changed nothing.
        """
        now = self.now()
        if now < self.next_record:
            return
        idle = sql.total_changes == self._changes
        if idle and now < self.next_record - _RECORD_INTERVAL + _IDLE_RECORD_INTERVAL:
            return
        sql.execute(queries.RECORD_TIME, (now,))
        self.next_record, self._changes = now + _RECORD_INTERVAL, sql.total_changes


@cache
def _boot_id() -> str:
    """Return an identifier of this boot of the machine; empty if the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
