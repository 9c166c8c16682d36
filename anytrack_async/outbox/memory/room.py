"""The room of a memory outbox: how many conversions, and bytes, it keeps for each destination.

Counting bytes is as cheap as counting conversions: each conversion has `USUAL_BYTES`, and only the
bytes of a large one beyond that are added up. So an outbox without large conversions adds up
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.outbox.checks import USUAL_BYTES, large_conversions, queue_full_error
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import DestinationProgress
from anytrack_async.outbox.memory.remembered import Recipients


class MemoryRoom:
    """Decides whether destinations have room, and counts the bytes of large conversions.

    Args:
        log: the log of the outbox.
        destinations: the progress of each destination.
        capacity: how many conversions may wait for each.
        capacity_bytes: how many bytes of memory these may take.
    """

    def __init__(
        self,
        log: MemoryLog,
        destinations: Mapping[str, DestinationProgress],
        *,
        capacity: int,
        capacity_bytes: int,
    ) -> None:
        self._log = log
        self._destinations = destinations
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes

    def check(
        self, conversions: Sequence[Conversion], recipients: Recipients, large: Mapping[str, int]
    ) -> None:
        """Raise `QueueFullError` unless each of *recipients* has room for the new conversions.

        Args:
            conversions: the conversions of a call.
            recipients: the destinations that they are addressed to.
            large: the result of `large_conversions` for them.
        """
        waiting = self._waiting(recipients)
        full = self._full(conversions, waiting)
        sizes = {name: self._waiting_bytes(name, count) for name, count in waiting.items()}
        space = self._capacity_bytes - max(sizes.values(), default=0)
        new_bytes = self._new_bytes(conversions, large, space)
        full_of_bytes = {
            name: size
            for name, size in sizes.items()
            if new_bytes and size + new_bytes > self._capacity_bytes
        }
        if full or full_of_bytes:
            raise queue_full_error(
                self._capacity,
                {name: waiting[name] for name in waiting if name in full or name in full_of_bytes},
                len(conversions),
                capacity_bytes=self._capacity_bytes,
                waiting_bytes=full_of_bytes,
                too_large=new_bytes > self._capacity_bytes,
            )

    # Conversions

    def _waiting(self, recipients: Recipients) -> dict[str, int]:
        """Return how many conversions wait for each of *recipients*; "" is for none at all."""
        if not self._destinations:
            return {"": self._log.length}
        return {
            name: progress.waiting(self._log.accepted_for(name))
            for name, progress in self._destinations.items()
            if recipients is None or name in recipients
        }

    def _full(self, conversions: Sequence[Conversion], waiting: Mapping[str, int]) -> set[str]:
        """Return the destinations without room for so many."""
        space = self._capacity - max(waiting.values(), default=0)
        if len(conversions) <= space or not self._has_more_new(conversions, space):
            return set()
        return {
            name
            for name, count in waiting.items()
            if self._has_more_new(conversions, self._capacity - count)
        }

    def _has_more_new(self, conversions: Sequence[Conversion], space: int) -> bool:
        """Return whether more than *space* conversions are new.

        It stops at the first one too many, because callers that wait for space ask often.
        """
        new: set[str] = set()
        for conversion in conversions:
            if conversion.event_id not in self._log.positions:
                new.add(conversion.event_id)
                if len(new) > space:
                    return True
        return False

    # Bytes

    def _waiting_bytes(self, name: str, count: int) -> int:
        """Return the bytes of the *count* conversions that wait for *name*."""
        progress = self._destinations.get(name)
        extra = progress.extra_bytes if progress else self._log.extra_bytes_in_log
        return USUAL_BYTES * count + extra

    def _new_bytes(
        self, conversions: Sequence[Conversion], large: Mapping[str, int], space: int
    ) -> int:
        """Return the bytes of the new conversions; if all fit into *space*, repeats may count."""
        size = USUAL_BYTES * (len(conversions) - len(large)) + sum(large.values())
        if size <= space:
            return size
        new = {conversion.event_id for conversion in conversions} - self._log.positions.keys()
        return sum(large.get(event_id, USUAL_BYTES) for event_id in new)

    def count_large(
        self,
        conversions: Sequence[Conversion],
        results: Sequence[AppendResult],
        recipients: Recipients,
        large: Mapping[str, int],
    ) -> None:
        """Count the bytes of the *large* ones among *conversions* that are new."""
        added = 0
        for conversion, result in zip(conversions, results, strict=True):
            if result is Appended.NEW and conversion.event_id in large:
                extra = large[conversion.event_id] - USUAL_BYTES
                self._log.extra_bytes[self._log.positions[conversion.event_id]] = extra
                added += extra
        self._log.extra_bytes_in_log += added
        for name, progress in self._destinations.items():
            if recipients is None or name in recipients:
                progress.extra_bytes += added

    # Dead letters

    def count_dead(self, progress: DestinationProgress, seqs: Iterable[int]) -> list[int]:
        """Count the bytes of new dead letters at *seqs*.

        Returns:
            The positions of the oldest dead letters, for which no room is left. Dead letters have
            `capacity_bytes` of their own, in addition to those of waiting conversions: with 64 MiB,
            32,768 dead letters of 2 KiB fit, and the next two push out the first two.
        """
        progress.dead_extra_bytes += self._log.extra_bytes_of(seqs)
        excess = progress.dead_bytes - self._capacity_bytes
        pushed_out: list[int] = []
        if excess > 0:
            for seq in progress.dead:
                pushed_out.append(seq)
                excess -= USUAL_BYTES + self._log.extra_bytes_of((seq,))
                if excess <= 0:
                    break
        return pushed_out

    def replay(self, progress: DestinationProgress, seq: int, now: float) -> None:
        """Make the dead letter at *seq* due, and count its bytes among those that wait."""
        if progress.replay(seq, now):
            extra = self._log.extra_bytes_of((seq,))
            progress.extra_bytes += extra
            progress.dead_extra_bytes -= extra

    def discard(self, progress: DestinationProgress, seq: int, limit: int) -> None:
        """Give up the dead letter at *seq*; keep the reasons of up to *limit* discarded ones."""
        progress.dead_extra_bytes -= self._log.extra_bytes_of((seq,))
        progress.discard(seq, limit)

    def replace(self, seq: int, conversion: Conversion) -> None:
        """Replace the conversion at *seq*, and count the bytes of the new one."""
        size = large_conversions((conversion,)).get(conversion.event_id, USUAL_BYTES)
        self._log.replace(seq, conversion)
        change = size - USUAL_BYTES - self._log.extra_bytes.pop(seq, 0)
        if size > USUAL_BYTES:
            self._log.extra_bytes[seq] = size - USUAL_BYTES
        if seq > self._log.base:
            self._log.extra_bytes_in_log += change
        recipients = self._log.recipients(seq)
        for name, progress in self._destinations.items():
            if progress.is_dead(seq):
                progress.dead_extra_bytes += change
            elif (recipients is None or name in recipients) and progress.is_waiting(seq):
                progress.extra_bytes += change
