"""The part of `MemoryOutbox` that reads its history: `MemoryPast`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from anytrack_async.outbox.base import Claim
from anytrack_async.outbox.checks import check_event_ids
from anytrack_async.outbox.counting import Kind, Result
from anytrack_async.outbox.history import (
    PastAttempt,
    ReleaseReason,
    RememberedConversion,
    SearchedIds,
)
from anytrack_async.outbox.memory.history import MemoryHistory
from anytrack_async.outbox.methods import HistoryMethods


class MemoryPast(HistoryMethods):
    """Reads the history of a memory outbox; see `KeepsHistory`."""

    _history: MemoryHistory

    @abstractmethod
    def _check_open(self) -> None: ...

    @abstractmethod
    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Return the whole *claim*; see `Outbox.release`."""

    async def attempts(self, event_id: str) -> Sequence[PastAttempt]:
        """Return the attempts at a conversion, oldest first; see `KeepsHistory`."""
        (event_id,) = check_event_ids([event_id])
        is_known = event_id in await self.reports([event_id])
        return self._history.attempts(event_id) if is_known else []

    async def release_with_reason(
        self, claim: Claim, *, due: float, counts_as_attempt: bool, reason: ReleaseReason
    ) -> bool:
        """Release the whole *claim*, and keep why; see `KeepsHistory`."""
        released = await self.release(claim, due=due, counts_as_attempt=counts_as_attempt)
        if released:
            self._history.release(claim, reason, due=due, counts_as_attempt=counts_as_attempt)
        return released

    async def _outcomes_between(
        self, since: float, until: float | None, destination: str | None
    ) -> Mapping[Result, tuple[int, float]]:
        self._check_open()
        return self._history.counts.outcomes

    async def _accepted_between(
        self, since: float, until: float | None
    ) -> Iterable[tuple[Kind, tuple[int, Decimal]]]:
        self._check_open()
        self._history.count_accepted()
        return self._history.counts.accepted.items()

    async def _delivery_dates(self, event_id: str) -> Mapping[str, float]:
        return self._history.delivered_at(event_id)

    async def _find(self, ids: SearchedIds, limit: int) -> Sequence[RememberedConversion]:
        self._check_open()
        return self._history.find(ids, limit)

    async def _newest_below(self, position: int, limit: int) -> Sequence[RememberedConversion]:
        self._check_open()
        return self._history.recent(position, limit)
