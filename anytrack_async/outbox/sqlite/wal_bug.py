"""The bug of older SQLite versions that may damage a file which several connections write to.

https://sqlite.org/wal.html#walresetbug: a checkpoint at the same time as a commit of another
connection may lose pages of that commit. Outboxes avoid it among themselves, so only other programs
that write to the file are a danger. Python 3.11 of Debian 12 has SQLite 3.40.1, where the warning
would stand above the output of every command: it is logged once a day for each file, and once in a
process. The command ``anytrack outbox verify`` always shows it.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from functools import cache

from anytrack_async.outbox.sqlite.queries import reports as queries

_log = logging.getLogger("anytrack_async")

_LOGGED_AT = "anytrack_async/wal-reset-bug"
"""The checkpoint with the time of the last warning, unix seconds on the clock of the file."""

_REPEAT_AFTER = 86_400.0  # seconds


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Return whether this version of SQLite has the bug; fixed in 3.51.3, 3.50.7 and 3.44.6."""
    first_fixed = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}.get(version[:2], (3, 51, 3))
    return (3, 7, 0) <= version < first_fixed


def wal_reset_warning() -> str | None:
    """Return the warning about the version of SQLite in use; None if it does not have the bug."""
    if not has_wal_reset_bug(sqlite3.sqlite_version_info):
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} can damage a file that several connections write to "
        "(https://sqlite.org/wal.html#walresetbug). Outboxes avoid that among themselves; do not "
        "write to an outbox file with other programs, or use SQLite 3.51.3 or later"
    )


def due_warning(sql: sqlite3.Connection, now: float) -> str | None:
    """Return the warning if none was logged for this file in the last day, else None.

    Called in a transaction, which records that the warning was logged: of several processes that
    open the file at once, one logs it.
    """
    warning = wal_reset_warning()
    if warning is None:
        return None
    row = sql.execute(queries.CHECKPOINT, (_LOGGED_AT,)).fetchone()
    with suppress(TypeError, ValueError):  # none yet, or a damaged value
        if now < float(row[0]) + _REPEAT_AFTER:
            return None
    sql.execute(queries.SAVE_CHECKPOINT, (_LOGGED_AT, str(now).encode()))
    return warning


@cache  # a process that opens many files logs it once
def log_once(warning: str) -> None:
    """Log *warning*, unless this process has logged it before."""
    _log.warning(warning)
