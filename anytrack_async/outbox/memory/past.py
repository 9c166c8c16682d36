"""The part of `MemoryOutbox` that reads its history: `MemoryPast`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox import counting
from anytrack_async.outbox.base import Claim
from anytrack_async.outbox.checks import check_event_ids, check_number, check_period, check_text
from anytrack_async.outbox.history import (
    AcceptedCount,
    OutcomeCount,
    PastAttempt,
    ReleaseReason,
    RememberedConversion,
    SearchedIds,
)
from anytrack_async.outbox.memory.history import MemoryHistory
from anytrack_async.outbox.memory.progress import DestinationProgress


class MemoryPast:
    """Reads the history of a memory outbox; see `KeepsHistory`."""

    _history: MemoryHistory

    def _check_open(self) -> None:
        raise NotImplementedError

    def _leased(self, claim: Claim) -> DestinationProgress | None:
        raise NotImplementedError

    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Return the whole *claim*; see `Outbox.release`."""
        raise NotImplementedError

    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return event id → outcomes; see `Outbox.reports`."""
        raise NotImplementedError

    async def outcome_counts(
        self, *, since: float, until: float | None = None, destination: str | None = None
    ) -> Sequence[OutcomeCount]:
        """Return the outcomes of a period; see `KeepsHistory`."""
        since, until = check_period(since, until)
        destination = check_text("destination", destination)
        self._check_open()
        outcomes = self._history.counts.outcomes
        return counting.outcome_counts(outcomes, since, until, destination)

    async def accepted_counts(
        self, *, since: float, until: float | None = None
    ) -> Sequence[AcceptedCount]:
        """Return the conversions accepted in a period; see `KeepsHistory`."""
        since, until = check_period(since, until)
        self._check_open()
        self._history.count_accepted()
        return counting.accepted_counts(self._history.counts.accepted.items(), since, until)

    async def attempts(self, event_id: str) -> Sequence[PastAttempt]:
        """Return the attempts at a conversion, oldest first; see `KeepsHistory`."""
        self._check_open()
        (event_id,) = check_event_ids([event_id])
        is_known = event_id in await self.reports([event_id])
        return self._history.attempts(event_id) if is_known else []

    async def delivered_at(self, event_id: str) -> Mapping[str, float]:
        """Return destination → when it confirmed the conversion; see `KeepsHistory`."""
        self._check_open()
        (event_id,) = check_event_ids([event_id])
        report = (await self.reports([event_id])).get(event_id)
        outcomes = report.outcomes if report else {}
        delivered = {name for name, item in outcomes.items() if item.status is Status.DELIVERED}
        dates = self._history.delivered_at(event_id)
        return {name: date for name, date in dates.items() if name in delivered}

    async def find(
        self,
        *,
        event_id: str | None = None,
        order_id: str | None = None,
        click_id: str | None = None,
        limit: int = 20,
    ) -> Sequence[RememberedConversion]:
        """Return the conversions that have one of the given ids; see `KeepsHistory`."""
        ids = SearchedIds(event_id=event_id, order_id=order_id, click_id=click_id)
        self._check_open()
        return self._history.find(ids, check_number("limit", limit))

    async def recent(
        self, *, before: int | None = None, limit: int = 50
    ) -> Sequence[RememberedConversion]:
        """Return remembered conversions, the newest first; see `KeepsHistory`."""
        self._check_open()
        position = None if before is None else check_number("before", before)
        return self._history.recent(position, check_number("limit", limit))

    async def release_with_reason(
        self, claim: Claim, *, due: float, counts_as_attempt: bool, reason: ReleaseReason
    ) -> bool:
        """Release the whole *claim*, and keep why; see `KeepsHistory`."""
        released = await self.release(claim, due=due, counts_as_attempt=counts_as_attempt)
        if released:
            self._history.release(claim, reason, due=due, counts_as_attempt=counts_as_attempt)
        return released
