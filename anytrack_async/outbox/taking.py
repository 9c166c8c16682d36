"""One claim on a log in memory: `Taking`."""

from __future__ import annotations

import attrs

from anytrack_async.outbox.base import Entry
from anytrack_async.outbox.memory_log import MemoryLog
from anytrack_async.outbox.progress import Lease, Progress, Span


class Taking:
    """Collects up to *limit* entries of *log* for the destination *name*.

    Attributes:
        entries: what was found, in log order once `collect` returned.
        lease: what to keep as a lease on it.
    """

    def __init__(self, log: MemoryLog, name: str, progress: Progress, *, limit: int) -> None:
        self.entries: list[Entry] = []
        self.lease = Lease()
        self._log = log
        self._name = name
        self._progress = progress
        self._limit = limit

    @property
    def _room(self) -> int:
        return self._limit - len(self.entries)

    def collect(self, lease_id: int, now: float) -> None:
        """Take what is due again, then what lost its worker, then the log beyond the cursor."""
        while self._room > 0:
            self._retries(lease_id, now)
            self._released(now)
            if self._room <= 0 or not self._progress.expire_one(now):
                break
        mixed = bool(self.entries)
        self._new()
        if mixed:
            self.entries.sort(key=lambda entry: entry.seq)

    def _retries(self, lease_id: int, now: float) -> None:
        for seq in self._progress.due_retries(lease_id, self._room, now):
            self.lease.retries.append(seq)
            attempts = self._progress.exceptions[seq].setback.attempts
            self.entries.append(self._log.entry(seq)._replace(attempts=attempts))

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
        tried = span.attempts
        self.entries += [one._replace(attempts=tried) for one in found] if tried else found

    def _new(self) -> None:
        progress, end = self._progress, self._log.end
        if self._room <= 0 or progress.cursor == end:
            return
        new, progress.cursor = self._log.scan(self._name, progress.cursor + 1, end, self._room)
        if new:
            self.lease.spans.append(Span(first=new[0].seq, last=new[-1].seq, size=len(new)))
            progress.behind += len(new)
            self.entries += new
