"""Opening an outbox file, and working with it while the disk is full."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from anytrack_async.errors import MissingKeyError, OutboxError
from anytrack_async.outbox.sqlite import leases
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.errors import needs_reserve
from anytrack_async.outbox.sqlite.files import Reserve
from anytrack_async.outbox.sqlite.queries import encryption as queries

if TYPE_CHECKING:
    from anytrack_async.codec.encryption import KeyRing

_log = logging.getLogger("anytrack_async")

_P = ParamSpec("_P")
_T = TypeVar("_T")


def with_reserve(
    work: Callable[Concatenate[Database, _P], _T], error: sqlite3.Error
) -> Callable[Concatenate[Database, _P], _T]:
    """Return *work*, which failed with *error*, with the space of the reserve.

    It may have been freed before. If the disk is not full, *work* raises *error* again.
    """

    # In one job, because between two jobs an append could take the space for the reserve again.
    def work_with_reserve(db: Database, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if not needs_reserve(error, db.reserve):
            raise error
        if db.wal.use_reserve():
            _log.error(
                "the disk is full: deliveries from the outbox go on, but it accepts nothing until "
                "there is space"
            )
        else:
            db.checkpoint(at_once=True)  # the log may take the space that another process freed
        return work(db, *args, **kwargs)

    return work_with_reserve


def open_file(
    path: Path, opening: Callable[[], Database], keys: KeyRing | None, previous_owner: int
) -> Database:
    """Open the file *path* with *opening*, if the disk is full with the space of the reserve.

    Args:
        path: the file.
        opening: opens it.
        keys: encrypt and decrypt records and error texts; None for no encryption.
        previous_owner: see `leases.register_owner`.

    Raises:
        OutboxError: see `Database.open`.
        MissingKeyError: the file is encrypted with keys that are not in *keys*.
    """
    try:
        return _open_once(path, opening, keys, previous_owner)
    except OutboxError as exc:
        reserve = Reserve(path.absolute())
        if not isinstance(exc.__cause__, Exception) or not needs_reserve(exc.__cause__, reserve):
            raise
        reserve.release()
        return _open_once(path, opening, keys, previous_owner)


def _open_once(
    path: Path, opening: Callable[[], Database], keys: KeyRing | None, previous_owner: int
) -> Database:
    db = opening()
    try:
        if keys is not None or db.sql.execute(queries.LISTED_KEYS).fetchone():
            # Imported here, so that it is only loaded if there is something to encrypt or decrypt.
            from anytrack_async.outbox.sqlite.encryption import attach

            attach(db, path, keys)
        leases.register_owner(db, previous_owner)
    except (sqlite3.Error, OSError) as exc:
        db.close()
        raise db.outbox_error(exc) from exc
    except MissingKeyError:
        db.close()
        raise
    return db
