"""The log of a memory outbox: what was accepted, and which ids are remembered: `MemoryLog`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import compress, repeat
from operator import attrgetter, neg
from typing import NamedTuple

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, Entries, Entry
from anytrack_async.outbox.memory.fingerprint import fingerprint
from anytrack_async.outbox.memory.remembered import Gone, Mask, Past

_event_id = attrgetter("event_id")


class Held(NamedTuple):
    """What an exception holds of a log that was dropped up to beyond it."""

    entry: Entry
    mask: Mask


class MemoryLog:
    """Conversions in the order they were accepted; places count from 1.

    Its columns are lists of plain values: an object for each conversion would cost more than all
    else, most of it in the garbage collector, which looks at objects and not at numbers.

    Args:
        remember_ids: how many ids of dropped conversions are remembered at most.

    Attributes:
        base: how many were dropped from its beginning.
        known: event id → its place; less than 0 once it is gone, minus its number in the past.
        loose: places at or before `base` that an exception held, and may not any more.
    """

    def __init__(self, remember_ids: int) -> None:
        self.base = 0
        self.known: dict[str, int] = {}
        self.loose: set[int] = set()
        self._conversions: list[Conversion] = []
        self._masks: list[Mask] = []
        self._accepted: list[float] = []
        self._held: dict[int, Held] = {}
        self._same: dict[Mask, Mask] = {}
        self._past = Past(remember_ids)

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
        mark = self._past.mark(-before) if before < 0 else fingerprint(self._at(before))
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

    def find(self, event_id: str) -> Gone | int | None:
        """Return the place of a conversion, or what is remembered of it; None if nothing is."""
        known = self.known.get(event_id)
        return self._past.gone(-known) if known is not None and known < 0 else known

    def scan(self, name: str, first: int, last: int, limit: int) -> tuple[Entries, int]:
        """Return up to *limit* entries for *name* between two places, and the last one seen."""
        masks = self._masks[first - self.base - 1 : min(first + limit - 1, last) - self.base]
        if all(mask is None or name in mask for mask in set(masks)):
            entries = self._slice(first, min(first + limit - 1, last))
            return entries, first + len(entries) - 1
        return self._pick(name, first, last, limit)

    def _pick(self, name: str, first: int, last: int, limit: int) -> tuple[Entries, int]:
        found: list[int] = []
        for seq in range(first, last + 1):
            mask = self._masks[seq - self.base - 1]
            if mask is None or name in mask:
                found.append(seq)
                if len(found) == limit:
                    last = seq
                    break
        rows = [seq - self.base - 1 for seq in found]
        return Entries(
            seqs=found,
            conversions=[self._conversions[row] for row in rows],
            attempts=[0] * len(found),
            accepted_at=[self._accepted[row] for row in rows],
        ), last

    def _slice(self, first: int, last: int) -> Entries:
        start, stop = first - self.base - 1, last - self.base
        conversions = self._conversions[start:stop]
        return Entries(
            seqs=range(first, first + len(conversions)),
            conversions=conversions,
            attempts=[0] * len(conversions),
            accepted_at=self._accepted[start:stop],
        )

    def held(self, name: str) -> list[int]:
        """Return the places for *name* that exceptions hold at or before `base`, in order."""
        held = sorted(self._held.items())
        return [seq for seq, one in held if one.mask is None or name in one.mask]

    # Dropping

    def drop(self, count: int, holders: Sequence[Container[int]], now: float) -> int:
        """Drop *count* from the beginning, but for what *holders* hold; return how many."""
        count = min(count, len(self._conversions))
        seqs: Sequence[int] = range(self.base + 1, self.base + count + 1)
        kept = self._hold(seqs, holders) if holders else 0
        conversions, masks = self._conversions[:count], self._masks[:count]
        if kept:
            free = [seq not in self._held for seq in seqs]
            seqs = list(compress(seqs, free))
            conversions, masks = list(compress(conversions, free)), list(compress(masks, free))
        del self._conversions[:count], self._masks[:count], self._accepted[:count]
        self.base += count
        self._remember(seqs, conversions, masks, now)
        return count - kept

    def _hold(self, seqs: Iterable[int], holders: Sequence[Container[int]]) -> int:
        held = [seq for seq in seqs if any(seq in holder for holder in holders)]
        self._held.update((seq, Held(self.entry(seq), self.mask(seq))) for seq in held)
        return len(held)

    def drop_loose(self, holders: Sequence[Container[int]], now: float) -> int:
        """Drop what no exception holds any more; return how many."""
        loose, self.loose = self.loose, set()
        free = {
            seq: self._held.pop(seq)
            for seq in loose
            if seq in self._held and not any(seq in holder for holder in holders)
        }
        conversions = [held.entry.conversion for held in free.values()]
        self._remember([*free], conversions, [held.mask for held in free.values()], now)
        return len(free)

    def _remember(
        self,
        seqs: Sequence[int],
        conversions: Sequence[Conversion],
        masks: Sequence[Mask],
        now: float,
    ) -> None:
        ids = list(map(_event_id, conversions))
        numbers = self._past.add(ids, map(fingerprint, conversions), seqs, masks, now)
        self.known.update(zip(ids, map(neg, numbers), strict=True))
        self._forget(self._past.forget_excess())

    def forget_ids(self, before: float) -> None:
        """Forget the ids of what went at or *before* a moment, unix seconds."""
        self._forget(self._past.forget_until(before))

    def _forget(self, ids: Iterable[str]) -> None:
        for event_id in ids:
            del self.known[event_id]
