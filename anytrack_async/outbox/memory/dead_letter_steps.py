"""The part of `MemoryOutbox` that searches and changes dead letters in parts of a bounded size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nsmallest

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
from anytrack_async.outbox.methods import DeadLetterStepMethods

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
