"""The `Outbox` protocol, the objects it exchanges with its callers, and the errors engines share.

An outbox is a log. Conversions are appended in order, each destination has a cursor on the log, a
claim leases the next range behind the cursor, and settling the claim deletes its lease. Only the
exceptions, meaning failed conversions that wait for a retry and dead letters, become records of
their own. A conversion behind a cursor, in no lease and no exception, is delivered there.

All times are unix seconds (float), because they are compared between processes. Those that go in
or come out are by the caller's clock: its wall clock, or that of a `KeepsTime`. Leases run by the
store's own clock, whatever the workers' say. Optional parts of an outbox are in `capabilities`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple, Protocol, Self, TypeAlias, overload

import attrs

from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.dead_letters import DeadLetter, DeadLetterFilter

_event_id = attrgetter("event_id")


class Appended(StrEnum):
    """The usual result of `Outbox.append` for one conversion; the other is a `Contradiction`."""

    NEW = "new"
    """The event id was unknown: the conversion is accepted."""
    REPEAT = "repeat"
    """The event id is known: it is the same conversion, and there is nothing to do."""


AppendResult: TypeAlias = Appended | Contradiction
"""The result of `Outbox.append` for one conversion.

A `Contradiction` is a repeat that has another type, amount or currency than the first conversion,
which is kept. Nothing else that differs matters: a repeat often comes from another place, such as
the shop's webhook, which knows more or less than the thank-you page. An outbox compares the
`summary` of both, and keeps it as long as the event id.
"""


class Entry(NamedTuple):
    """One conversion in a claim.

    Attributes:
        seq: position in the log.
        conversion: the conversion.
        attempts: number of failed deliveries to this destination so far.
        accepted_at: time of acceptance, unix seconds.
    """

    seq: int
    conversion: Conversion
    attempts: int
    accepted_at: float


@attrs.frozen(kw_only=True, eq=False)
class Entries(Sequence[Entry]):
    """The entries of a claim as columns of equal length; indexing builds an `Entry` on demand.

    A claim may be in flight for seconds with a thousand conversions. Columns of plain values spare
    Python's cyclic garbage collector from traversing a thousand more objects during that time.

    Attributes:
        seqs: positions in the log.
        conversions: the conversions.
        attempts: number of failed deliveries of each to this destination so far.
        accepted_at: time of acceptance of each, unix seconds.
    """

    seqs: Sequence[int] = ()
    conversions: Sequence[Conversion] = ()
    attempts: Sequence[int] = ()
    accepted_at: Sequence[float] = ()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """Return *entries* as columns, in the same order."""
        columns = tuple(zip(*entries, strict=True))
        if not columns:
            return cls()
        seqs, conversions, attempts, accepted_at = columns
        return cls(seqs=seqs, conversions=conversions, attempts=attempts, accepted_at=accepted_at)

    @property
    def event_ids(self) -> list[str]:
        """The conversions' event ids."""
        return list(map(_event_id, self.conversions))

    def __len__(self) -> int:
        return len(self.seqs)

    def __iter__(self) -> Iterator[Entry]:
        return map(Entry, self.seqs, self.conversions, self.attempts, self.accepted_at)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Entries: ...
    def __getitem__(self, index: int | slice) -> Entry | Entries:
        if isinstance(index, slice):
            return Entries(
                seqs=self.seqs[index],
                conversions=self.conversions[index],
                attempts=self.attempts[index],
                accepted_at=self.accepted_at[index],
            )
        return Entry(
            self.seqs[index],
            self.conversions[index],
            self.attempts[index],
            self.accepted_at[index],
        )


@attrs.frozen(kw_only=True)
class Claim:
    """A lease on some conversions, or the time at which to claim again.

    Attributes:
        destination: name of the destination that the conversions go to.
        lease_id: identifies the lease, in no order; 0 when nothing could be claimed.
        entries: the conversions, in log order; empty when nothing could be claimed.
        lost_leases: position → how many leases on the conversion ended without a result, because
            the worker died or was too late; only of conversions that lost any.
        large_bytes: about how many bytes of memory the entries take that are larger than 2 KiB.
        next_due: for an empty claim, when the next conversion becomes due without a new append
            (a retry, or a lease that expires), unix seconds; None if none will.
    """

    destination: str
    lease_id: int = 0
    entries: Entries = attrs.field(factory=Entries)
    lost_leases: Mapping[int, int] = attrs.field(factory=dict)
    large_bytes: int = 0
    next_due: float | None = None


@attrs.frozen(kw_only=True)
class FailedEntry:
    """An entry of a claim that was not delivered.

    Attributes:
        seq: position of the entry in the log.
        attempts: number of failed deliveries, the latest included.
        error: why the delivery failed.
        code: the destination's error code.
        due: time of the next attempt, unix seconds; None makes the entry a dead letter.
        http_status: of the destination's response, for `PastAttempt`; None without one.
    """

    seq: int
    attempts: int
    error: str
    code: str | None = None
    due: float | None = None
    http_status: int | None = None


@attrs.frozen(kw_only=True)
class Depth:
    """Number of conversions that one destination has not received.

    Attributes:
        waiting: neither delivered nor dead, including the two counts below. Conversions addressed
            to other destinations only may be counted until the cursor has passed them.
        in_flight: the part of `waiting` that a worker has leased.
        retrying: the part of `waiting` that has failed before, or was replayed, and is not leased.
        dead: dead letters.
        waiting_bytes: about how many bytes `waiting` takes; None if the outbox does not limit it.
    """

    waiting: int = 0
    in_flight: int = 0
    retrying: int = 0
    dead: int = 0
    waiting_bytes: int | None = attrs.field(default=None, eq=False)


class Outbox(Protocol):
    """Stores accepted conversions until every destination has received them.

    Each implementation has to pass the suite ``anytrack_async.testing.outbox_contract``.
    """

    @property
    def durable(self) -> bool:
        """Whether accepted conversions survive the end of the process."""

    @property
    def shared(self) -> bool:
        """Whether other processes may append and settle too, so that lanes have to poll."""

    @property
    def capacity(self) -> int:
        """How many conversions may wait for each destination, a few more if processes share it."""
        ...

    async def open(self, destinations: Sequence[str], *, from_start: Sequence[str] = ()) -> None:
        """Open the store and register *destinations*.

        An object that is open cannot be opened; after `aclose` it can. A new destination starts at
        the end of the log, or at its beginning if it is also named in *from_start*. A registered
        destination continues at its cursor.

        Raises:
            OutboxError: the store cannot be opened, or this object is open; nothing has changed.
            SchemaVersionError: a later release wrote the store.
        """
        ...

    async def destinations(self) -> Sequence[str]:
        """Return every registered destination, also those without a sink in this process."""
        ...

    async def forget(self, destination: str) -> None:
        """Remove a destination with its backlog, retries and dead letters.

        This method and those below raise `OutboxError` for a name that no destination can have,
        and `InvalidArgumentError` for event ids and numbers that no outbox can hold.
        """
        ...

    async def append(
        self, conversions: Sequence[Conversion], destinations: Sequence[str] | None = None
    ) -> Sequence[AppendResult]:
        """Store *conversions* in one atomic step; they are safe once this returns.

        Each destination has room of its own for `capacity` conversions, and perhaps for a number
        of bytes. There must be room at each destination that they are addressed to, and only there.
        Repeats need no room.

        Args:
            conversions: the conversions to accept; event ids may repeat, also within one call.
            destinations: names of the destinations they are addressed to; None for all.

        Returns:
            One result per conversion, in order.

        Raises:
            QueueFullError: a destination has no room for all of them, see `QueueFullError.waiting`;
                none was accepted.
            UnsendableError: one has more than `MAX_CONVERSION_BYTES`, or all have more than
                `MAX_APPEND_BYTES`; none was accepted.
            OutcomeUnknownError: an answer was lost: all are accepted, or none; append them again.
            OutboxError: they could not be stored; none was accepted.
        """
        ...

    async def claim(self, destination: str, limit: int, lease: float) -> Claim:
        """Lease up to *limit* conversions, of `MAX_CLAIM_BYTES` or only one, for *lease* seconds.

        Due retries come first, those that have been due longest before the others; then released
        ranges and ranges with an expired lease; then the log beyond the cursor. Conversions that
        are not addressed to *destination* are skipped. An expired lease counts as a failed
        attempt, because its conversions may be the reason that its worker died.

        In an outbox that is shared, a conversion is isolated once two leases on it ended without a
        result: it is claimed before all others and alone, and on its last attempt (see
        `ServesOneClient`), no other isolated conversion is in flight in the same process.

        Raises:
            OutboxError: the destination is not registered.
        """
        ...

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Extend the lease to *lease* seconds from now; False if another worker took it over."""
        ...

    async def settle(self, claim: Claim, failed: Sequence[FailedEntry] = ()) -> bool:
        """End *claim*: entries in *failed* are retried or dead, all others are delivered.

        Returns:
            False, changing nothing, if another worker took the lease over, or it was settled.

        Raises:
            OutcomeUnknownError: the answer was lost; after settling again, False may mean that this
                call had settled it.
            OutboxError: *failed* contains an entry that is not in *claim*.
        """
        ...

    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Return the whole *claim* undelivered.

        Args:
            claim: the claim to end.
            due: when its conversions may be claimed again, unix seconds.
            counts_as_attempt: whether to count a failed attempt for each conversion.

        Returns:
            False, changing nothing, if another worker took the lease over.

        Raises:
            OutcomeUnknownError: the answer was lost; see `settle`.
        """
        ...

    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return event id → outcomes at the destinations it is addressed to; skip unknown ids."""
        ...

    async def undelivered(self, destination: str, *, limit: int = 1000) -> Sequence[str]:
        """Return ids of events neither delivered to *destination* nor dead, in log order."""
        ...

    async def depths(self) -> Mapping[str, Depth]:
        """Return destination → its depth. Cheap: does not read the log."""
        ...

    async def dead_letters(
        self,
        destination: str | None = None,
        *,
        event_ids: Sequence[str] | None = None,
        where: DeadLetterFilter | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[DeadLetter]:
        """Return dead letters in log order.

        Dead letters of one conversion at several destinations are never split between pages, so a
        page may be slightly longer than *limit*. With large conversions it may be shorter. The page
        after the last is empty.

        Args:
            destination: only of this destination; default: of all.
            event_ids: only of conversions with these event ids.
            where: only those that fulfil this condition.
            after: only those with a `seq` above this one.
            limit: how many.
        """
        ...

    async def replay(
        self,
        destination: str | None,
        event_ids: Sequence[str] | None = None,
        *,
        where: DeadLetterFilter | None = None,
    ) -> int:
        """Make dead letters due now with 0 attempts.

        The arguments select them as in `dead_letters`; None for all.

        Returns:
            The number of dead letters replayed.
        """
        ...

    async def discard(
        self,
        destination: str | None,
        event_ids: Sequence[str] | None = None,
        *,
        where: DeadLetterFilter | None = None,
    ) -> int:
        """Give up dead letters for good: their destination never gets the conversion.

        The arguments select them as in `dead_letters`; None for all. Reports have the status
        ``discarded`` and the reason as long as the event id is remembered.

        Returns:
            The number of dead letters discarded.
        """
        ...

    async def correct(self, conversion: Conversion) -> Sequence[str]:
        """Replace the stored conversion that has the same event id, and replay it where it is dead.

        One atomic step. Destinations that have not claimed the conversion yet get the corrected one
        too; those that have received it get nothing. From now on, repeats are compared with the
        corrected one.

        Returns:
            The destinations to which it is sent again; none if it is no dead letter anywhere, and
            then nothing has changed.
        """
        ...

    async def prune(self, *, remember: float) -> int:
        """Drop payloads that every destination has, and ids dropped *remember* seconds ago.

        Returns:
            The number of payloads dropped; 0 also if another process is pruning a shared outbox.
        """
        ...

    async def aclose(self) -> None:
        """Close the store; its contents stay, unless they are only in memory."""
        ...
