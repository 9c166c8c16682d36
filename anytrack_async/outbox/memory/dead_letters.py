"""Dead letters of a memory outbox: reading, replaying, discarding and correcting them, their bound.

They have as many bytes for each destination as conversions that wait. When there are more, the
oldest are discarded, and observers are told which: what a destination rejects must not use up all
memory, and must not keep the destination from getting what is good either.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.checks import check_event_ids, check_number
from anytrack_async.outbox.dead_letters import ALL, DeadLetter, DeadLetterFilter
from anytrack_async.outbox.memory import reports
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import DestinationProgress
from anytrack_async.outbox.memory.room import MemoryRoom


class MemoryDeadLetters:
    """The part of `MemoryOutbox` that is about dead letters."""

    _log: MemoryLog
    _destinations: dict[str, DestinationProgress]
    _room: MemoryRoom
    _remember_ids: int
    _clock: Callable[[], float]

    def __init__(self) -> None:
        self._pushed_out: dict[str, list[str]] = {}

    @abstractmethod
    def _check_open(self) -> None: ...

    @abstractmethod
    def _progress(self, destination: str) -> DestinationProgress: ...

    def _mark_reclaimable(self, seqs: Iterable[int]) -> None:
        self._log.reclaimable.update(seq for seq in seqs if seq <= self._log.base)

    async def dead_letters(
        self,
        destination: str | None = None,
        *,
        event_ids: Sequence[str] | None = None,
        where: DeadLetterFilter | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[DeadLetter]:
        """Return dead letters in log order; see `Outbox.dead_letters`."""
        after, limit = check_number("after", after), check_number("limit", limit)
        destinations = self._selected(destination)
        keys = self._find_dead(destinations, event_ids, where, after)
        return reports.dead_letters(self._log, destinations, keys, limit)

    async def replay(
        self,
        destination: str | None,
        event_ids: Sequence[str] | None = None,
        *,
        where: DeadLetterFilter | None = None,
    ) -> int:
        """Make dead letters due now with 0 attempts; see `Outbox.replay`."""
        destinations, now = self._selected(destination), self._clock()
        keys = [*self._find_dead(destinations, event_ids, where)]
        for seq, name in keys:
            self._room.replay(destinations[name], seq, now)
        return len(keys)

    async def discard(
        self,
        destination: str | None,
        event_ids: Sequence[str] | None = None,
        *,
        where: DeadLetterFilter | None = None,
    ) -> int:
        """Give up dead letters for good; see `Outbox.discard`."""
        destinations = self._selected(destination)
        keys = [*self._find_dead(destinations, event_ids, where)]
        for seq, name in keys:
            self._room.discard(destinations[name], seq, self._remember_ids)
        self._mark_reclaimable(seq for seq, _ in keys)
        return len(keys)

    async def correct(self, conversion: Conversion) -> Sequence[str]:
        """Replace a stored conversion and replay it where it is dead; see `Outbox.correct`."""
        self._check_open()
        seq, now = self._log.find(conversion.event_id), self._clock()
        if not isinstance(seq, int):
            return []
        names = [name for name, progress in self._destinations.items() if progress.is_dead(seq)]
        if names:
            self._room.replace(seq, conversion)
        for name in names:
            self._room.replay(self._destinations[name], seq, now)
        return names

    def _selected(self, destination: str | None) -> Mapping[str, DestinationProgress]:
        self._check_open()
        if destination is None:
            return self._destinations
        return {destination: self._progress(destination)}

    def _find_dead(
        self,
        destinations: Mapping[str, DestinationProgress],
        event_ids: Sequence[str] | None,
        where: DeadLetterFilter | None,
        after: int = 0,
    ) -> Iterator[tuple[int, str]]:
        """Return position and destination of the dead letters that the arguments select."""
        seqs: set[int] | None = None
        if event_ids is not None:
            records = map(self._log.find, check_event_ids(event_ids))
            # An id that is only remembered has no dead letter: that would have kept its payload.
            seqs = {record for record in records if isinstance(record, int)}
        return reports.find_dead(destinations, seqs, where or ALL, after, self._clock())

    # Bound

    def _bound_dead(
        self, name: str, progress: DestinationProgress, failures: Sequence[FailedEntry]
    ) -> bool:
        """Count the dead ones among new *failures*; discard the oldest without room, if any."""
        dead = (failure.seq for failure in failures if failure.due is None)
        seqs = self._room.count_dead(progress, dead)
        if seqs:
            event_ids = [self._log.entry(seq).conversion.event_id for seq in seqs]
            self._pushed_out.setdefault(name, []).extend(event_ids)
            for seq in seqs:
                self._room.discard(progress, seq, self._remember_ids)
            self._mark_reclaimable(seqs)
        return bool(seqs)

    def take_pushed_out(self) -> Mapping[str, Sequence[str]]:
        """Return the dead letters discarded for want of room; see `BoundsDeadLetters`."""
        pushed_out, self._pushed_out = self._pushed_out, {}
        return pushed_out
