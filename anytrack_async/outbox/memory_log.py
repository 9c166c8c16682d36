"""The log of a memory outbox: what was accepted, and which ids are remembered: `MemoryLog`."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from anytrack_async.models import Conversion
from anytrack_async.outbox.base import Appended, Entry
from anytrack_async.outbox.fingerprint import fingerprint

Mask: TypeAlias = frozenset[str] | None
"""Whom a conversion is for; None for everyone."""

_event_id = attrgetter("event_id")


class Held(NamedTuple):
    """What an exception holds of a log that was dropped up to beyond it."""

    entry: Entry
    mask: Mask


class Gone(NamedTuple):
    """What is remembered of a conversion that every destination has.

    Attributes:
        seq: its place in the log.
        mark: `fingerprint` of its content.
        mask: whom it was for.
        at: when it went, unix seconds.
    """

    seq: int
    mark: int
    mask: Mask
    at: float


class MemoryLog:
    """Conversions in the order they were accepted; places count from 1.

    Its columns are lists of plain values: an object for each conversion would cost more than all
    else, most of it in the garbage collector, which looks at objects and not at numbers.

    Args:
        remember_ids: how many ids of dropped conversions are remembered at most.

    Attributes:
        base: how many were dropped from its beginning.
        known: event id → its place, or what is remembered of it.
        loose: places at or before `base` that an exception held, and may not any more.
    """

    def __init__(self, remember_ids: int) -> None:
        self.base = 0
        self.known: dict[str, int | Gone] = {}
        self.loose: set[int] = set()
        self._remember_ids = remember_ids
        self._conversions: list[Conversion] = []
        self._masks: list[Mask] = []
        self._accepted: list[float] = []
        self._held: dict[int, Held] = {}
        self._same: dict[Mask, Mask] = {}
        self._gone: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._conversions) + len(self._held)

    @property
    def end(self) -> int:
        """The last place."""
        return self.base + len(self._conversions)

    # Taking in

    def extend(self, conversions: Sequence[Conversion], mask: Mask, now: float) -> list[Appended]:
        """Append what is new, and return what became of each."""
        mask = self._same.setdefault(mask, mask)  # a set for each would outweigh the ids
        if len(conversions) == 1:
            return [self._one(conversions[0].event_id, conversions[0], mask, now)]
        ids = list(map(_event_id, conversions))
        if len(set(ids)) == len(ids) and self.known.keys().isdisjoint(ids):
            self._append(ids, conversions, mask, now)
            return [Appended.NEW] * len(ids)
        return [self._one(*one, mask, now) for one in zip(ids, conversions, strict=True)]

    def _one(self, event_id: str, conversion: Conversion, mask: Mask, now: float) -> Appended:
        before = self.known.get(event_id)
        if before is None:
            self._conversions.append(conversion)
            self._masks.append(mask)
            self._accepted.append(now)
            self.known[event_id] = self.end
            return Appended.NEW
        mark = before.mark if isinstance(before, Gone) else fingerprint(self._at(before))
        return Appended.REPEAT if mark == fingerprint(conversion) else Appended.CONFLICT

    def _append(
        self, ids: Sequence[str], conversions: Sequence[Conversion], mask: Mask, now: float
    ) -> None:
        first = self.end + 1
        self.known.update(zip(ids, range(first, first + len(ids)), strict=True))
        self._conversions += conversions
        self._masks += repeat(mask, len(ids))
        self._accepted += repeat(now, len(ids))

    # Looking

    def _at(self, seq: int) -> Conversion:
        return self.entry(seq).conversion

    def entry(self, seq: int) -> Entry:
        """Return the entry at *seq*."""
        return self._slice(seq, seq)[0] if seq > self.base else self._held[seq].entry

    def mask(self, seq: int) -> Mask:
        """Return whom the conversion at *seq* is for."""
        return self._masks[seq - self.base - 1] if seq > self.base else self._held[seq].mask

    def scan(self, name: str, first: int, last: int, limit: int) -> tuple[list[Entry], int]:
        """Return up to *limit* entries for *name* between two places, and the last one seen."""
        masks = self._masks[first - self.base - 1 : min(first + limit - 1, last) - self.base]
        if all(mask is None or name in mask for mask in set(masks)):
            entries = self._slice(first, min(first + limit - 1, last))
            return entries, first + len(entries) - 1
        return self._pick(name, first, last, limit)

    def _pick(self, name: str, first: int, last: int, limit: int) -> tuple[list[Entry], int]:
        found: list[int] = []
        for seq in range(first, last + 1):
            mask = self._masks[seq - self.base - 1]
            if mask is None or name in mask:
                found.append(seq)
                if len(found) == limit:
                    last = seq
                    break
        return [self.entry(seq) for seq in found], last

    def _slice(self, first: int, last: int) -> list[Entry]:
        start, stop = first - self.base - 1, last - self.base
        conversions, accepted = self._conversions[start:stop], self._accepted[start:stop]
        places = range(first, last + 1)
        return list(map(Entry, places, conversions, repeat(0), accepted))

    def held(self, name: str) -> list[int]:
        """Return the places for *name* that exceptions hold at or before `base`, in order."""
        held = sorted(self._held.items())
        return [seq for seq, one in held if one.mask is None or name in one.mask]

    # Dropping

    def drop(self, count: int, holders: Sequence[Container[int]], now: float) -> int:
        """Drop *count* from the beginning, but for what *holders* hold; return how many."""
        count = min(count, len(self._conversions))
        places = range(self.base + 1, self.base + count + 1)
        kept = self._hold(places, holders) if holders else 0
        passed = zip(places, self._conversions[:count], self._masks[:count], strict=True)
        del self._conversions[:count], self._masks[:count], self._accepted[:count]
        self.base += count
        self._remember([one for one in passed if one[0] not in self._held] if kept else passed, now)
        return count - kept

    def _hold(self, seqs: Iterable[int], holders: Sequence[Container[int]]) -> int:
        held = [seq for seq in seqs if any(seq in holder for holder in holders)]
        self._held.update((seq, Held(self.entry(seq), self.mask(seq))) for seq in held)
        return len(held)

    def drop_loose(self, holders: Sequence[Container[int]], now: float) -> int:
        """Drop what no exception holds any more; return how many."""
        loose, self.loose = self.loose, set()
        free = [
            (seq, self._held[seq].entry.conversion, self._held.pop(seq).mask)
            for seq in loose
            if seq in self._held and not any(seq in holder for holder in holders)
        ]
        self._remember(free, now)
        return len(free)

    def _remember(self, dropped: Iterable[tuple[int, Conversion, Mask]], now: float) -> None:
        gone = {
            conversion.event_id: Gone(seq, fingerprint(conversion), mask, now)
            for seq, conversion, mask in dropped
        }
        self.known |= gone
        self._gone += gone
        while len(self._gone) > self._remember_ids:
            del self.known[self._gone.popleft()]

    def forget_ids(self, before: float) -> None:
        """Forget the ids of what went at or *before* a moment, unix seconds."""
        while self._gone:
            gone = self.known[self._gone[0]]
            if isinstance(gone, Gone) and gone.at > before:
                return
            del self.known[self._gone.popleft()]
