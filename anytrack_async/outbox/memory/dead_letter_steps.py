"""The part of `MemoryOutbox` that searches and changes dead letters in parts of a bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest

from anytrack_async.outbox.checks import check_destination, check_number
from anytrack_async.outbox.dead_letters import (
    Action,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStep,
    SearchPart,
)
from anytrack_async.outbox.memory import reports
from anytrack_async.outbox.memory.dead_letters import MemoryDeadLetters
from anytrack_async.outbox.memory.progress import DestinationProgress

_CHANGED_PER_STEP = 500
"""Dead letters that one step looks at: a millisecond or two, in which no other task runs."""


class MemoryDeadLetterSteps(MemoryDeadLetters):
    """Searches and changes the dead letters in memory step by step; see `SearchesDeadLetters`."""

    async def search_dead_letters(
        self,
        destination: str | None,
        where: DeadLetterFilter,
        *,
        after: int = 0,
        limit: int = 100,
        within: int = 5_000,
    ) -> DeadLetterPage:
        """Return dead letters that fulfil a condition; see `SearchesDeadLetters`."""
        destinations, after = self._searched(destination), check_number("after", after)
        part = self._part(destinations, where, after, within)
        keys, end = part.limited(check_number("limit", limit), after)
        letters = reports.dead_letters(self._log, destinations, keys)
        return DeadLetterPage(letters=letters, after=end)

    async def count_dead_letters(
        self, destination: str | None, where: DeadLetterFilter, *, within: int = 5_000
    ) -> DeadLetterStep:
        """Return how many of the first dead letters fulfil a condition."""
        count, ends = 0, list[int]()
        for name, progress in self._searched(destination).items():
            keys, end = self._part({name: progress}, where, 0, within)
            count += len(keys)
            ends += [] if end is None else [end]
        return DeadLetterStep(count=count, after=min(ends, default=None))

    async def change_dead_letters(
        self, action: Action, destination: str, where: DeadLetterFilter, *, after: int = 0
    ) -> DeadLetterStep:
        """Replay or discard some dead letters after a position."""
        destinations, after = self._searched(destination), check_number("after", after)
        keys, end = self._part(destinations, where, after, _CHANGED_PER_STEP)
        change = self._replay_keys if action == "replay" else self._discard_keys
        change(destinations, keys)
        return DeadLetterStep(count=len(keys), after=end)

    def _searched(self, destination: str | None) -> Mapping[str, DestinationProgress]:
        return self._selected(None if destination is None else check_destination(destination))

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
