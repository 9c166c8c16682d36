"""The part of `SQLiteOutbox` that keeps a history: `SQLiteHistory`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial

from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError
from anytrack_async.outbox.base import Claim
from anytrack_async.outbox.checks import check_event_ids, check_number
from anytrack_async.outbox.counting import Kind, Result
from anytrack_async.outbox.history import (
    LAST_POSITION,
    MAX_SCANNED,
    SEARCHED_PER_STEP,
    ConversionPage,
    PastAttempt,
    ReleaseReason,
    RememberedConversion,
    SearchedIds,
    newest_first,
    with_deliveries,
)
from anytrack_async.outbox.methods import HistoryMethods
from anytrack_async.outbox.sqlite import leases
from anytrack_async.outbox.sqlite.access import SQLiteAccess
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.history import attempts, counts, finding
from anytrack_async.outbox.sqlite.history.finding import StoredRow

_DECODED_AT_ONCE = 50


class SQLiteHistory(SQLiteAccess, HistoryMethods):
    """Reads the history of an outbox file; see `KeepsHistory`."""

    # Counts

    async def _outcomes_between(
        self, since: float, until: float | None, destination: str | None
    ) -> Mapping[Result, tuple[int, float]]:
        await self._run(_flush)
        read = partial(counts.read_outcomes, since=since, until=until, destination=destination)
        return await self._run(lambda db: read(db.sql))

    async def _accepted_between(
        self, since: float, until: float | None
    ) -> Sequence[tuple[Kind, tuple[int, Decimal]]]:
        await self._run(_flush)
        return await self._run(lambda db: counts.read_accepted(db.sql, since, until))

    # One conversion

    async def attempts(self, event_id: str) -> Sequence[PastAttempt]:
        """Return the attempts at a conversion, oldest first; see `KeepsHistory`."""
        past_attempts = await self._run(attempts.attempts, *check_event_ids([event_id]))
        if not past_attempts:
            return past_attempts
        return with_deliveries(past_attempts, await self.delivered_at(event_id))

    async def _delivery_dates(self, event_id: str) -> Mapping[str, float]:
        return await self._run(attempts.delivered_at, event_id)

    async def release_with_reason(
        self, claim: Claim, *, due: float, counts_as_attempt: bool, reason: ReleaseReason
    ) -> bool:
        """Release the whole *claim*, and keep why; see `KeepsHistory`."""
        return await self._run(
            _release, claim, reason, due=due, counts_as_attempt=counts_as_attempt
        )

    # Finding

    async def _find(self, ids: SearchedIds, limit: int) -> Sequence[RememberedConversion]:
        rows = await self._run(finding.by_event_ids, ids.event_ids)
        conversions = [self._remembered(row) for row in rows]
        if len(conversions) < limit:
            page = await self.search_conversions(
                order_id=ids.order_id, click_id=ids.click_id, limit=limit, within=MAX_SCANNED
            )
            conversions += page.conversions
        return newest_first(conversions, limit)

    async def search_conversions(
        self,
        *,
        order_id: str | None = None,
        click_id: str | None = None,
        before: int | None = None,
        limit: int = 20,
        within: int = 2_000,
    ) -> ConversionPage:
        """Search the newest stored conversions for an id; see `SearchesConversions`."""
        position = LAST_POSITION if before is None else check_number("before", before)
        ids = SearchedIds(order_id=order_id, click_id=click_id)
        if not (texts := ids.texts):
            return ConversionPage()
        conversions: list[RememberedConversion] = []
        while position and within > 0 and len(conversions) < limit:
            rows, position = await self._run(finding.search, position, texts, SEARCHED_PER_STEP)
            within -= SEARCHED_PER_STEP
            conversions += [
                item
                for item in await self._decoded(rows)
                if item.conversion is not None and ids.match(item.conversion)
            ]
        return ConversionPage(conversions=conversions, before=position or None)

    async def _newest_below(self, position: int, limit: int) -> Sequence[RememberedConversion]:
        return await self._decoded(await self._run(finding.newest, position, limit))

    async def _decoded(self, rows: Sequence[StoredRow]) -> list[RememberedConversion]:
        decoded: list[RememberedConversion] = []
        for count, row in enumerate(rows, 1):
            decoded.append(self._remembered(row))
            if count % _DECODED_AT_ONCE == 0:
                await checkpoint()
        return decoded

    def _remembered(self, row: StoredRow) -> RememberedConversion:
        conversion, accepted_at = None, row.accepted_at
        if row.payload is not None:
            try:
                conversion = decode(row.payload, row.digest or b"")
            except DecodeError:
                conversion = None
        if accepted_at is not None:  # a moment of the file's clock
            accepted_at += self._clock.wall() - self._clock.now()
        return RememberedConversion(
            seq=row.seq,
            event_id=row.event_id,
            summary=row.summary,
            destinations=tuple(row.recipients.split("\n")[1:-1]) if row.recipients else None,
            accepted_at=accepted_at,
            conversion=conversion,
        )


# In the thread


def _flush(db: Database) -> None:
    """Write the counts that are only in memory."""
    if db.counts.is_pending:
        with db.transaction(synced=False):
            db.counts.write_soon()


def _release(
    db: Database, claim: Claim, reason: ReleaseReason, *, due: float, counts_as_attempt: bool
) -> bool:
    def record() -> None:
        attempts.add_released(db, claim, reason, due=due, counts_as_attempt=counts_as_attempt)
        sent = range(len(claim.entries)) if reason.sent is None else [reason.sent]
        db.counts.release(claim, sent, reason.code)

    return leases.release(db, claim, due=due, counts_as_attempt=counts_as_attempt, record=record)
