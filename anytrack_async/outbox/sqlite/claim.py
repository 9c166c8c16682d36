"""Claims on an outbox file: taking, decoding, renewing, releasing and settling them.

A claim of new conversions writes two rows, however many it contains: the lease, and the span of the
log that it covers. Settling deletes both; only failed conversions get a row of their own.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError, OutboxError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import (
    Claim,
    Entries,
    Entry,
    FailedEntry,
    unknown_destination_error,
)
from anytrack_async.outbox.sqlite import queries
from anytrack_async.outbox.sqlite.database import Database

_POSITIONS_PER_STEP = 20_000
"""Positions that one transaction searches for conversions addressed to a destination."""

DECODED_AT_ONCE = 50
"""Conversions decoded before other tasks may run: about a millisecond."""


class StoredEntry(NamedTuple):
    """An entry of a claim as it is in the file.

    Attributes:
        seq: position in the log.
        accepted_at: time of acceptance, unix seconds.
        payload: the encoded conversion.
        digest: digest of the payload.
        attempts: number of failed deliveries to this destination so far.
    """

    seq: int
    accepted_at: float
    payload: bytes
    digest: bytes
    attempts: int


@attrs.frozen(kw_only=True)
class ClaimResult:
    """A claim with entries that are not decoded yet.

    Attributes:
        lease_id: identifies the lease; 0 when nothing could be claimed.
        entries: the stored entries, in log order.
        next_due: without entries, when to claim again, unix seconds.
    """

    lease_id: int = 0
    entries: Sequence[StoredEntry] = ()
    next_due: float | None = None


@attrs.frozen(kw_only=True)
class SQLiteClaim(Claim):
    """A claim as `SQLiteOutbox` returns it.

    Attributes:
        unreadable: records in the lease that cannot be decoded. They are not in `entries`, and
            become dead letters when the claim is settled.
    """

    unreadable: Sequence[FailedEntry] = ()


# Taking


class _ClaimForecast(NamedTuple):
    cursor: int
    end: int
    next_due: float | None

    def has_work(self, now: float) -> bool:
        """Return whether a retry, span or lease is due, or the log continues after the cursor."""
        return self.cursor < self.end or (self.next_due is not None and self.next_due <= now)


def claim(db: Database, name: str, limit: int, lease: float) -> ClaimResult:
    """Lease up to *limit* conversions for *lease* seconds; see `Outbox.claim`.

    Raises:
        OutboxError: the destination is not registered, or the file is damaged.
    """
    # The forecast only reads, so an idle lane that polls does not lock other processes out.
    forecast, now = _forecast(db.sql, name), db.clock()
    while limit > 0 and forecast.has_work(now):
        with db.transaction(synced=False) as sql:
            lease_id, entries = _ClaimBuilder(sql, name, limit, now).build(now + lease)
        if entries:
            return ClaimResult(lease_id=lease_id, entries=sorted(entries))
        previous, forecast = forecast, _forecast(db.sql, name)
        if forecast == previous:  # nothing was found, and the cursor did not move either
            raise _damaged()
    return ClaimResult(next_due=forecast.next_due)


def _damaged() -> OutboxError:
    return OutboxError(
        "the outbox file is damaged: conversions that are to be delivered are missing from its log"
    )


def _forecast(sql: sqlite3.Connection, name: str) -> _ClaimForecast:
    row = sql.execute(queries.CLAIM_FORECAST, (name,)).fetchone()
    if row is None:
        raise unknown_destination_error(name)
    cursor, end, *moments = row
    next_due = min((moment for moment in moments if moment is not None), default=None)
    return _ClaimForecast(cursor, end, next_due)


class _ClaimBuilder:
    """Builds one claim, inside a transaction."""

    def __init__(self, sql: sqlite3.Connection, name: str, limit: int, now: float) -> None:
        self._sql = sql
        self._name = name
        self._space = limit
        self._now = now
        self._entries: list[StoredEntry] = []
        self._lease_id = 0

    def build(self, until: float) -> tuple[int, list[StoredEntry]]:
        """Lease due retries, then released spans and expired leases, then the log.

        Returns:
            The id of the lease, and its entries in no particular order.
        """
        row_id = self._sql.execute(queries.INSERT_LEASE, (self._name, until)).lastrowid
        self._lease_id = row_id or 0
        while True:
            self._lease_due_retries()
            self._lease_due_spans()
            # Leases are expired one at a time, and only while there is space for their entries:
            # a worker that is merely late keeps its lease unless it is needed.
            if self._space <= 0 or not self._expire_lease():
                break
        if self._space > 0:
            self._lease_new()
        if not self._entries:
            self._sql.execute(queries.DELETE_LEASE, (self._lease_id,))
        return self._lease_id, self._entries

    def _add_entries(self, entries: Sequence[StoredEntry]) -> None:
        self._entries += entries
        self._space -= len(entries)

    def _lease_due_retries(self) -> None:
        rows = self._sql.execute(queries.DUE_RETRIES, (self._name, self._now, self._space))
        retries = list(map(StoredEntry._make, rows))
        self._sql.executemany(
            queries.LEASE_RETRY, [(self._lease_id, retry.seq, self._name) for retry in retries]
        )
        self._add_entries(retries)

    def _lease_due_spans(self) -> None:
        spans = self._sql.execute(queries.DUE_SPANS, (self._name, self._now)).fetchall()
        for span in spans:
            if self._space <= 0:
                return
            self._lease_span(*span)

    def _lease_span(self, span_id: int, first: int, last: int, size: int, attempts: int) -> None:
        """Lease a released span, or as much of its beginning as there is space for.

        With space for 2, the span 11 to 15 of 5 conversions becomes a leased span 11 to 12 and a
        released span 13 to 15.
        """
        entries = self._read_range(first, last, attempts)
        if not entries:
            raise _damaged()
        if len(entries) < size:
            end = entries[-1].seq
            self._sql.execute(queries.SHRINK_SPAN, (end + 1, len(entries), span_id))
            self._insert_span(first, end, len(entries), attempts)
        else:
            self._sql.execute(queries.LEASE_SPAN, (self._lease_id, span_id))
        self._add_entries(entries)

    def _lease_new(self) -> None:
        """Lease what follows the cursor, and move the cursor past conversions of others."""
        cursor, end, _ = _forecast(self._sql, self._name)
        last = min(cursor + _POSITIONS_PER_STEP, end)
        entries = self._read_range(cursor + 1, last, 0)
        if self._space == len(entries):
            last = entries[-1].seq
        if entries:
            self._insert_span(entries[0].seq, entries[-1].seq, len(entries), 0)
        if last > cursor:
            self._sql.execute(queries.MOVE_CURSOR, (last, self._name))
        self._add_entries(entries)

    def _read_range(self, first: int, last: int, attempts: int) -> list[StoredEntry]:
        parameters = (attempts, first, last, self._name, self._space)
        return list(map(StoredEntry._make, self._sql.execute(queries.LOG_RANGE, parameters)))

    def _insert_span(self, first: int, last: int, size: int, attempts: int) -> None:
        self._sql.execute(
            queries.INSERT_LEASED_SPAN, (self._name, first, last, size, attempts, self._lease_id)
        )

    def _expire_lease(self) -> bool:
        """Release the lease that expired first; False if none did."""
        lease = self._sql.execute(queries.EXPIRED_LEASE, (self._name, self._now)).fetchone()
        if lease is None:
            return False
        lease_id, until = lease
        # The lease counts as an attempt, because its conversions may have killed the worker.
        _release(self._sql, lease_id, due=until, counts_as_attempt=True)
        return True


# Decoding, in the event loop


class ConversionCache:
    """Decodes conversions, and keeps the newest *size* so as not to decode them again."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._by_seq: OrderedDict[int, Conversion] = OrderedDict()

    def remember(self, first: int, conversions: Sequence[Conversion]) -> None:
        """Keep *conversions* that are in the log one after the other from position *first*.

        Called in the thread that writes them, while the event loop reads and adds others. No lock
        is needed, because each operation on the dict is atomic.
        """
        by_seq = self._by_seq
        by_seq.update(enumerate(conversions, first))
        while len(by_seq) > self._size:  # count each time: the other thread removes too
            by_seq.popitem(last=False)

    def decode(self, seq: int, payload: bytes, digest: bytes) -> Conversion:
        """Return the conversion at position *seq*.

        Raises:
            DecodeError: it is not in the cache, and the record cannot be read.
        """
        conversion = self._by_seq.get(seq)
        if conversion is None:
            conversion = decode(payload, digest)
            self.remember(seq, (conversion,))
        return conversion


async def decode_claim(name: str, result: ClaimResult, cache: ConversionCache) -> SQLiteClaim:
    """Return *result* with its entries decoded; other tasks may run in between."""
    entries: list[Entry] = []
    unreadable: list[FailedEntry] = []
    for count, (seq, accepted_at, payload, digest, attempts) in enumerate(result.entries, 1):
        try:
            entries.append(Entry(seq, cache.decode(seq, payload, digest), attempts, accepted_at))
        except DecodeError as exc:
            unreadable.append(FailedEntry(seq=seq, attempts=attempts, error=str(exc)))
        if count % DECODED_AT_ONCE == 0:
            await checkpoint()
    return SQLiteClaim(
        destination=name,
        lease_id=result.lease_id,
        entries=Entries.of(entries),
        unreadable=unreadable,
    )


# Ending


def renew(db: Database, claim: Claim, lease: float) -> bool:
    """Extend the lease to *lease* seconds from now; False if it was lost."""
    with db.transaction(synced=False) as sql:
        renewed = sql.execute(
            queries.RENEW_LEASE, (db.clock() + lease, claim.lease_id, claim.destination)
        )
    return renewed.rowcount == 1


def release(db: Database, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
    """Return the whole *claim* undelivered; False if its lease was lost."""
    with db.transaction(synced=False) as sql:
        is_ours = _lease_exists(sql, claim)
        if is_ours:
            _release(sql, claim.lease_id, due=due, counts_as_attempt=counts_as_attempt)
    return is_ours


def settle(db: Database, claim: Claim, failed: Sequence[FailedEntry]) -> bool:
    """End *claim*, with *failed* retried or dead; False if its lease was lost."""
    with db.transaction(synced=False) as sql:
        is_ours = _lease_exists(sql, claim)
        if is_ours:
            sql.execute(queries.DELETE_LEASE, (claim.lease_id,))
            sql.execute(queries.DELETE_LEASED_SPANS, (claim.lease_id,))
            ended = _end_retries(sql, claim.lease_id)
            if failed or ended:
                _add_exceptions(sql, claim.destination, failed, db.clock(), ended=ended)
    return is_ours


def _lease_exists(sql: sqlite3.Connection, claim: Claim) -> bool:
    parameters = (claim.lease_id, claim.destination)
    return sql.execute(queries.LEASE_EXISTS, parameters).fetchone() is not None


def _release(
    sql: sqlite3.Connection, lease_id: int, *, due: float, counts_as_attempt: bool
) -> None:
    sql.execute(queries.DELETE_LEASE, (lease_id,))
    sql.execute(queries.RELEASE_SPANS, (due, int(counts_as_attempt), lease_id))
    sql.execute(queries.RELEASE_RETRIES, (due, int(counts_as_attempt), lease_id))


def _end_retries(sql: sqlite3.Connection, lease_id: int) -> int:
    """Delete the retries in a lease, and return how many there were."""
    positions = sql.execute(queries.LEASED_RETRIES, (lease_id,)).fetchall()
    if positions:
        (pruned,) = sql.execute(queries.PRUNED_UPTO).fetchone()
        reclaimable = [row for row in positions if row[0] <= pruned]
        sql.executemany(queries.MARK_RECLAIMABLE, reclaimable)
        sql.execute(queries.DELETE_LEASED_RETRIES, (lease_id,))
    return len(positions)


def _add_exceptions(
    sql: sqlite3.Connection, name: str, failed: Sequence[FailedEntry], now: float, *, ended: int
) -> None:
    """Insert *failed*, and update the counts of the destination, which has *ended* retries less.

    Three retries are claimed, and settled with one retry and one dead letter: ``pending`` changes
    by 1 - 3 = -2, and ``dead`` by 1.
    """
    sql.executemany(
        queries.INSERT_EXCEPTION,
        [
            (entry.seq, name, entry.attempts, entry.due, entry.error, entry.code, now)
            for entry in failed
        ],
    )
    dead = sum(entry.due is None for entry in failed)
    sql.execute(queries.ADD_TO_COUNTS, (len(failed) - dead - ended, dead, name))
