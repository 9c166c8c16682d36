"""An outbox that lives as long as its process: `MemoryOutbox`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from math import inf

from anyio.lowlevel import checkpoint

from anytrack_async.clock import steady_time
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.base import AppendResult, Claim, Depth, FailedEntry
from anytrack_async.outbox.checks import (
    USUAL_BYTES,
    already_open_error,
    check_checkpoint,
    check_claim,
    check_destination,
    check_event_ids,
    check_number,
    check_period,
    check_release,
    check_remote_ids,
    check_seconds,
    large_conversions,
    last_failures,
    not_open_error,
    unknown_destination_error,
)
from anytrack_async.outbox.memory import reports
from anytrack_async.outbox.memory.claim import ClaimBuilder
from anytrack_async.outbox.memory.dead_letters import MemoryDeadLetterSteps
from anytrack_async.outbox.memory.erasing import MemoryErasing
from anytrack_async.outbox.memory.history import MemoryHistory, MemoryHistoryReader
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import DestinationProgress
from anytrack_async.outbox.memory.room import MemoryRoom

_DROPPED_PER_STEP = 500
"""Conversions dropped at once: few, because no other task runs at that time."""

_CAPACITY = 10_000
_CAPACITY_BYTES = 64 * 2**20


class MemoryOutbox(MemoryDeadLetterSteps, MemoryErasing, MemoryHistoryReader):
    """Keeps conversions in memory: no setup, and nothing survives the process.

    It keeps the objects it is given, and neither copies nor encodes them. Use it in one event loop.
    No method except `prune` and `erase` yields to the event loop: each is one atomic step, and a
    task that is cancelled in between notices at its next ``await``.

    Args:
        capacity: how many conversions may wait for each destination.
        capacity_bytes: how many bytes of memory they may take, about; each counts as at least
            2,048. Dead letters have as many bytes of their own; when there are more, the
            oldest are discarded, with the event `Dropped`. Default: 64 MiB, and with a capacity of
            more than 10,000 more in proportion.
        remember_ids: how many ids of delivered conversions are remembered at most.
        clock: returns unix seconds and must not go back. The default does not leap either when the
            date of the machine is set.

    Attributes:
        now: the clock; see `KeepsTime`.

    Raises:
        InvalidArgumentError: a capacity is not a whole number from 0 to 2^63 - 1.
    """

    def __init__(
        self,
        capacity: int = _CAPACITY,
        remember_ids: int = 10_000,
        clock: Callable[[], float] = steady_time,
        *,
        capacity_bytes: int | None = None,
    ) -> None:
        super().__init__()
        capacity = check_number("capacity", capacity)
        if capacity_bytes is None:
            capacity_bytes = max(_CAPACITY_BYTES, _CAPACITY_BYTES * capacity // _CAPACITY)
        capacity_bytes = check_number("capacity_bytes", capacity_bytes)
        self._capacity, self._capacity_bytes = capacity, capacity_bytes
        # As long as no conversion is large, no more are stored than there is room for.
        self._usual_capacity = min(capacity, capacity_bytes // USUAL_BYTES)
        self._clock = self.now = clock
        self._date = time.time if clock is steady_time else clock
        self._log = MemoryLog(remember_ids)
        self._remember_ids = remember_ids
        self._destinations: dict[str, DestinationProgress] = {}
        self._room = MemoryRoom(
            self._log, self._destinations, capacity=capacity, capacity_bytes=capacity_bytes
        )
        self._history = MemoryHistory(self._log, clock=clock, date=self._date, limit=remember_ids)
        self._checkpoints: dict[str, bytes] = {}
        self._lease_ids = count(1)
        self._is_open = False
        self._opened_by = 0

    @property
    def durable(self) -> bool:
        """False: accepted conversions are lost with the process."""
        return False

    @property
    def shared(self) -> bool:
        """False: no other process can use it."""
        return False

    @property
    def capacity(self) -> int:
        """How many conversions may wait for each destination."""
        return self._capacity

    @property
    def capacity_bytes(self) -> int:
        """How many bytes the conversions that wait for each destination may take."""
        return self._capacity_bytes

    # Opening and closing

    def attach(self, max_attempts: int) -> None:
        """Begin to serve a client; see `ServesOneClient`."""
        if self._is_open:
            raise already_open_error("MemoryOutbox", self._opened_by)

    async def open(self, destinations: Sequence[str], *, from_start: Sequence[str] = ()) -> None:
        """Open it and register *destinations*; see `Outbox.open`."""
        self.attach(0)
        self._is_open, self._opened_by = True, os.getpid()
        for name in destinations:
            if name not in self._destinations:
                self._destinations[name] = self._register(name, at_start=name in from_start)

    def _register(self, name: str, *, at_start: bool) -> DestinationProgress:
        accepted = self._log.accepted_for(name)
        if not at_start:
            return DestinationProgress(start=self._log.end, passed=accepted)
        now = self._clock()
        in_log = self._log.count(name)
        progress = DestinationProgress(start=self._log.base, passed=accepted - in_log, since=now)
        # Payloads that an exception of another destination has kept are retries for the new one.
        progress.add_unsent(self._log.retained(name), 0, now, now)
        progress.extra_bytes = self._log.extra_bytes_for(name)
        return progress

    async def aclose(self) -> None:
        """Refuse further use; the contents stay, and `open` gives access again."""
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise not_open_error()

    # Destinations

    async def destinations(self) -> Sequence[str]:
        """Return every registered destination."""
        self._check_open()
        return tuple(self._destinations)

    async def forget(self, destination: str) -> None:
        """Remove a destination with its backlog, retries and dead letters."""
        self._check_open()
        if progress := self._destinations.pop(check_destination(destination), None):
            self._log.remote_ids.pop(destination, None)
            self._history.forget(destination)
            self._mark_reclaimable(progress.exceptions)

    def _progress(self, destination: str) -> DestinationProgress:
        self._check_open()
        progress = self._destinations.get(check_destination(destination))
        if progress is None:
            raise unknown_destination_error(destination)
        return progress

    # From append to settle

    async def append(
        self, conversions: Sequence[Conversion], destinations: Sequence[str] | None = None
    ) -> Sequence[AppendResult]:
        """Store *conversions* in one atomic step; see `Outbox.append`."""
        self._check_open()
        recipients = None if destinations is None else frozenset(destinations)
        large = large_conversions(conversions)
        # Cheap and nearly always enough: not even the whole log is as long as the capacity.
        is_short = self._log.stored + len(conversions) <= self._usual_capacity
        if not is_short or large or self._log.extra_bytes:
            self._room.check(conversions, recipients, large)
            self._shorten_log()
        results = self._log.extend(conversions, recipients, self._clock())
        if large:
            self._room.count_large(conversions, results, recipients, large)
        return results

    def _shorten_log(self) -> None:
        """Drop the oldest conversions of a log that a destination without progress keeps long.

        With a capacity of 10,000 and a destination that accepts nothing, the others may get any
        number of conversions addressed to them. From 20,000 on, or half of the capacity in bytes,
        the oldest 500 of the stuck destination are set aside at a time, as due retries, so that
        only waiting conversions use memory.
        """
        is_short = self._log.length < max(2 * self._capacity, _DROPPED_PER_STEP)
        if is_short and self._log.extra_bytes_in_log <= self._capacity_bytes // 2:
            return
        last, now = min(self._log.base + _DROPPED_PER_STEP, self._log.end), self._clock()
        for name, progress in self._destinations.items():
            progress.set_aside(self._log, name, last, now)
        self._drop(_DROPPED_PER_STEP, now)

    async def claim(self, destination: str, limit: int, lease: float) -> Claim:
        """Lease up to *limit* conversions for *lease* seconds; see `Outbox.claim`."""
        progress = self._progress(destination)
        now = self._clock()
        lease_id = next(self._lease_ids)
        builder = ClaimBuilder(self._log, destination, progress, limit=limit)
        entries = builder.build(lease_id, now)
        self._history.lose(destination, builder.lost)
        if not entries:
            return Claim(destination=destination, next_due=progress.next_due())
        builder.lease.until = now + lease
        progress.leases[lease_id] = builder.lease
        return Claim(
            destination=destination,
            lease_id=lease_id,
            entries=entries,
            large_bytes=builder.large_bytes,
        )

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Extend the lease to *lease* seconds from now; False if it was lost."""
        check_claim(claim)
        lease = check_seconds("lease", lease)
        if progress := self._leased(claim):
            progress.leases[claim.lease_id].until = self._clock() + lease
        return progress is not None

    async def settle(self, claim: Claim, failed: Sequence[FailedEntry] = ()) -> bool:
        """End *claim*; see `Outbox.settle`."""
        return await self.settle_with_ids(claim, failed, ())

    async def settle_with_ids(
        self, claim: Claim, failed: Sequence[FailedEntry], remote_ids: Sequence[str | None]
    ) -> bool:
        """End *claim* and keep the ids of its conversions; see `KeepsRemoteIds`."""
        check_claim(claim)
        check_remote_ids(remote_ids)
        failures = last_failures(claim, failed)
        if progress := self._leased(claim):
            if remote_ids:
                self._log.add_remote_ids(claim.destination, claim.entries.event_ids, remote_ids)
            now = self._clock()
            self._history.settle(claim, failures, now)
            if self._log.extra_bytes:
                self._subtract_large(progress, claim, failures)
            if retries := progress.settle(claim.lease_id, failures, now, self._date):
                self._mark_reclaimable(retries)
            pushed_out = failures and self._bound_dead(claim.destination, progress, failures)
            count = self._droppable()
            if count >= _DROPPED_PER_STEP or pushed_out or (count and self._log.extra_bytes_in_log):
                # Memory stays bounded even if `prune` is never called, and dropping is cheap while
                # the conversions are in the processor's cache. Large ones are dropped at once.
                self._drop(max(_DROPPED_PER_STEP, len(claim.entries)), now)
        return progress is not None

    def _subtract_large(
        self, progress: DestinationProgress, claim: Claim, failures: Sequence[FailedEntry]
    ) -> None:
        """Subtract the bytes of large conversions that no longer wait from those of *progress*."""
        retried = {failure.seq for failure in failures if failure.due is not None}
        ended = (seq for seq in claim.entries.seqs if seq not in retried)
        progress.extra_bytes -= self._log.extra_bytes_of(ended)

    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Return the whole *claim*, to be claimed again not before *due* (unix seconds)."""
        due = check_release(claim, due, counts_as_attempt)
        if progress := self._leased(claim):
            progress.release(claim.lease_id, due=due, counts_as_attempt=counts_as_attempt)
        return progress is not None

    def _leased(self, claim: Claim) -> DestinationProgress | None:
        """Return the progress of the claim's destination, or None if the lease was lost."""
        self._check_open()
        progress = self._destinations.get(claim.destination)
        return progress if progress and claim.lease_id in progress.leases else None

    # Reports

    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return event id → outcomes at its destinations; see `Outbox.reports`."""
        self._check_open()
        records = {event_id: self._log.find(event_id) for event_id in check_event_ids(event_ids)}
        return {
            event_id: reports.report(event_id, record, self._log, self._destinations)
            for event_id, record in records.items()
            if record is not None
        }

    async def summaries(self, event_ids: Sequence[str]) -> Mapping[str, str | None]:
        """Return event id → summary of its conversion; see `KeepsSummaries`."""
        self._check_open()
        return self._log.summaries(check_event_ids(event_ids))

    async def accepted(
        self, *, since: float, until: float | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, str]]:
        """Return positions and event ids of conversions accepted in a period: `ListsAccepted`."""
        self._check_open()
        after, limit = check_number("after", after), check_number("limit", limit)
        since, until = check_period(since, until)
        end = inf if until is None else until
        return self._log.accepted_between(since, end, after, limit)

    async def forgotten(self) -> int:
        """Return how many positions at the beginning of the log have no ids: `ListsAccepted`."""
        self._check_open()
        return self._log.forgotten

    async def undelivered(self, destination: str, *, limit: int = 1000) -> Sequence[str]:
        """Return ids of events neither delivered to *destination* nor dead, in log order."""
        progress, limit = self._progress(destination), check_number("limit", limit)
        return reports.undelivered(self._log, destination, progress, limit)

    async def depths(self) -> Mapping[str, Depth]:
        """Return destination → its depth."""
        self._check_open()
        now = self._clock()
        return {
            name: progress.depth(self._log.accepted_for(name), now)
            for name, progress in self._destinations.items()
        }

    async def oldest_ages(self) -> Mapping[str, float]:
        """Return destination → seconds since its oldest waiting conversion was accepted."""
        self._check_open()
        now, end = self._clock(), self._log.end
        oldest = {name: item.oldest_waiting(end) for name, item in self._destinations.items()}
        return {
            name: max(0.0, now - self._log.entry(seq).accepted_at)
            for name, seq in oldest.items()
            if seq is not None
        }

    async def delivered_counts(self) -> Mapping[str, int]:
        """Return destination → how many conversions it has received."""
        self._check_open()
        return {name: progress.delivered for name, progress in self._destinations.items()}

    # Checkpoints

    async def checkpoint(self, name: str) -> bytes | None:
        """Return the value last saved as *name*; see `KeepsCheckpoints`."""
        self._check_open()
        return self._checkpoints.get(check_checkpoint(name, None)[0])

    async def save_checkpoint(self, name: str, value: bytes | None) -> None:
        """Save *value* as *name*; None deletes it."""
        self._check_open()
        name, value = check_checkpoint(name, value)
        self._checkpoints.pop(name, None)
        if value is not None:
            self._checkpoints[name] = value

    # Retention

    async def prune(self, *, remember: float) -> int:
        """Drop payloads that every destination has, and old ids; see `Outbox.prune`."""
        self._check_open()
        remember = check_seconds("remember", remember)
        dropped = self._drop(_DROPPED_PER_STEP, self._clock())
        while self._droppable():
            dropped += self._drop(_DROPPED_PER_STEP, self._clock())
            await checkpoint()
        self._log.forget_ids(self._clock() - remember)
        self._history.prune(remember)
        return dropped

    def _droppable(self) -> int:
        """Return the length of the beginning of the log that only exceptions may still need."""
        positions = (progress.settled_upto() for progress in self._destinations.values())
        return max(min(positions, default=0) - self._log.base, 0)

    def _drop(self, limit: int, now: float) -> int:
        exceptions = [
            progress.exceptions for progress in self._destinations.values() if progress.exceptions
        ]
        reclaimed = 0
        if self._log.reclaimable:
            reclaimed = self._log.drop_reclaimable(exceptions, now)
        count = min(limit, self._droppable())
        self._history.count_accepted(self._log.base + count)
        return reclaimed + self._log.drop(count, exceptions, now)
