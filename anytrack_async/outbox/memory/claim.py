"""Claims on a log in memory: `ClaimBuilder`."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from typing import NamedTuple

import attrs

from anytrack_async.outbox.base import Entries, Entry
from anytrack_async.outbox.checks import MAX_CLAIM_BYTES
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import DestinationProgress, Lease, Span


class LostAttempt(NamedTuple):
    """A conversion in a lease that expired.

    Attributes:
        event_id: its event id.
        number: how many attempts it has made.
        accepted_at: when it was accepted, unix seconds.
    """

    event_id: str
    number: int
    accepted_at: float


class ClaimBuilder:
    """Builds one claim: up to *limit* entries of *log* for the destination *name*.

    Attributes:
        lease: the lease on them, without its end.
        large_bytes: bytes of memory of the large ones.
        lost: the attempts of expired leases.
    """

    def __init__(
        self, log: MemoryLog, name: str, progress: DestinationProgress, *, limit: int
    ) -> None:
        self.lease = Lease()
        self.large_bytes = 0
        self.lost: list[LostAttempt] = []
        self._parts: list[Entries] = []
        self._log = log
        self._name = name
        self._progress = progress
        self._space = limit

    def build(self, lease_id: int, now: float) -> Entries:
        """Lease due retries, then released spans and expired leases, then the log.

        Returns:
            The entries, in log order.
        """
        while self._space > 0:
            self._lease_due_retries(lease_id, now)
            self._lease_due_spans(now)
            # Leases are expired one at a time, and only while there is space for their entries:
            # a worker that is merely late keeps its lease unless it is needed.
            if self._space <= 0 or not self._expire_lease(now):
                break
        self._lease_new()
        if len(self._parts) == 1:
            return self._parts[0]
        return Entries.of(sorted(chain(*self._parts), key=attrgetter("seq")))

    def _expire_lease(self, now: float) -> bool:
        """Release the lease that expired first; False if none did."""
        lease = self._progress.expire_lease(now)
        if lease is None:
            return False
        self.lost += [
            LostAttempt(entry.conversion.event_id, entry.attempts, entry.accepted_at)
            for entry in map(self._retry, lease.retries)
        ]
        for span in lease.spans:
            entries, _ = self._log.scan(self._name, span.first, span.last, span.size)
            self.lost += [
                LostAttempt(event_id, span.attempts, accepted_at)
                for event_id, accepted_at in zip(
                    entries.event_ids, entries.accepted_at, strict=True
                )
            ]
        return True

    def _add_entries(self, entries: Entries) -> None:
        if entries:
            self._parts.append(entries)
            self._space -= len(entries)
            self.large_bytes += self._log.extra_bytes_of(entries.seqs)

    def _fitting(self, entries: Entries) -> Entries:
        """Return the beginning of *entries* that fits into the claim by its bytes.

        If that is not all, there is no space for more. With 1 MB left of 4 MB, of entries with 0.7,
        0.2 and 0.4 MB, it is the first two.
        """
        space = MAX_CLAIM_BYTES - self.large_bytes
        for count, seq in enumerate(entries.seqs):
            space -= self._log.extra_bytes.get(seq, 0)
            if space < 0 and (count or self._parts):
                self._space = count
                return entries[:count]
        return entries

    def _lease_due_retries(self, lease_id: int, now: float) -> None:
        space = MAX_CLAIM_BYTES - self.large_bytes
        sizes = self._log.extra_bytes
        seqs = self._progress.lease_due_retries(lease_id, self._space, now, sizes, space)
        self.lease.retries += seqs
        self._add_entries(Entries.of(map(self._retry, sorted(seqs))))
        if self._progress.has_due_retry(now):
            self._space = 0

    def _retry(self, seq: int) -> Entry:
        attempts = self._progress.exceptions[seq].failure.attempts
        return self._log.entry(seq)._replace(attempts=attempts)

    def _lease_due_spans(self, now: float) -> None:
        for span in self._progress.due_spans(now):
            if self._space <= 0:
                return
            self._lease_span(span)

    def _lease_span(self, span: Span) -> None:
        """Lease a released span, or as much of its beginning as there is space for.

        With space for 2, the span 11 to 15 of 5 conversions becomes a leased span 11 to 12 and a
        released span 13 to 15.
        """
        entries, last = self._log.scan(self._name, span.first, span.last, self._space)
        if self._log.extra_bytes and len(fitting := self._fitting(entries)) < len(entries):
            if not fitting:
                return
            entries, last = fitting, fitting.seqs[-1]
        if len(entries) == span.size:
            self._progress.released.remove(span)
            self.lease.spans.append(span)
        else:
            self.lease.spans.append(attrs.evolve(span, last=last, size=len(entries)))
            span.first = last + 1
            span.size -= len(entries)
        self._add_entries(attrs.evolve(entries, attempts=[span.attempts] * len(entries)))

    def _lease_new(self) -> None:
        """Lease the conversions after the cursor; move it past those for other destinations."""
        progress, end = self._progress, self._log.end
        if self._space <= 0 or progress.cursor == end:
            return
        entries, last = self._log.scan(self._name, progress.cursor + 1, end, self._space)
        if self._log.extra_bytes and len(fitting := self._fitting(entries)) < len(entries):
            if not fitting:
                return
            entries, last = fitting, fitting.seqs[-1]
        progress.cursor = last
        if entries:
            span = Span(first=entries.seqs[0], last=entries.seqs[-1], size=len(entries))
            self.lease.spans.append(span)
            progress.passed += len(entries)
            progress.claimed += len(entries)
            self._add_entries(entries)
