"""The log of a memory outbox: `MemoryLog`.

Everything is kept in columns of plain values. An object per conversion would cost more than all
other work together, most of it in the garbage collector, which visits objects but not numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence
from itertools import compress, repeat
from operator import attrgetter, neg
from typing import NamedTuple

from anytrack_async.models.contradiction import find_contradiction, summary
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult, Entries, Entry
from anytrack_async.outbox.memory.remembered import Recipients, RememberedId, RememberedIds

_event_id = attrgetter("event_id")


class _Retained(NamedTuple):
    """A conversion that an exception still needs, though the log was dropped beyond it."""

    entry: Entry
    recipients: Recipients


class MemoryLog:
    """Conversions in the order in which they were accepted; positions count from 1.

    Args:
        remember_ids: how many ids of dropped conversions are remembered at most.

    Attributes:
        base: number of conversions dropped from the beginning; position 1 of the columns is
            ``base + 1`` of the log.
        remote_ids: destination → event id → the id that the destination gave to the conversion.
        positions: event id → its position, or minus its number in `RememberedIds` once dropped.
        reclaimable: positions up to `base` with a payload that an exception has kept, and may not
            need any more.
        accepted: recipients → how many conversions were ever accepted for exactly these.
        stored: number of payloads.
        extra_bytes: position → bytes of memory beyond `USUAL_BYTES`, of each large conversion with
            a stored payload.
        extra_bytes_in_log: the sum of those from `base` on.
    """

    def __init__(self, remember_ids: int) -> None:
        self.base = 0
        self.remote_ids: dict[str, dict[str, str]] = {}
        self.positions: dict[str, int] = {}
        self.reclaimable: set[int] = set()
        self.accepted: dict[Recipients, int] = {}
        self.stored = 0
        self.extra_bytes: dict[int, int] = {}
        self.extra_bytes_in_log = 0
        self._conversions: list[Conversion] = []
        self._recipients: list[Recipients] = []
        self._accepted_at: list[float] = []
        self._retained: dict[int, _Retained] = {}
        self._shared_recipients: dict[Recipients, Recipients] = {}
        self._remembered = RememberedIds(remember_ids)

    @property
    def length(self) -> int:
        """Number of positions from `base` to the end."""
        return len(self._conversions)

    @property
    def end(self) -> int:
        """The last position."""
        return self.base + len(self._conversions)

    # Appending

    def extend(
        self, conversions: Sequence[Conversion], recipients: Recipients, now: float
    ) -> Sequence[AppendResult]:
        """Append the new conversions, and return a result for each."""
        # Equal sets are shared: a set per conversion would need more memory than its id.
        recipients = self._shared_recipients.setdefault(recipients, recipients)
        if len(conversions) == 1:
            conversion = conversions[0]
            return [self._append(conversion.event_id, conversion, recipients, now)]
        event_ids = list(map(_event_id, conversions))
        if len(set(event_ids)) == len(event_ids) and self.positions.keys().isdisjoint(event_ids):
            self._append_new(event_ids, conversions, recipients, now)
            return [Appended.NEW] * len(event_ids)
        pairs = zip(event_ids, conversions, strict=True)
        return [self._append(*pair, recipients, now) for pair in pairs]

    def _append(
        self, event_id: str, conversion: Conversion, recipients: Recipients, now: float
    ) -> AppendResult:
        position = self.positions.get(event_id)
        if position is None:
            self._conversions.append(conversion)
            self._recipients.append(recipients)
            self._accepted_at.append(now)
            self.positions[event_id] = self.base + len(self._conversions)
            self.stored += 1
            self.accepted[recipients] = self.accepted.get(recipients, 0) + 1
            return Appended.NEW
        first = self._summary(position)
        return find_contradiction(event_id, first, summary(conversion)) or Appended.REPEAT

    def summary(self, event_id: str) -> str:
        """Return the summary of a conversion that is known."""
        return self._summary(self.positions[event_id])

    def newest_dropped(self, before: int, limit: int) -> list[str]:
        """Return the event ids of *limit* dropped conversions, or more, below a position."""
        return self._remembered.newest(before, limit)

    def _summary(self, position: int) -> str:
        """Return the summary of the conversion at a value of `positions`."""
        if position < 0:
            return self._remembered.summary(-position)
        return summary(self.entry(position).conversion)

    def _append_new(
        self,
        event_ids: Sequence[str],
        conversions: Sequence[Conversion],
        recipients: Recipients,
        now: float,
    ) -> None:
        first = self.end + 1
        self.positions.update(zip(event_ids, range(first, first + len(event_ids)), strict=True))
        self._conversions += conversions
        self._recipients += repeat(recipients, len(event_ids))
        self._accepted_at += repeat(now, len(event_ids))
        self.stored += len(event_ids)
        self.accepted[recipients] = self.accepted.get(recipients, 0) + len(event_ids)

    def add_remote_ids(
        self, name: str, event_ids: Sequence[str], remote_ids: Sequence[str | None]
    ) -> None:
        """Add the ids that the destination *name* gave to conversions; None for those without."""
        pairs = zip(event_ids, remote_ids, strict=True)
        by_event_id = {event_id: remote_id for event_id, remote_id in pairs if remote_id}
        self.remote_ids.setdefault(name, {}).update(by_event_id)

    # Reading

    def accepted_for(self, name: str) -> int:
        """Return how many conversions were ever accepted for the destination *name*."""
        return sum(
            count
            for recipients, count in self.accepted.items()
            if recipients is None or name in recipients
        )

    def entry(self, seq: int) -> Entry:
        """Return the entry at *seq*."""
        return self._slice(seq, seq)[0] if seq > self.base else self._retained[seq].entry

    def replace(self, seq: int, conversion: Conversion) -> None:
        """Store *conversion* at *seq*, in place of the one with the same event id."""
        if seq > self.base:
            self._conversions[seq - self.base - 1] = conversion
            return
        entry, recipients = self._retained[seq]
        self._retained[seq] = _Retained(entry._replace(conversion=conversion), recipients)

    def stored_positions(self) -> list[int]:
        """Return every position that has a payload, in order."""
        return [*sorted(self._retained), *range(self.base + 1, self.end + 1)]

    def has_payload(self, seq: int) -> bool:
        """Return whether the conversion at *seq* is stored."""
        return self.base < seq <= self.end or seq in self._retained

    def recipients(self, seq: int) -> Recipients:
        """Return the destinations that the conversion at *seq* is addressed to."""
        if seq > self.base:
            return self._recipients[seq - self.base - 1]
        return self._retained[seq].recipients

    def find(self, event_id: str) -> RememberedId | int | None:
        """Return a conversion's position, or its `RememberedId` if dropped; None if unknown."""
        position = self.positions.get(event_id)
        if position is not None and position < 0:
            return self._remembered.get(-position)
        return position

    def summaries(self, event_ids: Iterable[str]) -> dict[str, str | None]:
        """Return event id → the summary of its conversion; without unknown ids."""
        positions = self.positions
        return {
            event_id: self._summary(positions[event_id])
            for event_id in event_ids
            if event_id in positions
        }

    def accepted_between(
        self, since: float, until: float, after: int, limit: int
    ) -> list[tuple[int, str]]:
        """Return positions and event ids of conversions accepted in a period; see `ListsAccepted`.

        The log does not know when a dropped conversion was accepted. If position 7 was dropped
        before *since*, all up to 7 were accepted before it, and if position 20 was accepted after
        *until*, all from 20 on were: 8 to 19 are listed.
        """
        stored = [(seq, self.entry(seq)) for seq in self.stored_positions()]
        before = (seq for seq, entry in stored if entry.accepted_at < since)
        first = max(after, self._remembered.dropped_before(since), *before, 0)
        end = min((seq for seq, entry in stored if entry.accepted_at > until), default=self.end + 1)
        pairs = self._remembered.accepted_after(first)
        pairs += [(seq, entry.conversion.event_id) for seq, entry in stored if seq > first]
        return [pair for pair in sorted(pairs) if pair[0] < end][:limit]

    @property
    def forgotten(self) -> int:
        """How many positions at the beginning have no ids any more."""
        first = min((*self._retained, self.base + 1))
        remembered = self._remembered.first
        return (first if remembered is None else min(first, remembered)) - 1

    def scan(self, name: str, first: int, last: int, limit: int) -> tuple[Entries, int]:
        """Return up to *limit* entries for *name* between two positions.

        Returns:
            The entries, and the last position that was looked at.
        """
        # Nearly always the whole range is addressed to *name*: then the entries are slices.
        end = min(first + limit - 1, last)
        distinct = set(self._recipients[first - self.base - 1 : end - self.base])
        if all(recipients is None or name in recipients for recipients in distinct):
            entries = self._slice(first, end)
            return entries, first + len(entries) - 1
        return self._pick(name, first, last, limit)

    def _pick(self, name: str, first: int, last: int, limit: int) -> tuple[Entries, int]:
        seqs: list[int] = []
        for seq in range(first, last + 1):
            recipients = self._recipients[seq - self.base - 1]
            if recipients is None or name in recipients:
                seqs.append(seq)
                if len(seqs) == limit:
                    last = seq
                    break
        rows = [seq - self.base - 1 for seq in seqs]
        return Entries(
            seqs=seqs,
            conversions=[self._conversions[row] for row in rows],
            attempts=[0] * len(seqs),
            accepted_at=[self._accepted_at[row] for row in rows],
        ), last

    def stored_slice(self, first: int, last: int) -> Entries:
        """Return the entries from `base` on between two positions, whatever their recipients."""
        return self._slice(max(first, self.base + 1), last)

    def _slice(self, first: int, last: int) -> Entries:
        start, stop = first - self.base - 1, last - self.base
        conversions = self._conversions[start:stop]
        return Entries(
            seqs=range(first, first + len(conversions)),
            conversions=conversions,
            attempts=[0] * len(conversions),
            accepted_at=self._accepted_at[start:stop],
        )

    def extra_bytes_of(self, seqs: Iterable[int]) -> int:
        """Return how many bytes beyond `USUAL_BYTES` each the conversions at *seqs* take."""
        extra = self.extra_bytes
        return sum(extra.get(seq, 0) for seq in seqs) if extra else 0

    def extra_bytes_for(self, name: str) -> int:
        """Return `extra_bytes_of` all stored conversions that are addressed to *name*."""
        return sum(
            size
            for seq, size in self.extra_bytes.items()
            if (recipients := self.recipients(seq)) is None or name in recipients
        )

    def count(self, name: str) -> int:
        """Return how many conversions from `base` on are addressed to *name*."""
        return sum(
            count
            for recipients, count in Counter(self._recipients).items()
            if recipients is None or name in recipients
        )

    def retained(self, name: str) -> list[int]:
        """Return the positions up to `base` that still have a payload for *name*, in order."""
        return [
            seq
            for seq, (_, recipients) in sorted(self._retained.items())
            if recipients is None or name in recipients
        ]

    # Dropping

    def drop(self, count: int, exceptions: Sequence[Container[int]], now: float) -> int:
        """Drop *count* conversions from the beginning, except those in *exceptions*.

        With a base of 100, dropping 50 moves the base to 150. An exception at 120 is then kept in
        a dict, and its position added to `reclaimable` when the exception ends.

        Args:
            count: how many to drop.
            exceptions: for each destination, the positions of its retries and dead letters.
            now: unix seconds.

        Returns:
            How many were dropped.
        """
        count = min(count, len(self._conversions))
        seqs: Sequence[int] = range(self.base + 1, self.base + count + 1)
        self.extra_bytes_in_log -= self.extra_bytes_of(seqs)
        retained = self._retain(seqs, exceptions) if exceptions else 0
        conversions, recipients = self._conversions[:count], self._recipients[:count]
        if retained:
            is_dropped = [seq not in self._retained for seq in seqs]
            seqs = list(compress(seqs, is_dropped))
            conversions = list(compress(conversions, is_dropped))
            recipients = list(compress(recipients, is_dropped))
        del self._conversions[:count], self._recipients[:count], self._accepted_at[:count]
        self.base += count
        self._remember(seqs, conversions, recipients, now)
        return count - retained

    def _retain(self, seqs: Iterable[int], exceptions: Sequence[Container[int]]) -> int:
        needed = [seq for seq in seqs if any(seq in positions for positions in exceptions)]
        self._retained.update(
            (seq, _Retained(self.entry(seq), self.recipients(seq))) for seq in needed
        )
        return len(needed)

    def drop_reclaimable(self, exceptions: Sequence[Container[int]], now: float) -> int:
        """Drop reclaimable payloads that no exception needs any more; return how many."""
        candidates, self.reclaimable = self.reclaimable, set()
        dropped = {
            seq: self._retained.pop(seq)
            for seq in candidates
            if seq in self._retained and not any(seq in positions for positions in exceptions)
        }
        conversions = [retained.entry.conversion for retained in dropped.values()]
        recipients = [retained.recipients for retained in dropped.values()]
        self._remember([*dropped], conversions, recipients, now)
        return len(dropped)

    def _remember(
        self,
        seqs: Sequence[int],
        conversions: Sequence[Conversion],
        recipients: Sequence[Recipients],
        now: float,
    ) -> None:
        event_ids = list(map(_event_id, conversions))
        summaries = list(map(summary, conversions))
        self.stored -= len(event_ids)
        if self.extra_bytes:
            for seq in seqs:
                self.extra_bytes.pop(seq, None)
        numbers = self._remembered.add(event_ids, summaries, seqs, recipients, now)
        self.positions.update(zip(event_ids, map(neg, numbers), strict=True))
        self._forget(self._remembered.forget_excess())

    def forget_ids(self, moment: float) -> None:
        """Forget the ids of conversions dropped at or before *moment*, unix seconds."""
        self._forget(self._remembered.forget_until(moment))

    def _forget(self, event_ids: Collection[str]) -> None:
        for event_id in event_ids:
            del self.positions[event_id]
        for remote_ids in self.remote_ids.values():
            for event_id in event_ids:
                remote_ids.pop(event_id, None)
