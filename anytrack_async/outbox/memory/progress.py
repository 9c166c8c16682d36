"""How far one destination got with a log in memory: `Progress`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

import attrs

from anytrack_async.outbox.base import Depth, FailedEntry


@attrs.define(kw_only=True, eq=False)
class Span:
    """A range of the log behind the cursor that is not settled.

    Attributes:
        first: its first place.
        last: its last place.
        size: how many conversions in it are meant for the destination.
        attempts: how often they were tried.
        due: when they may be claimed, unix seconds.
    """

    first: int
    last: int
    size: int
    attempts: int = 0
    due: float = 0.0


@attrs.define(kw_only=True)
class Exceptional:
    """A conversion that waits for a retry, or is dead when `due` is None.

    Attributes:
        failure: what was said about it last.
        lease: who works on it; 0 for nobody.
        at: when it got here, unix seconds.
    """

    failure: FailedEntry
    lease: int = 0
    at: float = 0.0


@attrs.define(kw_only=True)
class Lease:
    """What one claim took: ranges and single retries, until a moment in unix seconds."""

    until: float = 0.0
    spans: list[Span] = attrs.field(factory=list)
    retries: list[int] = attrs.field(factory=list)

    @property
    def size(self) -> int:
        """How many conversions it holds."""
        return sum(span.size for span in self.spans) + len(self.retries)


class Progress:
    """One destination's cursor, leases, released ranges and exceptions.

    Attributes:
        cursor: the last place handed out.
        start: what is at or before it was not meant for this destination, unless `since` says so.
        since: when it joined at the beginning of the log; what had gone by then it never got.
        behind: conversions at or before the cursor that are neither delivered nor dead.
        dead: how many dead letters there are.
    """

    def __init__(self, *, start: int, since: float | None = None) -> None:
        self.cursor = start
        self.start = start
        self.since = since
        self.behind = 0
        self.dead = 0
        self.exceptions: dict[int, Exceptional] = {}
        self.released: list[Span] = []
        self.leases: dict[int, Lease] = {}
        # Every exception that waits, and is not leased, once: when it is due, and its place.
        self._due: list[tuple[float, int]] = []

    # Taking

    def due_retries(self, lease_id: int, room: int, now: float) -> list[int]:
        """Lease up to *room* retries that are due, and return their places."""
        taken: list[int] = []
        while len(taken) < room and self._next_retry() <= now:
            _, seq = heappop(self._due)
            self.exceptions[seq].lease = lease_id
            taken.append(seq)
        return taken

    def due_spans(self, now: float) -> list[Span]:
        """Return the released ranges that are due, in log order."""
        due = [span for span in self.released if span.due <= now]
        return sorted(due, key=lambda span: span.first)

    def expire_one(self, now: float) -> bool:
        """Release the lease that ended first, if one did: its worker may have died of it."""
        lease_id = min(self.leases, key=lambda one: self.leases[one].until, default=0)
        if not lease_id or self.leases[lease_id].until > now:
            return False
        self.release(lease_id, due=self.leases[lease_id].until, counts_as_attempt=True)
        return True

    def next_due(self) -> float | None:
        """Return when something comes back by itself, unix seconds; None if nothing will."""
        moments = [self._next_retry()]
        moments += [span.due for span in self.released]
        moments += [lease.until for lease in self.leases.values()]
        first = min(moments)
        return None if first == float("inf") else first

    def _next_retry(self) -> float:
        return self._due[0][0] if self._due else float("inf")

    # Giving back

    def settle(self, lease_id: int, failed: Sequence[FailedEntry], now: float) -> Iterable[int]:
        """End a lease; return the retries that it delivered."""
        lease = self.leases.pop(lease_id)
        self.behind -= lease.size
        for seq in lease.retries:
            del self.exceptions[seq]
        for failure in failed:
            self.keep(failure, now)
        return lease.retries

    def keep(self, failure: FailedEntry, now: float) -> None:
        """Make a conversion an exception."""
        self.exceptions[failure.seq] = Exceptional(failure=failure, at=now)
        if failure.due is None:
            self.dead += 1
        else:
            self.behind += 1
            heappush(self._due, (failure.due, failure.seq))

    def release(self, lease_id: int, *, due: float, counts_as_attempt: bool) -> None:
        """Give back what a lease holds, to be claimed again from *due*."""
        lease = self.leases.pop(lease_id)
        for span in lease.spans:
            span.due = due
            span.attempts += counts_as_attempt
        self.released += lease.spans
        for seq in lease.retries:
            kept = self.exceptions[seq]
            kept.lease = 0
            kept.failure = attrs.evolve(
                kept.failure, due=due, attempts=kept.failure.attempts + counts_as_attempt
            )
            heappush(self._due, (due, seq))

    def revive(self, seq: int, now: float) -> bool:
        """Make a dead letter due now, as if never tried; False if there is none."""
        if not self.is_dead(seq):
            return False
        self.dead -= 1
        self.keep(attrs.evolve(self.exceptions[seq].failure, due=now, attempts=0), now)
        return True

    # Looking

    def spans(self) -> list[Span]:
        """Return the ranges behind the cursor that are not settled."""
        return [*self.released, *(span for lease in self.leases.values() for span in lease.spans)]

    def position(self) -> int:
        """Return the place up to which nothing but exceptions is left to do."""
        return min((span.first - 1 for span in self.spans()), default=self.cursor)

    def span_at(self, seq: int) -> Span | None:
        """Return the unsettled range around *seq*, if there is one."""
        return next((span for span in self.spans() if span.first <= seq <= span.last), None)

    def is_dead(self, seq: int) -> bool:
        """Tell whether the conversion at *seq* is a dead letter."""
        kept = self.exceptions.get(seq)
        return kept is not None and kept.failure.due is None

    def depth(self, end: int, now: float) -> Depth:
        """Return how much of a log that ends at *end* is left to do."""
        live = [lease for lease in self.leases.values() if lease.until > now]
        lost = [lease for lease in self.leases.values() if lease.until <= now]
        retries = len(self.exceptions) - self.dead - sum(len(lease.retries) for lease in live)
        ranges = sum(span.size for span in self.released if span.attempts)
        ranges += sum(span.size for lease in lost for span in lease.spans)
        return Depth(
            waiting=end - self.cursor + self.behind,
            in_flight=sum(lease.size for lease in live),
            retrying=retries + ranges,
            dead=self.dead,
        )
