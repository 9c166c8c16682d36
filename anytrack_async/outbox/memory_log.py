"""The log of a memory outbox: what was accepted, and which ids are remembered: `MemoryLog`."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from anytrack_async.models import Conversion
from anytrack_async.outbox.base import Appended, Entry
from anytrack_async.outbox.fingerprint import fingerprint


class Gone(NamedTuple):
    """What is remembered of a conversion that every destination has.

    Attributes:
        seq: its place in the log.
        mark: `fingerprint` of its content.
        mask: whom it was for; None for everyone.
        at: when it went, unix seconds.
    """

    seq: int
    mark: int
    mask: frozenset[str] | None
    at: float


class MemoryLog:
    """Conversions in the order they were accepted; places count from 1.

    Args:
        remember_ids: how many ids of dropped conversions are remembered at most.

    Attributes:
        base: how many were dropped from its beginning.
        known: event id → the entry, or what is remembered of it.
        loose: places at or before `base` that an exception held, and may not any more.
    """

    def __init__(self, remember_ids: int) -> None:
        self.base = 0
        self.known: dict[str, Entry | Gone] = {}
        self.loose: set[int] = set()
        self._remember_ids = remember_ids
        self._entries: list[Entry] = []
        self._held: dict[int, Entry] = {}
        self._masks: dict[int, frozenset[str]] = {}
        self._same: dict[frozenset[str], frozenset[str]] = {}
        self._gone: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def end(self) -> int:
        """The last place."""
        return self.base + len(self._entries)

    def extend(
        self, conversions: Iterable[Conversion], mask: frozenset[str] | None, now: float
    ) -> list[Appended]:
        """Append what is new, and return what became of each."""
        known, entries, seq = self.known, self._entries, self.end
        answers = []
        if mask is not None:
            mask = self._same.setdefault(mask, mask)  # a set for each would outweigh the ids
        for conversion in conversions:
            before = known.get(conversion.event_id)
            if before is not None:
                answers.append(_compare(before, conversion))
                continue
            seq += 1
            entry = Entry(seq=seq, conversion=conversion, attempts=0, accepted_at=now)
            known[conversion.event_id] = entry
            entries.append(entry)
            answers.append(Appended.NEW)
            if mask is not None:
                self._masks[seq] = mask
        return answers

    def entry(self, seq: int) -> Entry:
        """Return the entry at *seq*."""
        return self._entries[seq - self.base - 1] if seq > self.base else self._held[seq]

    def mask(self, seq: int) -> frozenset[str] | None:
        """Return whom the entry at *seq* is for; None for everyone."""
        return self._masks.get(seq)

    def scan(self, name: str, first: int, last: int, limit: int) -> tuple[list[Entry], int]:
        """Return up to *limit* entries for *name* between two places, and the last one seen."""
        start = first - self.base - 1
        if not self._masks:
            entries = self._entries[start : min(start + limit, last - self.base)]
            return entries, first + len(entries) - 1
        found: list[Entry] = []
        for at in range(start, last - self.base):
            mask = self._masks.get(at + self.base + 1)
            if mask is None or name in mask:
                found.append(self._entries[at])
                if len(found) == limit:
                    return found, found[-1].seq
        return found, last

    def held(self, name: str) -> list[int]:
        """Return the places for *name* that exceptions hold at or before `base`, in order."""
        return [seq for seq in sorted(self._held) if name in self._masks.get(seq, (name,))]

    # Dropping

    def drop(self, count: int, holders: Sequence[Container[int]], now: float) -> int:
        """Drop *count* entries from the beginning, but for what *holders* hold; return how many."""
        passed = self._entries[:count]
        del self._entries[:count]
        self.base += len(passed)
        if holders:
            held = [one for one in passed if any(one.seq in holder for holder in holders)]
            self._held.update((entry.seq, entry) for entry in held)
            passed = [entry for entry in passed if entry.seq not in self._held]
        self._remember(passed, now)
        return len(passed)

    def drop_loose(self, holders: Sequence[Container[int]], now: float) -> int:
        """Drop what no exception holds any more; return how many."""
        loose, self.loose = self.loose, set()
        free = [
            seq
            for seq in loose
            if seq in self._held and not any(seq in holder for holder in holders)
        ]
        self._remember([self._held.pop(seq) for seq in free], now)
        return len(free)

    def _remember(self, entries: Sequence[Entry], now: float) -> None:
        known, gone, masks = self.known, self._gone, self._masks
        for entry in entries:
            conversion, seq = entry.conversion, entry.seq
            event_id = conversion.event_id
            mask = masks.pop(seq, None) if masks else None
            known[event_id] = Gone(seq, fingerprint(conversion), mask, now)
            gone.append(event_id)
        while len(gone) > self._remember_ids:
            del known[gone.popleft()]

    def forget_ids(self, before: float) -> None:
        """Forget the ids of what went at or *before* a moment, unix seconds."""
        while self._gone:
            gone = self.known[self._gone[0]]
            if isinstance(gone, Gone) and gone.at > before:
                return
            del self.known[self._gone.popleft()]


def _compare(known: Entry | Gone, conversion: Conversion) -> Appended:
    if isinstance(known, Gone):
        same = known.mark == fingerprint(conversion)
    else:
        same = fingerprint(known.conversion) == fingerprint(conversion)
    return Appended.REPEAT if same else Appended.CONFLICT
