"""Recognising rows that occur again: in another run (`KnownRows`), or in the same (`SeenKeys`)."""

from __future__ import annotations

import sqlite3
from asyncio import AbstractEventLoop, get_running_loop, run_coroutine_threadsafe
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import orjson

from anytrack_async.backfilling.identity import Identity
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import KeepsSummaries

_PIECES_BETWEEN = 32
_MIN_TIME = datetime.min.replace(tzinfo=UTC)
_MAX_TIME = datetime.max.replace(tzinfo=UTC)


class KnownRows:
    """Finds the rows that an outbox has accepted before, from the reading thread.

    In a first run no row is known. So after a piece of new rows, the outbox is asked about every
    32nd piece only, which takes less than 1 % of the run's time. In a second run the outbox is
    asked about every piece, and few rows are mapped at all.

    Rows that would not be accepted are not looked up: rows outside the period of the settings, and
    rows too old for every destination. A row with a changed amount does not count as known.

    Args:
        outbox: an open outbox; its event loop is the one in which this object is made.
        settings: may state a period.
        oldest: the earliest time of a conversion that some destination takes; None for no limit.

    Attributes:
        in_bulk: whether most rows were known, so that it pays to ask about many at once.
    """

    def __init__(
        self, outbox: KeepsSummaries, settings: BackfillSettings, oldest: datetime | None
    ) -> None:
        self._outbox = outbox
        self._loop: AbstractEventLoop = get_running_loop()
        self._since = max(settings.since or _MIN_TIME, oldest or _MIN_TIME)
        self._until = settings.until or _MAX_TIME
        self._pieces_to_skip = 0
        self.in_bulk = False

    def asks(self) -> bool:
        """Return whether to ask about the next piece of rows."""
        if not self._pieces_to_skip:
            return True
        self._pieces_to_skip -= 1
        return False

    def find(self, identities: Sequence[Identity | None]) -> list[bool]:
        """Return which of the rows with *identities* were accepted before; blocks.

        Raises:
            OutboxError: the outbox failed.
        """
        wanted = [
            identity if identity is not None and self._is_wanted(identity) else None
            for identity in identities
        ]
        event_ids = [identity.event_id for identity in wanted if identity is not None]
        summaries = self._ask(event_ids) if event_ids else {}
        accepted = [identity is not None and _is_in(summaries, identity) for identity in wanted]
        self.in_bulk = 2 * accepted.count(True) > len(event_ids)
        self._pieces_to_skip = 0 if self.in_bulk else _PIECES_BETWEEN
        return accepted

    def _is_wanted(self, identity: Identity) -> bool:
        return self._since <= identity.timestamp < self._until

    def _ask(self, event_ids: list[str]) -> dict[str, str | None]:
        async def summaries() -> dict[str, str | None]:
            return dict(await self._outbox.summaries(event_ids))

        return run_coroutine_threadsafe(summaries(), self._loop).result()


def _is_in(summaries: Mapping[str, str | None], identity: Identity) -> bool:
    """Return whether *summaries*, event id → summary or None, contain *identity*."""
    event_id = identity.event_id
    return event_id in summaries and summaries[event_id] in (identity.summary, None)


def known_rows(
    outbox: Outbox | None, settings: BackfillSettings, oldest: datetime | None
) -> KnownRows | None:
    """Return a `KnownRows` that asks *outbox*; None if *outbox* keeps no summaries."""
    if outbox is None or not isinstance(outbox, KeepsSummaries):
        return None
    return KnownRows(outbox, settings, oldest)


# All SQL of this module. A database without a name is a temporary file, which SQLite removes.
_CREATE = """CREATE TABLE seen (key INTEGER PRIMARY KEY, value INTEGER NOT NULL,
    call INTEGER NOT NULL) WITHOUT ROWID"""
_FIND = """SELECT key, value FROM seen
    WHERE key IN (SELECT value FROM json_each(?)) AND call < ?"""
_ADD = "INSERT OR IGNORE INTO seen (key, value, call) VALUES (?, ?, ?)"


class SeenKeys:
    """A table of keys and their first values, in flat memory.

    Use it in one thread at a time; its methods block.

    A set of a million event ids takes 120 MB. Python's hashes of them, 8 bytes each, in a temporary
    database of SQLite take 30 MB of disk, up to 24 MB of memory, and 2 µs each. With 2 MB of memory
    they would take 4 µs, because the keys come in no order. That two of a million keys have the
    same hash happens in one of 37 million files.
    """

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None  # opened with the first key
        self._calls = 0

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -24576"):
            database.execute(f"PRAGMA {setting}")
        database.execute(_CREATE)
        return database

    def add(self, pairs: Iterable[tuple[Hashable, Hashable]]) -> list[bool | None]:
        """Add keys with their values.

        Returns:
            For each pair None if its key is new, else whether the key had the same value before.
        """
        if self._database is None:
            self._database = self._open()
        database = self._database
        self._calls = call = self._calls + 1
        hashes = [(hash(key), hash(value), call) for key, value in pairs]
        before = database.total_changes
        database.execute("BEGIN")
        database.executemany(_ADD, hashes)
        database.execute("COMMIT")
        if database.total_changes - before == len(hashes):
            return [None] * len(hashes)  # nearly always: looking them up would take as long again
        keys = orjson.dumps([key for key, _, _ in hashes]).decode()
        value_hashes = dict(database.execute(_FIND, (keys, call)).fetchall())
        results: list[bool | None] = []
        for key, value, _ in hashes:
            results.append(None if key not in value_hashes else value_hashes[key] == value)
            value_hashes.setdefault(key, value)
        return results

    def close(self) -> None:
        """Drop all keys."""
        if self._database is not None:
            self._database.close()
            self._database = None
