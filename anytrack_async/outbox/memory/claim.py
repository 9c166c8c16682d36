"""One claim on a log in memory: `Taking`."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter

import attrs

from anytrack_async.outbox.base import Entries, Entry
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import Lease, Progress, Span


class Taking:
    """Collects up to *limit* entries of *log* for the destination *name*.

    Attributes:
        lease: what to keep as a lease on them.
    """

    def __init__(self, log: MemoryLog, name: str, progress: Progress, *, limit: int) -> None:
        self.lease = Lease()
        self._parts: list[Entries] = []
        self._log = log
        self._name = name
        self._progress = progress
        self._room = limit

    def collect(self, lease_id: int, now: float) -> Entries:
        """Take what is due again, then what lost its worker, then the log beyond the cursor.

        Returns:
            What was found, in log order.
        """
        while self._room > 0:
            self._retries(lease_id, now)
            self._released(now)
            if self._room <= 0 or not self._progress.expire_one(now):
                break
        self._new()
        if len(self._parts) == 1:
            return self._parts[0]
        return Entries.of(sorted(chain(*self._parts), key=attrgetter("seq")))

    def _take(self, entries: Entries) -> None:
        if entries:
            self._parts.append(entries)
            self._room -= len(entries)

    def _retries(self, lease_id: int, now: float) -> None:
        seqs = self._progress.due_retries(lease_id, self._room, now)
        self.lease.retries += seqs
        self._take(Entries.of(map(self._retry, sorted(seqs))))

    def _retry(self, seq: int) -> Entry:
        attempts = self._progress.exceptions[seq].failure.attempts
        return self._log.entry(seq)._replace(attempts=attempts)

    def _released(self, now: float) -> None:
        for span in self._progress.due_spans(now):
            if self._room <= 0:
                return
            self._span(span)

    def _span(self, span: Span) -> None:
        found, last = self._log.scan(self._name, span.first, span.last, self._room)
        if len(found) == span.size:
            self._progress.released.remove(span)
            self.lease.spans.append(span)
        else:
            self.lease.spans.append(attrs.evolve(span, last=last, size=len(found)))
            span.first = last + 1
            span.size -= len(found)
        self._take(attrs.evolve(found, attempts=[span.attempts] * len(found)))

    def _new(self) -> None:
        progress, end = self._progress, self._log.end
        if self._room <= 0 or progress.cursor == end:
            return
        new, progress.cursor = self._log.scan(self._name, progress.cursor + 1, end, self._room)
        if new:
            self.lease.spans.append(Span(first=new.seqs[0], last=new.seqs[-1], size=len(new)))
            progress.behind += len(new)
            self._take(new)
