"""`PostgresHistory`: the attempts, times of delivery and counts of an outbox in PostgreSQL.

Counts are written by `CountWriter`, attempts and times of delivery by the functions that settle and
release. All times are dates on the clock of the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError, MissingKeyError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Claim
from anytrack_async.outbox.checks import (
    check_checkpoint,
    check_event_ids,
)
from anytrack_async.outbox.counting import Counts, Kind, Result
from anytrack_async.outbox.history import (
    BYTES_PER_STEP,
    LAST_POSITION,
    LEASE_LOST_CODE,
    LEASE_LOST_ERROR,
    MAX_SCANNED,
    SEARCHED_PER_STEP,
    PastAttempt,
    ReleaseReason,
    RememberedConversion,
    SearchedIds,
    newest_first,
    with_deliveries,
)
from anytrack_async.outbox.methods import HistoryMethods
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.claim import PostgresClaim
from anytrack_async.outbox.postgres.counts import columns
from anytrack_async.outbox.postgres.errors import storable
from anytrack_async.outbox.postgres.reading import DECODED_AT_ONCE
from anytrack_async.outbox.postgres.reports import PostgresReports


class PostgresHistory(PostgresReports, HistoryMethods):
    """The part of `PostgresOutbox` that reads its history; see `KeepsHistory`."""

    # Counts

    async def _outcomes_between(
        self, since: float, until: float | None, destination: str | None
    ) -> Mapping[Result, tuple[int, float]]:
        await self._counts.flush()
        rows = await self._db.fetch(queries.OUTCOMES, since, until, destination)
        return {
            Result(minute, name, Status(status), code): (count, seconds)
            for minute, name, status, code, count, seconds in rows
        }

    async def _accepted_between(
        self, since: float, until: float | None
    ) -> Sequence[tuple[Kind, tuple[int, Decimal]]]:
        await self._counts.flush()
        await self._db.fetch(queries.MERGE)
        rows = await self._db.fetch(queries.ACCEPTED_COUNTS, since, until)
        return [(Kind._make(kind), (count, value)) for *kind, count, value in rows]

    def pause_counting(self, paused: bool, /) -> None:
        """Stop or resume counting: conversions that are copied were counted before."""
        self._counts.is_paused = paused

    async def add_counts(self, counts: Counts, checkpoint: str, value: bytes) -> None:
        """Add *counts* and save a checkpoint, in one step."""
        parameters = (*columns(counts), *check_checkpoint(checkpoint, value))
        await self._db.fetch_once(queries.COUNT_AND_SAVE, *parameters)

    # One conversion

    async def attempts(self, event_id: str) -> Sequence[PastAttempt]:
        """Return the attempts at a conversion, oldest first; see `KeepsHistory`."""
        (event_id,) = check_event_ids([event_id])
        if "\0" in event_id:
            return []
        rows = await self._db.fetch(queries.ATTEMPTS, event_id)
        await self._know_keys(row["error"] for row in rows)
        past_attempts = [self._attempt(row) for row in rows]
        if not past_attempts:
            return past_attempts
        return with_deliveries(past_attempts, await self.delivered_at(event_id))

    async def add_attempts(self, attempts: Mapping[str, Sequence[PastAttempt]]) -> None:
        """Add attempts of another outbox by event id; those that are here already stay as they are.

        Raises:
            OutboxError: the database failed; adding them again is safe.
        """
        ids = [event_id for event_id, own in attempts.items() if own and "\0" not in event_id]
        await self._db.fetch(queries.SEQUENCE)
        seqs = dict(map(tuple, await self._db.fetch(queries.POSITIONS, ids)))
        rows = [
            self._attempt_row(seqs[event_id], attempt)
            for event_id in ids
            if event_id in seqs
            for attempt in attempts[event_id]
        ]
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            await self._db.fetch(self._cipher.listing(queries.ADD_ATTEMPTS), *columns)

    def _attempt_row(self, seq: int, attempt: PastAttempt) -> tuple[object, ...]:
        name, code = attempt.destination, attempt.code
        error = "" if code == LEASE_LOST_CODE else attempt.error
        return (
            *(seq, name, attempt.at, attempt.number, str(attempt.status)),
            *(None if code is None else storable(code), attempt.http_status),
            *(self._cipher.seal_error(seq, name, error), attempt.due),
        )

    async def _delivery_dates(self, event_id: str) -> Mapping[str, float]:
        return dict(map(tuple, await self._db.fetch(queries.DELIVERED_AT, event_id)))

    async def release_with_reason(
        self, claim: Claim, *, due: float, counts_as_attempt: bool, reason: ReleaseReason
    ) -> bool:
        """Release the whole *claim*, and keep why; see `KeepsHistory`."""
        ranges = _failed_ranges(claim, reason.sent)
        (row,) = await self._db.fetch_once(
            self._cipher.listing(queries.RELEASE_FAILED),
            claim.destination,
            claim.lease_id,
            due,
            int(counts_as_attempt),
            self._caller_now(),
            self._fixed_now(),
            [first for first, _, _ in ranges],
            [last for _, last, _ in ranges],
            [attempts + counts_as_attempt for _, _, attempts in ranges],
            [
                self._cipher.seal_error(last, claim.destination, reason.error)
                for _, last, _ in ranges
            ],
            None if reason.code is None else storable(reason.code),
            reason.http_status,
        )
        if row[0]:
            sent = range(len(claim.entries)) if reason.sent is None else [reason.sent]
            self._counts.released(claim, sent, reason.code)
        return bool(row[0])

    # Finding

    async def _find(self, ids: SearchedIds, limit: int) -> Sequence[RememberedConversion]:
        by_seq = {item.seq: item for item in await self._remembered(ids.event_ids)}
        is_searched, before, scanned = bool(ids.texts), LAST_POSITION, 0
        while is_searched and before and scanned < MAX_SCANNED and len(by_seq) < limit:
            matching, before = await self._search_below(before, ids)
            scanned += SEARCHED_PER_STEP
            by_seq |= {item.seq: item for item in await self._remembered(matching)}
        return newest_first(by_seq.values(), limit)

    async def _search_below(self, before: int, ids: SearchedIds) -> tuple[list[str], int]:
        """Search the newest stored conversions below a position, in one step.

        Returns:
            The event ids of those that match, and the position below which to go on; 0 at the end.
        """
        # The server cannot search encrypted records: then it returns all of them.
        texts = None if self._cipher.listed or self._cipher.key_id else ids.texts
        rows = await self._db.fetch(
            queries.SEARCH, before, SEARCHED_PER_STEP, BYTES_PER_STEP, texts
        )
        *candidates, (before, _, _) = rows
        matching = filter(ids.match, await self._decoded(candidates))
        return [conversion.event_id for conversion in matching], before

    async def _decoded(self, candidates: Sequence[Any]) -> list[Conversion]:
        conversions: list[Conversion] = []
        await self._know_keys(row["payload"] for row in candidates)
        for count, (_, payload, digest) in enumerate(candidates, 1):
            if (conversion := self._conversion(payload, digest)) is not None:
                conversions.append(conversion)
            if count % DECODED_AT_ONCE == 0:
                await checkpoint()
        return conversions

    async def _remembered(self, event_ids: Sequence[str]) -> list[RememberedConversion]:
        ids = [event_id for event_id in event_ids if "\0" not in event_id]
        if not ids:
            return []
        await self._db.fetch(queries.SEQUENCE)
        return await self._with_conversions(await self._db.fetch(queries.REMEMBERED, ids))

    async def _newest_below(self, position: int, limit: int) -> Sequence[RememberedConversion]:
        return await self._with_conversions(
            await self._db.fetch(queries.NEWEST, position, limit, BYTES_PER_STEP)
        )

    async def _with_conversions(self, rows: Sequence[Any]) -> list[RememberedConversion]:
        items: list[RememberedConversion] = []
        await self._know_keys(row["payload"] or b"" for row in rows)
        for count, row in enumerate(rows, 1):
            items.append(self._remembered_from(row))
            if count % DECODED_AT_ONCE == 0:
                await checkpoint()
        return items

    def _attempt(self, row: Any) -> PastAttempt:
        error = LEASE_LOST_ERROR
        if row["code"] != LEASE_LOST_CODE:
            error = self._cipher.open_error(row["last"], row["destination"], row["error"])
        return PastAttempt(
            destination=row["destination"],
            at=row["at"],
            number=row["number"],
            status=Status(row["status"]),
            code=row["code"],
            error=error,
            http_status=row["http_status"],
            due=row["due"],
        )

    def _remembered_from(self, row: Any) -> RememberedConversion:
        recipients, payload = row["recipients"], row["payload"]
        conversion = None if payload is None else self._conversion(payload, row["digest"])
        return RememberedConversion(
            seq=row["seq"],
            event_id=row["event_id"],
            summary=row["summary"],
            destinations=None if recipients is None else tuple(recipients),
            accepted_at=row["at"],
            conversion=conversion
            if conversion and conversion.event_id == row["event_id"]
            else None,
        )

    def _conversion(self, payload: bytes, digest: bytes) -> Conversion | None:
        """Return a conversion; None if its record is damaged, or its key is not known."""
        try:
            return decode(*self._cipher.open_record(payload, digest))
        except (DecodeError, MissingKeyError):
            return None


def _failed_ranges(claim: Claim, sent: int | None) -> Sequence[tuple[int, int, int]]:
    """Return first and last position and attempts of each range of a claim that failed."""
    entries = claim.entries
    if sent is not None:
        seq = entries.seqs[sent]
        return [(seq, seq, entries.attempts[sent])]
    if isinstance(claim, PostgresClaim):
        return claim.ranges
    return [
        (seq, seq, attempts) for seq, attempts in zip(entries.seqs, entries.attempts, strict=True)
    ]
