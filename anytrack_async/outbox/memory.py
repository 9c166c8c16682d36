"""An outbox that lives as long as its process: `MemoryOutbox`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.errors import OutboxError, QueueFullError
from anytrack_async.models import Conversion, Outcome, Report, Status
from anytrack_async.outbox.base import (
    Appended,
    Claim,
    DeadLetter,
    Depth,
    Entry,
    Setback,
)
from anytrack_async.outbox.full import queue_full
from anytrack_async.outbox.memory_log import Gone, MemoryLog
from anytrack_async.outbox.progress import Lease, Progress, Span

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
        remember_ids: int = 50_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._capacity = capacity
        self._remember_ids = remember_ids
        self._clock = clock
        self._log = MemoryLog()
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
            progress.keep(Setback(seq=seq, attempts=0, error="", due=now), now)
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

    async def aclose(self) -> None:
        """Refuse further use; what it holds stays, and `open` gives access again."""
        self._is_open = False

    # Accepting

    async def append(
        self, conversions: Sequence[Conversion], destinations: Sequence[str] | None = None
    ) -> Sequence[Appended]:
        """Take *conversions*, all in one step; see `Outbox.append`."""
        self._check_open()
        self._check_room(conversions)
        mask = None if destinations is None else frozenset(destinations)
        now = self._clock()
        answers = self._log.extend(conversions, mask, now)
        if len(self._log) > self._capacity + _STEP:
            self._drop(2 * len(conversions) + _STEP // 5, now)
        return answers

    def _check_room(self, conversions: Sequence[Conversion]) -> None:
        waiting, slowest = self._backlog()
        room = self._capacity - waiting
        if len(conversions) <= room:
            return
        new = {one.event_id for one in conversions} - self._log.known.keys()
        if len(new) > room:
            raise queue_full(self._capacity, waiting, slowest, len(new))

    def _backlog(self) -> tuple[int, str | None]:
        """Return how many wait for the slowest destination, and its name."""
        end = self._log.end
        waiting = [(end - one.cursor + one.behind, name) for name, one in self._progress.items()]
        return max(waiting) if waiting else (len(self._log), None)

    # Handing out

    async def claim(self, destination: str, limit: int, lease: float) -> Claim:
        """Lease up to *limit* conversions for *lease* seconds; see `Outbox.claim`."""
        progress = self._of(destination)
        now = self._clock()
        lease_id = next(self._lease_ids)
        taken = Lease(until=now + lease)
        entries: list[Entry] = []
        while len(entries) < limit:
            self._take_again(destination, lease_id, taken, entries, limit, now)
            if len(entries) == limit or not progress.expire_one(now):
                break
        mixed = bool(entries)
        self._take_new(destination, taken, entries, limit)
        if not entries:
            return Claim(destination=destination, next_due=progress.next_due())
        progress.leases[lease_id] = taken
        if mixed:
            entries.sort(key=lambda entry: entry.seq)
        return Claim(destination=destination, lease_id=lease_id, entries=tuple(entries))

    def _take_again(
        self,
        name: str,
        lease_id: int,
        taken: Lease,
        entries: list[Entry],
        limit: int,
        now: float,
    ) -> None:
        progress = self._progress[name]
        for seq in progress.due_retries(lease_id, limit - len(entries), now):
            taken.retries.append(seq)
            attempts = progress.exceptions[seq].setback.attempts
            entries.append(attrs.evolve(self._log.entry(seq), attempts=attempts))
        for span in progress.due_spans(now) if progress.released else ():
            if len(entries) == limit:
                return
            entries += self._take_span(name, span, taken, limit - len(entries))

    def _take_span(self, name: str, span: Span, taken: Lease, room: int) -> list[Entry]:
        entries, last = self._log.scan(name, span.first, span.last, room)
        if len(entries) == span.size:
            self._progress[name].released.remove(span)
            taken.spans.append(span)
        else:
            taken.spans.append(attrs.evolve(span, last=last, size=len(entries)))
            span.first = last + 1
            span.size -= len(entries)
        if not span.attempts:
            return entries
        return [attrs.evolve(entry, attempts=span.attempts) for entry in entries]

    def _take_new(self, name: str, taken: Lease, entries: list[Entry], limit: int) -> None:
        progress, end, room = self._progress[name], self._log.end, limit - len(entries)
        if room <= 0 or progress.cursor == end:
            return
        new, progress.cursor = self._log.scan(name, progress.cursor + 1, end, room)
        if new:
            taken.spans.append(Span(first=new[0].seq, last=new[-1].seq, size=len(new)))
            progress.behind += len(new)
            entries += new
