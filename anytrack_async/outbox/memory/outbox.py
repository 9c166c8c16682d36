"""An outbox that lives as long as its process: `MemoryOutbox`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from anyio.lowlevel import checkpoint

from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.base import (
    Appended,
    Claim,
    DeadLetter,
    Depth,
    FailedEntry,
    last_failures,
    not_open_error,
    queue_full_error,
    unknown_destination_error,
)
from anytrack_async.outbox.memory.claim import Taking
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import Progress
from anytrack_async.outbox.memory.remembered import Gone
from anytrack_async.outbox.memory.reports import page_of_dead_letters, report, undelivered

_STEP = 500


class MemoryOutbox:
    """Keeps conversions in memory: nothing to set up, nothing survives the process.

    It keeps the objects it is given and neither copies nor encodes them. For one event loop. Apart
    from `prune`, which lets others run between its steps, no method yields to the event loop: each
    is one indivisible step, and a task that is cancelled meanwhile notices at its next ``await``.

    Args:
        capacity: how many conversions may wait for the slowest destination.
        remember_ids: how many ids of delivered conversions are remembered at most.
        clock: unix seconds.
    """

    def __init__(
        self,
        capacity: int = 10_000,
        remember_ids: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._capacity = capacity
        self._clock = clock
        self._log = MemoryLog(remember_ids)
        self._progress: dict[str, Progress] = {}
        self._lease_ids = count(1)
        self._is_open = False

    @property
    def durable(self) -> bool:
        """False: what is accepted is gone with the process."""
        return False

    @property
    def shared(self) -> bool:
        """False: no other process can see it."""
        return False

    @property
    def capacity(self) -> int:
        """How many conversions may wait for the slowest destination."""
        return self._capacity

    async def open(self, destinations: Sequence[str], *, from_start: Sequence[str] = ()) -> None:
        """Get ready and register *destinations*; see `Outbox.open`."""
        self._is_open = True
        for name in destinations:
            if name not in self._progress:
                self._progress[name] = self._join(name, at_start=name in from_start)

    def _join(self, name: str, *, at_start: bool) -> Progress:
        if not at_start:
            return Progress(start=self._log.end)
        now = self._clock()
        progress = Progress(start=self._log.base, since=now)
        for seq in self._log.held(name):
            progress.keep(FailedEntry(seq=seq, attempts=0, error="", due=now), now)
        return progress

    async def destinations(self) -> Sequence[str]:
        """Return every destination registered."""
        self._check_open()
        return tuple(self._progress)

    async def forget(self, destination: str) -> None:
        """Drop a destination with its backlog, retries and dead letters."""
        self._check_open()
        if gone := self._progress.pop(destination, None):
            self._log.loose.update(seq for seq in gone.exceptions if seq <= self._log.base)

    async def append(
        self, conversions: Sequence[Conversion], destinations: Sequence[str] | None = None
    ) -> Sequence[Appended]:
        """Take *conversions*, all in one step; see `Outbox.append`."""
        self._check_open()
        self._check_room(conversions)
        mask = None if destinations is None else frozenset(destinations)
        return self._log.extend(conversions, mask, self._clock())

    def _check_room(self, conversions: Sequence[Conversion]) -> None:
        if len(self._log) + len(conversions) <= self._capacity:
            return
        waiting, slowest = self._backlog()
        if self._are_more_than(self._capacity - waiting, conversions):
            raise queue_full_error(self._capacity, waiting, slowest, len(conversions))

    def _are_more_than(self, room: int, conversions: Sequence[Conversion]) -> bool:
        """Tell whether more of *conversions* than *room* are new: those who wait ask often."""
        new: set[str] = set()
        for one in conversions:
            if one.event_id not in self._log.known:
                new.add(one.event_id)
                if len(new) > room:
                    return True
        return False

    def _backlog(self) -> tuple[int, str]:
        """Return how many wait for the slowest destination, and its name."""
        end = self._log.end
        waiting = [(end - one.cursor + one.behind, name) for name, one in self._progress.items()]
        return max(waiting) if waiting else (self._log.end - self._log.base, "")

    async def claim(self, destination: str, limit: int, lease: float) -> Claim:
        """Lease up to *limit* conversions for *lease* seconds; see `Outbox.claim`."""
        progress = self._of(destination)
        now = self._clock()
        lease_id = next(self._lease_ids)
        taking = Taking(self._log, destination, progress, limit=limit)
        entries = taking.collect(lease_id, now)
        if not entries:
            return Claim(destination=destination, next_due=progress.next_due())
        taking.lease.until = now + lease
        progress.leases[lease_id] = taking.lease
        return Claim(destination=destination, lease_id=lease_id, entries=entries)

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Extend the lease to *lease* seconds from now; False if it was lost."""
        if progress := self._holder(claim):
            progress.leases[claim.lease_id].until = self._clock() + lease
        return progress is not None

    async def settle(self, claim: Claim, failed: Sequence[FailedEntry] = ()) -> bool:
        """End *claim*; see `Outbox.settle`."""
        kept = last_failures(claim, failed)
        if progress := self._holder(claim):
            now = self._clock()
            retries = progress.settle(claim.lease_id, kept, now)
            self._log.loose.update(seq for seq in retries if seq <= self._log.base)
            if self._done() >= _STEP:
                # Nobody needs to prune in time. It is cheap while the processor still has them.
                self._drop(max(_STEP, len(claim.entries)), now)
        return progress is not None

    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Give the whole *claim* back, to be claimed again not before *due* (unix seconds)."""
        if progress := self._holder(claim):
            progress.release(claim.lease_id, due=due, counts_as_attempt=counts_as_attempt)
        return progress is not None

    def _holder(self, claim: Claim) -> Progress | None:
        """Return the progress that still knows the lease of *claim*."""
        self._check_open()
        progress = self._progress.get(claim.destination)
        return progress if progress and claim.lease_id in progress.leases else None

    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return how each known one of *event_ids* stands; see `Outbox.reports`."""
        self._check_open()
        known = {one: found for one in event_ids if (found := self._log.find(one))}
        return {one: report(one, found, self._log, self._progress) for one, found in known.items()}

    async def undelivered(self, destination: str, *, limit: int = 1000) -> Sequence[str]:
        """Return event ids that *destination* neither has nor refused, in log order."""
        return undelivered(self._log, destination, self._of(destination), limit)

    async def depths(self) -> Mapping[str, Depth]:
        """Return destination → how much it has not got."""
        self._check_open()
        end, now = self._log.end, self._clock()
        return {name: progress.depth(end, now) for name, progress in self._progress.items()}

    async def dead_letters(
        self, destination: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters by `seq`, from beyond *after*; see `Outbox.dead_letters`."""
        self._check_open()
        chosen = self._progress if destination is None else {destination: self._of(destination)}
        return page_of_dead_letters(self._log, chosen, after, limit)

    async def replay(self, destination: str, event_ids: Sequence[str] | None = None) -> int:
        """Make dead letters due now with attempts from 0; return how many."""
        progress, now = self._of(destination), self._clock()
        if event_ids is None:
            seqs = list(progress.exceptions)
        else:
            known = map(self._log.find, event_ids)
            seqs = [one.seq if isinstance(one, Gone) else one for one in known if one]
        return sum(progress.revive(seq, now) for seq in seqs)

    async def prune(self, *, remember: float) -> int:
        """Drop what every destination has, in steps, and ids older than *remember* seconds."""
        self._check_open()
        dropped = self._drop(_STEP, self._clock())
        while self._done():
            dropped += self._drop(_STEP, self._clock())
            await checkpoint()
        self._log.forget_ids(self._clock() - remember)
        return dropped

    def _done(self) -> int:
        """Return how many entries from the beginning hold nobody up."""
        slowest = min((one.position() for one in self._progress.values()), default=0)
        return max(slowest - self._log.base, 0)

    def _drop(self, most: int, now: float) -> int:
        holders = [one.exceptions for one in self._progress.values() if one.exceptions]
        freed = self._log.drop_loose(holders, now) if self._log.loose else 0
        return freed + self._log.drop(min(most, self._done()), holders, now)

    async def aclose(self) -> None:
        """Refuse further use; what it holds stays, and `open` gives access again."""
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise not_open_error()

    def _of(self, destination: str) -> Progress:
        self._check_open()
        progress = self._progress.get(destination)
        if progress is None:
            raise unknown_destination_error(destination)
        return progress
