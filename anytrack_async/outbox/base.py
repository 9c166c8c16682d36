"""Where accepted conversions wait: the `Outbox` protocol and what it hands out.

An outbox is a log. Conversions are appended in order, each destination has a cursor on the log, a
claim leases the next range behind it, and settling deletes the lease. Only the exceptions, waiting
for a retry or dead, become records of their own. So a conversion that is behind a destination's
cursor, in no lease and no exception, is delivered there.

All times are unix seconds (float), as they are compared between processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import attrs

from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.entries import Entries


class Appended(StrEnum):
    """What became of one conversion given to `Outbox.append`."""

    NEW = "new"
    REPEAT = "repeat"
    """Its event id is known with the same content: nothing to do."""
    CONFLICT = "conflict"
    """Its event id is known with other content: not taken."""


@attrs.frozen(kw_only=True)
class Claim:
    """A lease on some conversions, or word of when to ask again.

    Attributes:
        destination: for whom.
        lease_id: names the lease; 0 when there is nothing to do now.
        entries: the conversions, in log order; empty when there is nothing to do now.
        next_due: with no entries, when the next becomes due by itself (a retry, or a lease that
            ends), unix seconds; None if nothing is known to come.
    """

    destination: str
    lease_id: int = 0
    entries: Entries = attrs.field(factory=Entries)
    next_due: float | None = None


@attrs.frozen(kw_only=True)
class FailedEntry:
    """An entry of a claim that was not delivered.

    Attributes:
        seq: which entry.
        attempts: how often it was tried by now.
        error: why it was not delivered.
        code: the destination's error code.
        due: when to try again, unix seconds; None makes it a dead letter.
    """

    seq: int
    attempts: int
    error: str
    code: str | None = None
    due: float | None = None


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A conversion that a destination will never take, with the reason.

    Attributes:
        seq: its place in the log; page through dead letters with it.
        destination: who did not take it.
        conversion: the conversion.
        attempts: how often it was tried.
        error: why, in the destination's own words where it said some.
        code: the destination's error code.
        died_at: when it was given up, unix seconds.
    """

    seq: int
    destination: str
    conversion: Conversion
    attempts: int
    error: str
    code: str | None
    died_at: float


@attrs.frozen(kw_only=True)
class Depth:
    """How much of the outbox one destination has not got.

    Attributes:
        waiting: neither delivered nor dead, the two below included. Conversions meant for other
            destinations only may be counted until the cursor has passed them.
        in_flight: of these, leased by a worker now.
        retrying: of these, tried before or replayed, and waiting for another attempt.
        dead: dead letters.
    """

    waiting: int = 0
    in_flight: int = 0
    retrying: int = 0
    dead: int = 0


class Outbox(Protocol):
    """Where accepted conversions wait until every destination has them.

    One contract suite, ``anytrack_async.testing.outbox_contract``, holds for every implementation.
    """

    @property
    def durable(self) -> bool:
        """Whether what is accepted survives the end of the process."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes may append and settle too, so that lanes have to look."""
        ...

    @property
    def capacity(self) -> int:
        """How many conversions may wait for the slowest destination; more is `QueueFullError`."""
        ...

    async def open(self, destinations: Sequence[str], *, from_start: Sequence[str] = ()) -> None:
        """Get ready and register *destinations*.

        A new destination starts at the end of the log, one in *from_start* at its beginning; a
        known one goes on where it was.

        Raises:
            OutboxError: the store cannot be opened.
            SchemaVersionError: a later release wrote it.
        """
        ...

    async def destinations(self) -> Sequence[str]:
        """Return every destination registered, also those this process has no sink for."""
        ...

    async def forget(self, destination: str) -> None:
        """Drop a destination with its backlog, retries and dead letters."""
        ...

    async def append(
        self, conversions: Sequence[Conversion], destinations: Sequence[str] | None = None
    ) -> Sequence[Appended]:
        """Write *conversions* down, all in one step; they are safe once this returns.

        Args:
            conversions: what to accept; event ids may repeat, also within one call.
            destinations: whom they are for; None for everyone.

        Returns:
            One answer per conversion, in order.

        Raises:
            QueueFullError: no room for all of them; none was accepted.
            OutboxError: they could not be written; none was accepted.
        """
        ...

    async def claim(self, destination: str, limit: int, lease: float) -> Claim:
        """Lease up to *limit* conversions for *lease* seconds.

        Retries that are due and ranges whose lease ended come first, then the log beyond the
        cursor. Conversions not meant for *destination* are passed over. A lease that ended while
        it was held counts as an attempt: its worker may have died of it.

        Raises:
            OutboxError: no such destination.
        """
        ...

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Extend the lease to *lease* seconds from now; False if it was lost to another worker."""
        ...

    async def settle(self, claim: Claim, failed: Sequence[FailedEntry] = ()) -> bool:
        """End *claim*: entries with a failure are kept for later or dead, all others delivered.

        Returns:
            False, changing nothing, if the lease was lost to another worker.

        Raises:
            OutboxError: a failure is for an entry that *claim* does not have.
        """
        ...

    async def release(self, claim: Claim, *, due: float, tried: bool) -> bool:
        """Give the whole *claim* back, to be claimed again not before *due*.

        Args:
            claim: what to give back.
            due: when it may be claimed again, unix seconds.
            tried: whether this counts as an attempt.

        Returns:
            False, changing nothing, if the lease was lost to another worker.
        """
        ...

    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return how each known one of *event_ids* stands at every destination it is for."""
        ...

    async def undelivered(self, destination: str, *, limit: int = 1000) -> Sequence[str]:
        """Return event ids that *destination* neither has nor refused, in log order."""
        ...

    async def depths(self) -> Mapping[str, Depth]:
        """Return destination → how much it has not got. Cheap: it does not read the log."""
        ...

    async def dead_letters(
        self, destination: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters of one destination or all, by `seq`, from beyond *after*.

        A page never splits what one conversion left at several destinations, so it may be a little
        longer than *limit*; after the last page comes an empty one.
        """
        ...

    async def replay(self, destination: str, event_ids: Sequence[str] | None = None) -> int:
        """Make dead letters due now with attempts from 0: those of *event_ids*, or all.

        Returns:
            How many.
        """
        ...

    async def prune(self, *, remember: float) -> int:
        """Drop the payloads that every destination has, and ids older than *remember* seconds.

        Returns:
            How many payloads were dropped.
        """
        ...

    async def aclose(self) -> None:
        """Close the store; what it holds stays."""
        ...
