"""What all parts of an outbox in PostgreSQL use: its database, clock, cache, counts and names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from anytrack_async.errors import AnyTrackError
from anytrack_async.outbox.checks import check_destination, unknown_destination_error
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.counts import CountWriter
from anytrack_async.outbox.postgres.database import Database
from anytrack_async.outbox.postgres.encryption import RowCipher
from anytrack_async.outbox.postgres.errors import UNKNOWN_DESTINATION, sqlstate
from anytrack_async.outbox.postgres.reading import ConversionCache, RecordReader

if TYPE_CHECKING:
    from anytrack_async.codec.encryption import KeyRing

_CACHED_CONVERSIONS = 10_000


class PostgresStore:
    """The base of `PostgresOutbox` and its parts.

    All times in the database are on its server's clock, so that the clocks of workers may differ.
    Times in arguments and results are on the caller's clock: each call compares the two clocks.

    Args:
        db: the database.
        clock: returns unix seconds, for tests; None for the clock of the server.
        keys: encrypt records and error texts; None for no encryption.
    """

    def __init__(
        self, db: Database, clock: Callable[[], float] | None, keys: KeyRing | None = None
    ) -> None:
        self._db = db
        self._clock = clock
        self._cipher = RowCipher(keys, db.schema)
        self._cache = ConversionCache(_CACHED_CONVERSIONS, self._cipher)
        self._records = RecordReader(db, self._cache, self._know_keys)
        self._counts = CountWriter(db, self._caller_now)

    def _fixed_now(self) -> float | None:
        """Return the time of the clock that a test has given; None for that of the server."""
        return None if self._clock is None else self._clock()

    def _caller_now(self) -> float:
        """Return the time of the caller, with which all times that it passes are compared."""
        return time.time() if self._clock is None else self._clock()

    async def destinations(self) -> Sequence[str]:
        """Return every registered destination, also those without a sink in this process."""
        return [row[0] for row in await self._db.fetch(queries.DESTINATION_NAMES)]

    async def _list_keys(self) -> None:
        """Read which keys rows may be encrypted with."""
        rows = await self._db.fetch(queries.LISTED_KEYS)
        self._cipher.listed = frozenset(row[0] for row in rows)

    async def _know_keys(self, texts: Iterable[bytes | str]) -> None:
        """Do the same if one of the stored *texts* has a key that is not known; then open them."""
        if self._cipher.has_unlisted(texts):
            await self._list_keys()

    def _name(self, destination: object) -> str:
        """Return *destination* if it may be the name of one.

        Raises:
            OutboxError: it is not text, or PostgreSQL cannot store it.
        """
        name = check_destination(destination)
        if "\0" in name:
            raise unknown_destination_error(name)
        return name

    async def _fetch_for(self, name: str, sql: str, *parameters: object) -> Sequence[Any]:
        """Run a statement once, for the destination *name*, and return its rows.

        Raises:
            OutboxError: the destination is not registered, or the database failed.
        """
        try:
            return await self._db.fetch_raw(sql, *parameters)
        except AnyTrackError:
            raise
        except Exception as exc:
            if sqlstate(exc) == UNKNOWN_DESTINATION:
                raise unknown_destination_error(name) from None
            raise self._db.change_error(exc) from None
