"""Erasing a person's data from a memory outbox."""

from __future__ import annotations

from collections.abc import Callable

from anyio.lowlevel import checkpoint

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.capabilities import ErasedConversion, Erasure
from anytrack_async.outbox.memory.history import MemoryHistory
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import DestinationProgress
from anytrack_async.outbox.memory.room import MemoryRoom

_AT_ONCE = 500
"""Conversions that are looked at in one go, in about a millisecond."""

_REASONS_AT_ONCE = 50
"""Reasons that are searched in one go, in about a millisecond, and six if they are long."""


class MemoryErasing:
    """The part of `MemoryOutbox` that erases a person's data."""

    _log: MemoryLog
    _history: MemoryHistory
    _room: MemoryRoom
    _destinations: dict[str, DestinationProgress]

    def _check_open(self) -> None:
        raise NotImplementedError

    async def erase(self, erase: Callable[[Conversion], Conversion | None]) -> Erasure:
        """Replace each stored conversion of a person; see `ErasesCustomers`."""
        self._check_open()
        erased: list[ErasedConversion] = []
        for number, seq in enumerate(self._log.stored_positions(), 1):
            if number % _AT_ONCE == 0:
                await checkpoint()
            if self._log.has_payload(seq):  # else it was dropped in the meantime
                original = self._log.entry(seq).conversion
                if (replacement := erase(original)) is not None:
                    self._room.replace(seq, replacement)
                    erased.append(self._erased(seq, original))
        return Erasure(conversions=tuple(erased))

    async def empty_reasons(self, matches: Callable[[str], bool]) -> int:
        """Empty reasons of failures; see `EmptiesReasons`."""
        self._check_open()
        reasons = self._history.reasons()
        for progress in self._destinations.values():
            reasons |= progress.reasons()
        matching: set[str] = set()
        for number, reason in enumerate(reasons, 1):
            if number % _REASONS_AT_ONCE == 0:
                await checkpoint()
            if matches(reason):
                matching.add(reason)
        count = self._history.empty_reasons(matching)
        return count + sum(
            progress.empty_reasons(matching) for progress in self._destinations.values()
        )

    def _erased(self, seq: int, original: Conversion) -> ErasedConversion:
        for progress in self._destinations.values():
            progress.empty_errors(seq)
        self._history.empty_errors(original.event_id)
        in_flight = [name for name, item in self._destinations.items() if item.is_leased(seq)]
        return ErasedConversion(
            event_id=original.event_id, order_id=original.order_id, in_flight=tuple(in_flight)
        )
