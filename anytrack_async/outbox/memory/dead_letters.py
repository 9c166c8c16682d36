"""Dead letters of a memory outbox: reading, replaying, discarding and correcting them, their bound.

The dead letters of a destination may take as many bytes as its waiting conversions. When they take
more, the oldest are discarded, and observers are told which: rejected conversions must not use up
all memory, and must not keep the destination from getting valid ones either.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.dead_letters import (
    Action,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStep,
    SearchPart,
)
from anytrack_async.outbox.memory import reports
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import DestinationProgress
from anytrack_async.outbox.memory.room import MemoryRoom
from anytrack_async.outbox.methods import (
    DeadLetterMethods,
    DeadLetterSelection,
    DeadLetterStepMethods,
)


class MemoryDeadLetters(DeadLetterMethods):
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

    async def _read_dead_letters(
        self, selection: DeadLetterSelection, after: int, limit: int
    ) -> Sequence[DeadLetter]:
        destinations = self._selected(selection.destination)
        selected = SearchPart(sorted(self._find_dead(destinations, selection, after)), None)
        return reports.dead_letters(self._log, destinations, selected.limited(limit, after).keys)

    async def _replay_selected(self, selection: DeadLetterSelection) -> int:
        destinations = self._selected(selection.destination)
        return self._replay_keys(destinations, [*self._find_dead(destinations, selection)])

    def _replay_keys(
        self, destinations: Mapping[str, DestinationProgress], keys: Sequence[tuple[int, str]]
    ) -> int:
        now = self._clock()
        for seq, name in keys:
            self._room.replay(destinations[name], seq, now)
        return len(keys)

    async def _discard_selected(self, selection: DeadLetterSelection) -> int:
        destinations = self._selected(selection.destination)
        return self._discard_keys(destinations, [*self._find_dead(destinations, selection)])

    def _discard_keys(
        self, destinations: Mapping[str, DestinationProgress], keys: Sequence[tuple[int, str]]
    ) -> int:
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
        selection: DeadLetterSelection,
        after: int = 0,
    ) -> Iterator[tuple[int, str]]:
        """Return position and destination of the selected dead letters."""
        seqs: set[int] | None = None
        if selection.event_ids is not None:
            records = map(self._log.find, selection.event_ids)
            # An id that is only remembered has no dead letter: that would have kept its payload.
            seqs = {record for record in records if isinstance(record, int)}
        return reports.find_dead(destinations, seqs, selection.where, after, self._clock())

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


_CHANGED_PER_STEP = 500
"""Dead letters that one step looks at: a millisecond or two, in which no other task runs."""


class MemoryDeadLetterSteps(MemoryDeadLetters, DeadLetterStepMethods):
    """Searches and changes the dead letters in memory step by step; see `SearchesDeadLetters`."""

    async def _names(self, destination: str | None) -> Sequence[str]:
        return [*self._selected(destination)]

    async def _search_dead(
        self, destination: str | None, where: DeadLetterFilter, after: int, limit: int, within: int
    ) -> DeadLetterPage:
        destinations = self._selected(destination)
        keys, end = self._part(destinations, where, after, within).limited(limit, after)
        letters = reports.dead_letters(self._log, destinations, keys)
        return DeadLetterPage(letters=letters, after=end)

    async def _count_dead(self, name: str, where: DeadLetterFilter, within: int) -> DeadLetterStep:
        keys, end = self._part(self._selected(name), where, 0, within)
        return DeadLetterStep(count=len(keys), after=end)

    async def _change_dead(
        self, action: Action, name: str, where: DeadLetterFilter, after: int
    ) -> DeadLetterStep:
        destinations = self._selected(name)
        keys, end = self._part(destinations, where, after, _CHANGED_PER_STEP)
        change = self._replay_keys if action == "replay" else self._discard_keys
        change(destinations, keys)
        return DeadLetterStep(count=len(keys), after=end)

    def _part(
        self,
        destinations: Mapping[str, DestinationProgress],
        where: DeadLetterFilter,
        after: int,
        within: int,
    ) -> SearchPart:
        """Look at *within* dead letters of each destination after a position."""
        now = self._clock()
        return SearchPart.merged(
            _search(name, progress, where, after, within, now)
            for name, progress in destinations.items()
        )


def _search(
    name: str,
    progress: DestinationProgress,
    where: DeadLetterFilter,
    after: int,
    within: int,
    now: float,
) -> SearchPart:
    seqs = nsmallest(within + 1, (seq for seq in progress.dead if seq > after))
    end = seqs[within - 1] if len(seqs) > within else None
    exceptions = progress.exceptions
    matching = [seq for seq in seqs[:within] if reports.matches(where, exceptions[seq], now)]
    return SearchPart([(seq, name) for seq in matching], end)
