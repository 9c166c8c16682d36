"""How far one destination has got in a log in memory: its cursor, leases and exceptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from heapq import heappop, heappush

import attrs

from anytrack_async.outbox.base import Depth, FailedEntry
from anytrack_async.outbox.checks import USUAL_BYTES
from anytrack_async.outbox.memory.log import MemoryLog


@attrs.define(kw_only=True, eq=False)
class Span:
    """A range of the log behind the cursor that is not settled.

    Attributes:
        first: its first position.
        last: its last position.
        size: how many conversions in it are addressed to the destination.
        attempts: number of failed deliveries of each.
        due: when they may be claimed, unix seconds.
    """

    first: int
    last: int
    size: int
    attempts: int = 0
    due: float = 0.0


@attrs.define(kw_only=True)
class FailedConversion:
    """An exception: a conversion that waits for a retry, or is dead if `failure.due` is None.

    Attributes:
        failure: the latest failure.
        lease_id: the lease it is in; 0 for none.
        failed_at: when it was settled as failed: the date, unix seconds.
        settled_at: the same on the outbox's clock.
    """

    failure: FailedEntry
    lease_id: int = 0
    failed_at: float = 0.0
    settled_at: float = 0.0


@attrs.define(kw_only=True)
class Lease:
    """The conversions that one worker has claimed.

    Attributes:
        until: when the lease expires, unix seconds.
        spans: the leased ranges of the log.
        retries: positions of the leased retries.
    """

    until: float = 0.0
    spans: list[Span] = attrs.field(factory=list)
    retries: list[int] = attrs.field(factory=list)

    @property
    def size(self) -> int:
        """How many conversions it contains."""
        return sum(span.size for span in self.spans) + len(self.retries)


class DestinationProgress:
    """One destination's cursor, leases, released spans and exceptions.

    Attributes:
        cursor: the last position that was claimed.
        start: the position after which the destination was registered.
        since: when it was registered, if it started at the beginning of the log: payloads dropped
            before that time were never addressed to it.
        passed: of the conversions ever accepted for it, how many the cursor has passed.
        claimed: number of conversions up to the cursor that are neither delivered nor dead.
        dead: positions of the dead letters, the oldest first; a dict as an ordered set.
        dead_extra_bytes: bytes beyond `USUAL_BYTES` each that these take.
        delivered: number of conversions that the destination has received.
        extra_bytes: bytes beyond `USUAL_BYTES` each of the conversions that are neither delivered
            nor dead.
        exceptions: position → the failed conversion.
        unsent: of these, the positions of conversions that are exceptions only because the log was
            shortened: they have never been claimed, and count as waiting, not as retrying.
        discarded: position → the last failure of a discarded dead letter, in the order in which
            they were discarded.
        released: spans without a lease.
        leases: lease id → the lease.
    """

    def __init__(self, *, start: int, passed: int, since: float | None = None) -> None:
        self.cursor = start
        self.start = start
        self.since = since
        self.passed = passed
        self.claimed = 0
        self.dead: dict[int, None] = {}
        self.dead_extra_bytes = 0
        self.delivered = 0
        self.extra_bytes = 0
        self.exceptions: dict[int, FailedConversion] = {}
        self.unsent: set[int] = set()
        self.discarded: dict[int, FailedEntry] = {}
        self.released: list[Span] = []
        self.leases: dict[int, Lease] = {}
        # A heap of (due, position) with each retry that is not leased.
        self._retry_queue: list[tuple[float, int]] = []

    # Claiming

    def lease_due_retries(
        self, lease_id: int, limit: int, now: float, sizes: Mapping[int, int], max_bytes: int
    ) -> list[int]:
        """Lease up to *limit* due retries, those due longest first; return their positions.

        By the *sizes* of some, they have at most *max_bytes*, unless it is a single one.
        """
        seqs: list[int] = []
        while len(seqs) < limit and self.has_due_retry(now):
            max_bytes -= sizes.get(self._retry_queue[0][1], 0)
            if max_bytes < 0 and seqs:
                break
            _, seq = heappop(self._retry_queue)
            self.exceptions[seq].lease_id = lease_id
            self.unsent.discard(seq)
            seqs.append(seq)
        return seqs

    def has_due_retry(self, now: float) -> bool:
        """Return whether a retry is due that is not leased."""
        return self._next_retry() <= now

    def due_spans(self, now: float) -> list[Span]:
        """Return the released spans that are due, in log order."""
        due = [span for span in self.released if span.due <= now]
        return sorted(due, key=lambda span: span.first)

    def expire_lease(self, now: float) -> Lease | None:
        """Release the lease that expired first, and return it; None if none did.

        It counts as an attempt, because its conversions may have killed the worker.
        """
        lease_id = min(self.leases, key=lambda key: self.leases[key].until, default=0)
        if not lease_id or self.leases[lease_id].until > now:
            return None
        lease = self.leases[lease_id]
        self.release(lease_id, due=lease.until, counts_as_attempt=True)
        return lease

    def next_due(self) -> float | None:
        """Return when a retry, span or lease becomes due, unix seconds; None if none will."""
        moments = [self._next_retry()]
        moments += [span.due for span in self.released]
        moments += [lease.until for lease in self.leases.values()]
        first = min(moments)
        return None if first == float("inf") else first

    def _next_retry(self) -> float:
        return self._retry_queue[0][0] if self._retry_queue else float("inf")

    # Ending

    def settle(
        self, lease_id: int, failed: Sequence[FailedEntry], now: float, date: Callable[[], float]
    ) -> Sequence[int]:
        """End a lease; return the positions of its retries, which are exceptions no longer.

        Args:
            lease_id: the lease.
            failed: the conversions that were not delivered.
            now: unix seconds on the outbox's clock.
            date: returns the date, unix seconds; called if conversions failed.
        """
        lease = self.leases.pop(lease_id)
        self.claimed -= (size := lease.size)
        self.delivered += size - len(failed)
        for seq in lease.retries:
            del self.exceptions[seq]
        if failed:
            failed_at = date()
            for failure in failed:
                self.add_exception(failure, now, failed_at)
        return lease.retries

    def add_exception(self, failure: FailedEntry, now: float, date: float) -> None:
        """Add a retry, or a dead letter if *failure* is not due again; *date* is now by date."""
        self.exceptions[failure.seq] = FailedConversion(
            failure=failure, failed_at=date, settled_at=now
        )
        if failure.due is None:
            self.dead[failure.seq] = None
        else:
            self.claimed += 1
            heappush(self._retry_queue, (failure.due, failure.seq))

    def release(self, lease_id: int, *, due: float, counts_as_attempt: bool) -> None:
        """End a lease undelivered; its conversions may be claimed again from *due*."""
        lease = self.leases.pop(lease_id)
        for span in lease.spans:
            span.due = due
            span.attempts += counts_as_attempt
        self.released += lease.spans
        for seq in lease.retries:
            exception = self.exceptions[seq]
            attempts = exception.failure.attempts + counts_as_attempt
            exception.lease_id = 0
            exception.failure = attrs.evolve(exception.failure, due=due, attempts=attempts)
            if not attempts and not exception.failure.error:
                self.unsent.add(seq)
            heappush(self._retry_queue, (due, seq))

    def replay(self, seq: int, now: float) -> bool:
        """Make a dead letter due now with 0 attempts; False if there is none at *seq*."""
        if not self.is_dead(seq):
            return False
        del self.dead[seq]
        exception = self.exceptions[seq]
        failure = attrs.evolve(exception.failure, due=now, attempts=0)
        self.add_exception(failure, now, exception.failed_at)
        return True

    def discard(self, seq: int, limit: int) -> None:
        """Give up the dead letter at *seq*; keep up to *limit* failures of discarded ones."""
        del self.dead[seq]
        self.discarded[seq] = self.exceptions.pop(seq).failure
        while len(self.discarded) > limit:
            del self.discarded[next(iter(self.discarded))]

    def set_aside(self, log: MemoryLog, name: str, last: int, now: float) -> None:
        """Make retries of the waiting conversions up to position *last* that are not leased.

        The log can then be dropped up to *last*, although the destination accepts nothing.
        """
        for span in [span for span in self.released if span.first <= last]:
            self.released.remove(span)
            self.claimed -= span.size
            entries, _ = log.scan(name, span.first, span.last, span.size)
            self.add_unsent(entries.seqs, span.attempts, max(span.due, now), now)
        if self.cursor < last:
            entries, self.cursor = log.scan(name, self.cursor + 1, last, last - self.cursor)
            self.passed += len(entries)
            self.add_unsent(entries.seqs, 0, now, now)

    def add_unsent(self, seqs: Sequence[int], attempts: int, due: float, now: float) -> None:
        """Add exceptions that wait outside the log; with no *attempts*, they are `unsent`."""
        for seq in seqs:
            failure = FailedEntry(seq=seq, attempts=attempts, error="", due=due)
            self.add_exception(failure, now, now)
        if not attempts:
            self.unsent.update(seqs)

    def empty_errors(self, seq: int) -> None:
        """Empty the reason of the failure at *seq*, which may quote the customer."""
        if exception := self.exceptions.get(seq):
            exception.failure = attrs.evolve(exception.failure, error="")
        if failure := self.discarded.get(seq):
            self.discarded[seq] = attrs.evolve(failure, error="")

    def empty_reasons(self, reasons: Set[str]) -> int:
        """Empty the reasons of failures that are in *reasons*; return how many."""
        seqs = [seq for seq, item in self.exceptions.items() if item.failure.error in reasons]
        seqs += [seq for seq, failure in self.discarded.items() if failure.error in reasons]
        for seq in seqs:
            self.empty_errors(seq)
        return len(seqs)

    # Reading

    def reasons(self) -> set[str]:
        """Return the reasons of the failures, without the empty one."""
        waiting = {exception.failure.error for exception in self.exceptions.values()}
        return (waiting | {failure.error for failure in self.discarded.values()}) - {""}

    def is_leased(self, seq: int) -> bool:
        """Return whether the conversion at *seq* is in a lease."""
        return any(
            seq in lease.retries or any(span.first <= seq <= span.last for span in lease.spans)
            for lease in self.leases.values()
        )

    def unsettled_spans(self) -> list[Span]:
        """Return the spans that are released or leased."""
        return [*self.released, *(span for lease in self.leases.values() for span in lease.spans)]

    def settled_upto(self) -> int:
        """Return the position up to which only exceptions are undelivered.

        With the cursor at 900 and a span from 650, it is 649.
        """
        return min((span.first - 1 for span in self.unsettled_spans()), default=self.cursor)

    def span_at(self, seq: int) -> Span | None:
        """Return the unsettled span that contains *seq*, if any."""
        spans = self.unsettled_spans()
        return next((span for span in spans if span.first <= seq <= span.last), None)

    def is_dead(self, seq: int) -> bool:
        """Return whether the conversion at *seq* is a dead letter."""
        return seq in self.dead

    def is_waiting(self, seq: int) -> bool:
        """Return whether the conversion at *seq*, if for this destination, is still to be sent."""
        if (exception := self.exceptions.get(seq)) is not None:
            return exception.failure.due is not None
        return seq > self.cursor or self.span_at(seq) is not None

    def waiting(self, accepted: int) -> int:
        """Return how many conversions are neither delivered nor dead, of *accepted* ever.

        Of 100 that were accepted, the cursor has passed 60, of which 5 are leased or wait for a
        retry: 45 are waiting.
        """
        return accepted - self.passed + self.claimed

    def waiting_bytes(self, accepted: int) -> int:
        """Return about how many bytes of memory the conversions take that `waiting` counts.

        45 of which one has 1,000,000 bytes: 44 x 2,048 + 1,000,000 = 1,090,112.
        """
        return USUAL_BYTES * self.waiting(accepted) + self.extra_bytes

    @property
    def dead_bytes(self) -> int:
        """About how many bytes of memory the dead letters take; see `waiting_bytes`."""
        return USUAL_BYTES * len(self.dead) + self.dead_extra_bytes

    def oldest_waiting(self, end: int) -> int | None:
        """Return the first position that is neither delivered nor dead, of a log up to *end*."""
        seqs = [span.first for span in self.unsettled_spans()]
        if self.cursor < end:
            seqs.append(self.cursor + 1)
        if len(self.exceptions) > len(self.dead):
            seqs += [
                seq for seq, failed in self.exceptions.items() if failed.failure.due is not None
            ]
        return min(seqs, default=None)

    def depth(self, accepted: int, now: float) -> Depth:
        """Return the depth of this destination, for which *accepted* were accepted ever."""
        live = [lease for lease in self.leases.values() if lease.until > now]
        leased = sum(len(lease.retries) for lease in live)
        retries = len(self.exceptions) - len(self.dead) - len(self.unsent) - leased
        return Depth(
            waiting=self.waiting(accepted),
            in_flight=sum(lease.size for lease in live),
            retrying=retries + self._retrying_in_spans(now),
            dead=len(self.dead),
            waiting_bytes=self.waiting_bytes(accepted),
        )

    def _retrying_in_spans(self, now: float) -> int:
        """Count the conversions in spans that failed before, or lost their lease."""
        expired = [lease for lease in self.leases.values() if lease.until <= now]
        released = sum(span.size for span in self.released if span.attempts)
        return released + sum(span.size for lease in expired for span in lease.spans)
