"""The history of a memory outbox: `MemoryHistory` keeps a bounded part of it, and its reader.

Accepted conversions are counted when they are dropped from the log, or when the counts are read, so
that accepting a conversion costs nothing more. An attempt is one record for all conversions of a
batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from itertools import groupby, islice
from typing import Any, NamedTuple, TypeVar

import attrs

from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.checks import check_event_ids
from anytrack_async.outbox.counting import Counts, Kind, Result, status_of
from anytrack_async.outbox.history import (
    COUNTS_KEPT_FOR,
    HOUR,
    LEASE_LOST_CODE,
    LEASE_LOST_ERROR,
    MAX_SCANNED,
    MINUTE,
    PastAttempt,
    ReleaseReason,
    RememberedConversion,
    SearchedIds,
    newest_first,
)
from anytrack_async.outbox.memory.claim import LostAttempt
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.methods import HistoryMethods

_K = TypeVar("_K")

_MAX_COUNTS = 20_000
"""Counts of each kind that are kept, a few megabytes."""


class _Batch(NamedTuple):
    """An attempt at some conversions; `first_time` if they were delivered by their first one."""

    event_ids: Sequence[str]
    attempt: PastAttempt
    first_time: bool = False


class MemoryHistory:
    """The counts, failed attempts and times of delivery of a memory outbox.

    Args:
        log: the conversions.
        clock: returns unix seconds on the outbox's clock.
        date: returns the date, unix seconds.
        limit: how many conversions the attempts that are kept may have together.

    Attributes:
        counts: the counts so far; up to date after `count_accepted`.
    """

    def __init__(
        self,
        log: MemoryLog,
        *,
        clock: Callable[[], float],
        date: Callable[[], float],
        limit: int,
    ) -> None:
        self.counts = Counts()
        self._log, self._clock, self._date, self._limit = log, clock, date, limit
        self._batches: deque[_Batch] = deque()
        self._size = 0  # conversions in `_batches`
        self._counted = 0  # the position up to which accepted conversions are counted

    # Writing

    def count_accepted(self, last: int | None = None) -> None:
        """Count the accepted conversions up to position *last*, or all."""
        last = self._log.end if last is None else min(last, self._log.end)
        if last <= self._counted:
            return
        offset = self._date() - self._clock()
        entries = self._log.stored_slice(self._counted + 1, last)
        self._counted, start = last, 0
        for hour, count in _hours(entries.accepted_at, offset):
            conversions = entries.conversions[start : start + count]
            self.counts.add_accepted(conversions, hour)
            start += count

    def settle(self, claim: Claim, failed: Sequence[FailedEntry], now: float) -> None:
        """Record the outcomes of a claim that is settled *now*, on the outbox's clock."""
        date = self._date()
        self.counts.add_outcomes(claim, failed, now, date)
        delivered = PastAttempt(
            destination=claim.destination, at=date, number=1, status=Status.DELIVERED
        )
        if not failed and not any(claim.entries.attempts):
            self._add(claim.entries.event_ids, delivered, first_time=True)
            return
        failures = {failure.seq: failure for failure in failed}
        first_time: list[str] = []
        for entry in claim.entries:
            event_id = entry.conversion.event_id
            if failure := failures.get(entry.seq):
                self._add([event_id], _failed(failure, claim.destination, now, date))
            elif entry.attempts:
                self._add([event_id], attrs.evolve(delivered, number=entry.attempts + 1))
            else:
                first_time.append(event_id)
        if first_time:
            self._add(first_time, delivered, first_time=True)

    def release(
        self, claim: Claim, reason: ReleaseReason, *, due: float, counts_as_attempt: bool
    ) -> None:
        """Record why a claim is released."""
        now, date = self._clock(), self._date()
        sent = range(len(claim.entries)) if reason.sent is None else [reason.sent]
        self.counts.add_released(claim, sent, reason.code, now, date)
        attempt = PastAttempt(
            destination=claim.destination,
            at=date,
            number=0,
            status=Status.WAITING,
            code=reason.code,
            error=reason.error,
            http_status=reason.http_status,
            due=due - now + date,
        )
        event_ids, attempts = claim.entries.event_ids, claim.entries.attempts
        for number in sorted({attempts[index] for index in sent}):
            ids = [event_ids[index] for index in sent if attempts[index] == number]
            self._add(ids, attrs.evolve(attempt, number=number + counts_as_attempt))

    def lose(self, destination: str, lost: Sequence[LostAttempt]) -> None:
        """Record the attempts of expired leases."""
        if not lost:
            return
        now, date = self._clock(), self._date()
        result = Result(int(date) // MINUTE * MINUTE, destination, Status.WAITING, LEASE_LOST_CODE)
        seconds = sum(now - attempt.accepted_at for attempt in lost)
        self.counts.add_result(result, len(lost), seconds)
        for number in sorted({attempt.number for attempt in lost}):
            attempt = PastAttempt(
                destination=destination,
                at=date,
                number=number,
                status=Status.WAITING,
                code=LEASE_LOST_CODE,
                error=LEASE_LOST_ERROR,
            )
            self._add([own.event_id for own in lost if own.number == number], attempt)

    def _add(
        self, event_ids: Sequence[str], attempt: PastAttempt, *, first_time: bool = False
    ) -> None:
        self._batches.append(_Batch(event_ids, attempt, first_time))
        self._size += len(event_ids)
        while self._size > self._limit and len(self._batches) > 1:
            self._size -= len(self._batches.popleft().event_ids)

    def empty_errors(self, event_id: str) -> None:
        """Empty the reasons of failures of a conversion, which may quote the customer."""
        for index, batch in enumerate(self._batches):
            if batch.attempt.error and event_id in batch.event_ids:
                emptied = attrs.evolve(batch.attempt, error="")
                self._batches[index] = batch._replace(attempt=emptied)

    def empty_reasons(self, reasons: Set[str]) -> int:
        """Empty the reasons of attempts that are in *reasons*; return how many."""
        count = 0
        for index, batch in enumerate(self._batches):
            if batch.attempt.error in reasons:
                emptied = attrs.evolve(batch.attempt, error="")
                self._batches[index] = batch._replace(attempt=emptied)
                count += 1
        return count

    def forget(self, destination: str) -> None:
        """Forget the attempts at a destination."""
        remaining = [batch for batch in self._batches if batch.attempt.destination != destination]
        self._batches = deque(remaining)
        self._size = sum(len(batch.event_ids) for batch in remaining)

    def prune(self, remember: float) -> None:
        """Forget old counts, and attempts that have no conversion with a remembered id."""
        self.count_accepted()
        before = self._date() - max(remember, COUNTS_KEPT_FOR)
        accepted, outcomes = self.counts.accepted, self.counts.outcomes
        _drop(accepted, [kind for kind in accepted if kind.hour < before])
        _drop(outcomes, [result for result in outcomes if result.minute < before])
        positions = self._log.positions
        while self._batches and not any(map(positions.__contains__, self._batches[0].event_ids)):
            self._size -= len(self._batches.popleft().event_ids)

    # Reading

    def reasons(self) -> set[str]:
        """Return the reasons of the attempts, without the empty one."""
        return {batch.attempt.error for batch in self._batches if batch.attempt.error}

    def attempts(self, event_id: str) -> list[PastAttempt]:
        """Return the attempts at a conversion that are kept, oldest first."""
        return [
            batch.attempt
            for batch in self._batches
            if not batch.first_time and event_id in batch.event_ids
        ]

    def delivered_at(self, event_id: str) -> dict[str, float]:
        """Return destination → when it confirmed a conversion."""
        return {
            batch.attempt.destination: batch.attempt.at
            for batch in self._batches
            if batch.attempt.status is Status.DELIVERED and event_id in batch.event_ids
        }

    def find(self, ids: SearchedIds, limit: int) -> list[RememberedConversion]:
        """Return the conversions that have one of *ids*, the newest first."""
        conversions = [item for item in map(self._by_event_id, ids.event_ids) if item]
        newest = islice(reversed(self._log.stored_positions()), MAX_SCANNED)
        conversions += [
            self._stored(seq) for seq in newest if ids.match(self._log.entry(seq).conversion)
        ]
        return newest_first(conversions, limit)

    def recent(self, before: int, limit: int) -> list[RememberedConversion]:
        """Return the newest remembered conversions below a position."""
        newest = reversed(self._log.stored_positions())
        stored = islice((seq for seq in newest if seq < before), limit)
        dropped = self._log.newest_dropped(before, limit)
        conversions = [self._stored(seq) for seq in stored]
        conversions += [item for item in map(self._by_event_id, dropped) if item]
        return newest_first(conversions, limit)

    def _by_event_id(self, event_id: str) -> RememberedConversion | None:
        record = self._log.find(event_id)
        if record is None:
            return None
        if isinstance(record, int):
            return self._stored(record)
        recipients = record.recipients
        return RememberedConversion(
            seq=record.seq,
            event_id=event_id,
            summary=self._log.summary(event_id),
            destinations=None if recipients is None else tuple(sorted(recipients)),
        )

    def _stored(self, seq: int) -> RememberedConversion:
        entry, recipients = self._log.entry(seq), self._log.recipients(seq)
        event_id = entry.conversion.event_id
        return RememberedConversion(
            seq=seq,
            event_id=event_id,
            summary=self._log.summary(event_id),
            destinations=None if recipients is None else tuple(sorted(recipients)),
            accepted_at=entry.accepted_at - self._clock() + self._date(),
            conversion=entry.conversion,
        )


def _drop(counts: dict[_K, Any], old: Iterable[_K]) -> None:
    """Drop *old* counts, and then the oldest of more than `_MAX_COUNTS`."""
    for key in old:
        del counts[key]
    for key in [*islice(counts, max(len(counts) - _MAX_COUNTS, 0))]:
        del counts[key]


def _failed(failure: FailedEntry, destination: str, now: float, date: float) -> PastAttempt:
    return PastAttempt(
        destination=destination,
        at=date,
        number=failure.attempts,
        status=status_of(failure),
        code=failure.code,
        error=failure.error,
        http_status=failure.http_status,
        due=None if failure.due is None else failure.due - now + date,
    )


def _hours(times: Sequence[float], offset: float) -> Iterator[tuple[float, int]]:
    """Yield dates of different hours, unix seconds, and how many of *times* in a row are in each.

    Args:
        times: times on the outbox's clock.
        offset: seconds to add to get the date.
    """
    if times and int(min(times) + offset) // HOUR == int(max(times) + offset) // HOUR:
        yield times[0] + offset, len(times)
        return
    for _, group in groupby(times, lambda time: int(time + offset) // HOUR):
        dates = list(group)
        yield dates[0] + offset, len(dates)


class MemoryHistoryReader(HistoryMethods):
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
