"""An outbox in a PostgreSQL database: `PostgresOutbox`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio
from sniffio import current_async_library

from anytrack_async.codec.remote_ids import (
    pack_ids,
)
from anytrack_async.errors import (
    AnyTrackError,
    MissingKeyError,
    OutboxError,
    OutcomeUnknownError,
    WrongEventLoopError,
)
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import AppendResult, Claim, FailedEntry
from anytrack_async.outbox.checks import (
    MAX_CLAIM_BYTES,
    already_open_error,
    check_claim,
    check_release,
    check_remote_ids,
    check_seconds,
    last_failures,
)
from anytrack_async.outbox.methods import StoredMethods
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.claim import (
    PostgresClaim,
    Ranges,
    failure_columns,
    new_lease_id,
    pack_columns,
    to_claim,
)
from anytrack_async.outbox.postgres.counts import columns as count_columns
from anytrack_async.outbox.postgres.database import Database
from anytrack_async.outbox.postgres.dead_letters import PostgresDeadLetterSteps
from anytrack_async.outbox.postgres.erasing import PostgresErasing
from anytrack_async.outbox.postgres.errors import slow_append_error
from anytrack_async.outbox.postgres.history import PostgresHistory
from anytrack_async.outbox.postgres.joining import PostgresJoining
from anytrack_async.outbox.postgres.keys import PostgresKeys
from anytrack_async.outbox.postgres.log import Log
from anytrack_async.outbox.postgres.news import News, listen_address
from anytrack_async.outbox.postgres.schema import check_schema_name

if TYPE_CHECKING:
    import asyncpg

    from anytrack_async.codec.encryption import KeyRing

_LEAST_TIME = 0.25
"""Seconds for an answer to a call that has waited for room, however long that took."""

_ENDED_WITHIN = 1.0
"""Seconds for which cancelling a task does not cut its claim off."""

_UNDONE_WITHIN = 5.0
"""Seconds for the release of a claim whose task was cancelled; after that, the lease just ends."""


class PostgresOutbox(
    PostgresJoining,
    PostgresHistory,
    PostgresDeadLetterSteps,
    PostgresErasing,
    PostgresKeys,
    StoredMethods,
):
    """Keeps conversions in a PostgreSQL database, which any number of processes may share.

    Args:
        dsn: address of the database, ``postgresql://user:password@host/database``, or a pool of
            asyncpg, which stays the caller's.
        schema: name of the schema in the database.
        capacity: how many conversions may wait for each destination. Processes that append at the
            same moment may exceed it a little.
        connections: the greatest number of connections of this object.
        timeout: seconds until a call that gets no answer fails.
        behind_pooler: whether the address is that of a pooler that lends connections for the length
            of a transaction, such as PgBouncer. Default: whether there is a *listen_dsn*.
        listen_dsn: the address of the server itself, for one connection of each process that hears
            of conversions of other processes at once; without it, behind a pooler, lanes find them
            at their next poll. Default: *dsn*.
        migrate: whether `open` creates the schema, or brings it up to date, which needs the right
            to do so.
        clock: returns unix seconds, for tests. Default: the clock of the server.
        keys: encrypt conversions and reasons of failures, before they leave the process. Event ids,
            summaries (type, amount, currency), error codes and times are not encrypted, nor are the
            sources and campaigns by which accepted conversions are counted.

    Raises:
        ConfigurationError: asyncpg is not installed, or an argument cannot be used.
    """

    def __init__(
        self,
        dsn: str | asyncpg.Pool[Any],
        *,
        schema: str = "anytrack",
        capacity: int = 5_000_000,
        connections: int = 5,
        timeout: float = 30.0,
        behind_pooler: bool | None = None,
        listen_dsn: str | None = None,
        migrate: bool = True,
        clock: Callable[[], float] | None = None,
        keys: KeyRing | None = None,
    ) -> None:
        self._schema = check_schema_name(schema)
        self._capacity = capacity
        self._migrates = migrate
        self._max_attempts = 0
        self._opened_by = 0
        self._waits_for: float | None = None
        self._owner_id = new_lease_id()
        behind_pooler = bool(listen_dsn) if behind_pooler is None else behind_pooler
        db = Database(
            dsn,
            schema=self._schema,
            connections=connections,
            timeout=timeout,
            behind_pooler=behind_pooler,
        )
        super().__init__(db, clock, keys)
        address = listen_address(dsn, listen_dsn, behind_pooler=behind_pooler)
        self._news = News(db, address, self._owner_id)
        self._log = Log(
            db, capacity, self._fixed_now, self._cache.remember, self._counts, self._cipher
        )

    def __repr__(self) -> str:
        return f"PostgresOutbox(schema={self._schema!r})"

    @property
    def schema(self) -> str:
        """Name of the schema in the database."""
        return self._schema

    def _check_closed(self) -> None:
        if self._opened_by == os.getpid():
            raise already_open_error(f"PostgresOutbox on schema {self._schema!r}", os.getpid())

    # Opening and closing

    async def open(self, destinations: Sequence[str], *, from_start: Sequence[str] = ()) -> None:
        """Connect, create the schema if need be, and register *destinations*; see `Outbox.open`.

        Raises:
            OutboxError: the database cannot be used; the message says what to do.
            SchemaVersionError: a later release has changed the schema.
            MissingKeyError: conversions are encrypted with a key that is not in the ring.
            WrongEventLoopError: the event loop is not asyncio's.
        """
        self._check_closed()
        _check_event_loop()
        for name in destinations:
            if "\0" in name:
                raise OutboxError(f"the name of a destination must be printable, got {name!r}")
        self._opened_by = os.getpid()
        try:
            await self._db.open(migrating=self._migrates)
            self._cipher.renew()
            await self._check_keys()
            names, first = list(destinations), list(from_start)
            await self._db.fetch(queries.REGISTER, names, first, self._fixed_now())
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Finish pending work and close the connections; `open` opens them again."""
        await self._log.finish()
        await self._counts.finish()
        self._opened_by, self._max_attempts, self._waits_for = 0, 0, None
        await self._db.close()

    async def forget(self, destination: str) -> None:
        """Remove a destination with its backlog, retries and dead letters."""
        await self._db.fetch(queries.FORGET, self._name(destination))
        self._log.forget_room()

    # From append to settle

    def limit_waiting(self, seconds: float) -> None:
        """Let `append` wait for *seconds* at most until the outbox is closed; see `LimitsWaiting`.

        A statement that has begun by then may be executed nevertheless: `OutcomeUnknownError`.
        """
        self._waits_for = seconds

    async def append(
        self,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None = None,
        *,
        waited: float = 0.0,
    ) -> Sequence[AppendResult]:
        """Store *conversions* in one atomic step; see `Outbox.append` and `LimitsWaiting`.

        Raises:
            OutcomeUnknownError: the connection was lost before the answer came, or it did not come
                in time; appending them again is safe, and tells whether they had been accepted.
        """
        self._db.check_open()
        conversions = tuple(conversions)
        if not conversions:
            return []
        try:
            async with asyncio.timeout(self._time_left(waited)):
                appended = await self._log.append(conversions, destinations)
        except TimeoutError:
            raise slow_append_error(self._db.place) from None
        self._news.announce()
        return appended

    def _time_left(self, waited: float) -> float | None:
        """Return for how many more seconds a call may wait that has *waited* for room."""
        # A caller may be let in at the last moment, by chance too, and then find no room: with no
        # time for the answer, it would have to be told that its conversion may be accepted.
        return self._waits_for and max(self._waits_for - waited, min(waited, _LEAST_TIME))

    async def watch(self, wake: Callable[[str | None], None]) -> None:
        """Hear of conversions of other processes, and tell them of its own; see `WatchesNews`."""
        await self._news.run(wake)

    async def claim(self, destination: str, limit: int, lease: float) -> Claim:
        """Lease up to *limit* conversions for *lease* seconds; see `Outbox.claim`."""
        name = self._name(destination)
        while True:
            claim = await self._claim(name, limit, lease)
            if not claim.lease_id or claim.entries:
                return claim
            await self.settle(claim)  # none of its records can be read: try the next ones

    async def _claim(self, name: str, limit: int, lease: float) -> Claim:
        lease_id = new_lease_id()
        try:
            return await self._claim_as(lease_id, name, limit, lease)
        except BaseException as exc:
            if isinstance(exc, AnyTrackError) and not isinstance(
                exc, OutcomeUnknownError | MissingKeyError
            ):
                raise
            # Cancelled, no connection, or no key: the caller would never learn of its lease.
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _UNDONE_WITHIN):
                await self._undo(lease_id, name)
            raise

    async def _undo(self, lease_id: int, name: str) -> None:
        try:
            claim = Claim(destination=name, lease_id=lease_id)
            await self.release(claim, due=self._caller_now(), counts_as_attempt=False)
        except OutboxError:
            pass  # the lease ends by itself

    async def _claim_as(self, lease_id: int, name: str, limit: int, lease: float) -> Claim:
        caller = self._caller_now()
        limit = min(limit, 2**31 - 1)
        parameters = (name, lease_id, limit, lease, MAX_CLAIM_BYTES, self._owner_id)
        while True:
            row = await self._claim_row(name, *parameters)
            shift = caller - row["now"]
            self._counts.compare_clocks(row["now"])
            if row["firsts"]:
                break
            if not row["is_behind"]:
                due = row["next_due"]
                return Claim(destination=name, next_due=None if due is None else due + shift)
        ranges = Ranges(row)
        records = await self._records.read(name, ranges.firsts, ranges.lasts, row["large_bytes"])
        return to_claim(name, lease_id, row, ranges, records, shift)

    async def _claim_row(self, name: str, *parameters: object) -> Any:
        """Return the answer of ``claim_v1``.

        Cancelling it lets the statement end first: one that is cut off may take effect after the
        release of its lease.
        """
        options = (self._max_attempts, self._fixed_now())
        call = asyncio.create_task(self._fetch_for(name, queries.CLAIM, *parameters, *options))
        try:
            (row,) = await asyncio.shield(call)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([call], timeout=_ENDED_WITHIN)
            if not call.cancel():
                call.exception()  # else asyncio logs that it "was never retrieved"
            raise
        return row

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Extend the lease to *lease* seconds from now; False if it was lost."""
        check_claim(claim)
        lease = check_seconds("lease", lease)
        parameters = (claim.destination, claim.lease_id, lease, self._fixed_now())
        return bool(await self._db.value(queries.RENEW, *parameters))

    async def settle(self, claim: Claim, failed: Sequence[FailedEntry] = ()) -> bool:
        """End *claim*; see `Outbox.settle`."""
        return await self.settle_with_ids(claim, failed, ())

    async def settle_with_ids(
        self, claim: Claim, failed: Sequence[FailedEntry], remote_ids: Sequence[str | None]
    ) -> bool:
        """End *claim* and keep the ids of its conversions; see `KeepsRemoteIds`."""
        check_claim(claim)
        check_remote_ids(remote_ids)
        failures = last_failures(claim, failed) if failed else []
        if isinstance(claim, PostgresClaim):
            failures += claim.unreadable
        packs = pack_ids(claim.entries.seqs, remote_ids) if remote_ids else []
        lease = (claim.destination, claim.lease_id)
        statement = queries.SETTLE
        columns: tuple[object, ...] = ()
        if failures or packs:
            statement = queries.SETTLE_FAILED
            failed_columns = failure_columns(claim.destination, failures, self._cipher)
            columns = (*failed_columns, *pack_columns(packs), self._caller_now())
        parameters = (*lease, *columns, self._fixed_now())
        if self._counts.is_due:
            return await self._settle_and_count(claim, failures, statement, parameters)
        settled = await self._end(statement, *parameters)
        if settled:
            self._counts.settled(claim, failures)
        return settled

    async def _settle_and_count(
        self,
        claim: Claim,
        failures: Sequence[FailedEntry],
        statement: str,
        parameters: Sequence[object],
    ) -> bool:
        """End a claim in the statement that also writes the counts, if the lease is not lost."""
        counts_before = self._counts.take()
        counts = self._counts.with_settled(counts_before, claim, failures)
        try:
            settled = await self._end(
                queries.AND_COUNT[statement], *parameters, *count_columns(counts)
            )
        except BaseException as exc:
            self._counts.put_back_after(exc, counts_before)
            raise
        if not settled:
            self._counts.put_back(counts_before)
        return settled

    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Return the whole *claim*, to be claimed again not before *due* (unix seconds)."""
        due = check_release(claim, due, counts_as_attempt)
        lease = (claim.destination, claim.lease_id)
        times = (self._caller_now(), self._fixed_now())
        return await self._end(queries.RELEASE, *lease, due, int(counts_as_attempt), *times)

    async def _end(self, sql: str, *parameters: object) -> bool:
        """End a lease; False if it was lost."""
        if sql is not queries.SETTLE:
            sql = self._cipher.listing(sql)
        (row,) = await self._db.fetch_once(sql, *parameters)
        return bool(row[0])


def _check_event_loop() -> None:
    if (library := current_async_library()) != "asyncio":
        raise WrongEventLoopError(
            f"an outbox in PostgreSQL works with asyncio only, and this event loop is {library}'s: "
            "its driver, asyncpg, has no other; run the application with asyncio, or use an "
            "outbox in a file"
        )
