"""Owners of an outbox file: a lock that the kernel releases proves that an owner is alive.

Each open outbox object is an *owner*, in whatever process. It locks a small file of its own beside
the outbox, ``outbox.db-owner-<id>``, and its leases carry its id. However a process ends, the
kernel releases its locks, so an owner that can lock the file of another knows that this one is
dead, and takes its leases over without waiting until they expire. A process that is only stopped
keeps its lock, so its leases are taken over once they have expired.

Locks on a whole file (`flock`) are used because they belong to an open file: unlike the record
locks of POSIX, several owners in one process do not share them, and none is lost when another file
is closed. Where they do not exist (Windows, some network file systems), leases simply expire.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

from anytrack_async.outbox.sqlite.queries import claims as queries

_CHECK_INTERVAL = 0.5
"""Seconds between two looks for dead owners, per outbox object."""

# Descriptors of the locks of this process. A forked child inherits them, and as long as it has them
# open, the lock is not released when the parent dies.
_locked: set[int] = set()


def _close_inherited() -> None:
    for descriptor in _locked:
        with suppress(OSError):
            os.close(descriptor)
    _locked.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_close_inherited)


class Owner:
    """This outbox object among those that have the file open.

    Attributes:
        id: identifies the owner in the file; 0 if locks are not supported.
        next_check: when to look for dead owners again, in `time.monotonic` seconds.
    """

    def __init__(self, path: Path) -> None:
        self.id = 0
        self._path = path
        self._descriptor = -1
        self.next_check = time.monotonic() + _CHECK_INTERVAL

    def register(self, sql: sqlite3.Connection, previous_id: int) -> None:
        """Lock a file of this owner's own and add it to the table; called in a transaction.

        Args:
            sql: the connection.
            previous_id: an owner to continue, unless it was found dead; 0 for a new owner.
        """
        if previous_id and sql.execute(queries.SET_OWNER_CLOSED, (0, previous_id)).rowcount:
            with suppress(OSError):
                if self._lock_file(previous_id, os.O_RDWR):
                    return
        owner_id = secrets.randbits(62) + 1
        if self._lock_file(owner_id, os.O_CREAT | os.O_EXCL | os.O_RDWR):
            sql.execute(queries.INSERT_OWNER, (owner_id,))
        else:
            self._file(owner_id).unlink()

    def _lock_file(self, owner_id: int, flags: int) -> bool:
        descriptor = os.open(self._file(owner_id), flags, 0o600)
        if not _lock(descriptor):
            os.close(descriptor)
            return False
        self.id, self._descriptor = owner_id, descriptor
        _locked.add(descriptor)
        return True

    def delete_file(self) -> None:
        """Delete the file; the lock is kept until `close`."""
        if self.id:
            with suppress(OSError):
                self._file(self.id).unlink()

    def close(self) -> None:
        """Release the lock."""
        if self._descriptor in _locked:  # not in a forked child, where it is closed already
            _locked.discard(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def others_with_leases(self, sql: sqlite3.Connection) -> Sequence[int]:
        """Return the ids of other owners that have leases, and put off the next check."""
        self.next_check = time.monotonic() + _CHECK_INTERVAL
        return [owner_id for (owner_id,) in sql.execute(queries.OWNERS_OF_LEASES, (self.id,))]

    def others(self, sql: sqlite3.Connection) -> Sequence[int]:
        """Return the ids of all other owners."""
        return [owner_id for (owner_id,) in sql.execute(queries.OWNERS) if owner_id != self.id]

    @contextmanager
    def proof_of_death(self, owner_id: int) -> Iterator[bool]:
        """Yield whether another owner is dead; if so, its file is deleted in the end.

        If the file is missing, the owner may be alive, because users can delete files.
        """
        file = self._file(owner_id)
        try:
            descriptor = os.open(file, os.O_RDWR)
        except OSError:
            yield False
            return
        try:
            is_dead = _lock(descriptor)
            yield is_dead
            if is_dead:
                with suppress(OSError):
                    file.unlink()
        finally:
            os.close(descriptor)

    def is_alive(self, owner_id: int) -> bool:
        """Return whether another owner certainly is alive: its file is there, and locked."""
        if sys.platform == "win32":
            return False
        try:
            descriptor = os.open(self._file(owner_id), os.O_RDWR)
        except OSError:
            return False
        try:
            return not _lock(descriptor)
        finally:
            os.close(descriptor)

    def remove_stray_files(self, sql: sqlite3.Connection) -> None:
        """Delete the files of owners that died while they registered; called in a transaction."""
        prefix = f"{self._path.name}-owner-"
        registered = {self._file(owner_id).name for (owner_id,) in sql.execute(queries.OWNERS)}
        for file in self._path.parent.iterdir():
            if file.name.startswith(prefix) and file.name not in registered:
                with suppress(OSError):
                    file.unlink()

    def _file(self, owner_id: int) -> Path:
        return self._path.with_name(f"{self._path.name}-owner-{owner_id:016x}")


def _lock(descriptor: int) -> bool:
    """Lock an open file; False if another owner has locked it, or locks are not supported."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
