"""The optional parts of an outbox: protocols that an engine may implement beside `Outbox`.

A caller asks ``isinstance(outbox, KeepsTime)`` and does without where it is not one. An engine has
a part by having its methods; it need not inherit from the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import AppendResult, Claim, FailedEntry, Outbox

ParameterStyle: TypeAlias = Literal["format", "numeric_dollar"]
"""How a statement names its parameters: ``%s`` (psycopg, Django), or ``$1``, ``$2``, … (asyncpg).

The words are those of SQLAlchemy and of PEP 249.
"""


@runtime_checkable
class JoinableOutbox(Protocol):
    """Optional part of an outbox in a database: it appends in a transaction of the caller.

    Rows that a program writes in the same transaction, such as an order, are then committed
    together with the conversion, or neither is.
    """

    async def append_within(
        self,
        transaction: object,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None = None,
    ) -> Sequence[AppendResult]:
        """Do the same as `Outbox.append` in *transaction*, by executing a statement through it.

        No lane is woken: lanes find the conversions once the transaction is committed, and if it is
        rolled back, the conversions were never in the log. A repeat of a conversion that another
        transaction has not committed yet waits for that transaction.

        Args:
            transaction: a session or a connection of the database that the outbox is in.
            conversions: the conversions.
            destinations: names of the destinations they are addressed to; None for all.

        Raises:
            InvalidArgumentError: *transaction* is nothing that can be joined, or no transaction is
                open; nothing was executed.
            QueueFullError: a destination has no room; nothing was executed.
            UnsendableError: one has more than `MAX_CONVERSION_BYTES`, or all together have more
                than `MAX_APPEND_BYTES`; nothing was executed.
            Exception: any exception of *transaction*. It is passed on unchanged, because the caller
                may have to repeat the whole transaction.
        """
        ...

    def append_statement(
        self,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None = None,
        *,
        style: ParameterStyle = "format",
    ) -> tuple[str, Sequence[object]]:
        """Return a statement that appends *conversions*, and its parameters, for any driver.

        Execute it in the transaction that the conversions belong to.

        Args:
            conversions: the conversions.
            destinations: names of the destinations they are addressed to; None for all.
            style: how the statement names its parameters.

        Raises:
            UnsendableError: see `append_within`.
        """
        ...

    def append_results(
        self, conversions: Sequence[Conversion], row: Sequence[object]
    ) -> Sequence[AppendResult]:
        """Return a result for each conversion, as `Outbox.append` does.

        Args:
            conversions: the conversions that `append_statement` was called with.
            row: the row that the statement returned.
        """
        ...


@runtime_checkable
class WatchesNews(Protocol):
    """Optional part of a shared outbox that hears of conversions which other processes accept.

    Lanes poll a shared outbox every `DeliverySettings.poll` seconds, with or without news. News
    only save the wait.
    """

    async def watch(self, wake: Callable[[str | None], None]) -> None:
        """Call *wake* soon after other processes have accepted conversions, until cancelled.

        A client runs it while it is open. It may wake too often, or never. If it loses its
        connection, it makes a new one by itself.

        Args:
            wake: called with the destination that has something to claim; None for all.
        """
        ...


@runtime_checkable
class KeepsTime(Protocol):
    """Optional part of an outbox that has its times on a clock of its own.

    A wall clock that is set makes every stored time wrong: retries wait too long, and conversions
    are given up, and ids forgotten, too early. The clock of an outbox should not leap.
    """

    def now(self) -> float:
        """Return unix seconds on the outbox's clock, which never goes back."""
        ...


@runtime_checkable
class KeepsCheckpoints(Protocol):
    """Optional part of an outbox that keeps the progress of long jobs with its conversions."""

    async def checkpoint(self, name: str) -> bytes | None:
        """Return the value last saved as *name*; None if there is none."""
        ...

    async def save_checkpoint(self, name: str, value: bytes | None) -> None:
        """Save *value* as *name*, as safe as an accepted conversion; None deletes it."""
        ...


@runtime_checkable
class KeepsRemoteIds(Protocol):
    """Optional part of an outbox that keeps the ids which destinations gave to conversions.

    Without this part, a report has such an id only in the process that delivered the conversion,
    and only as long as the program holds the conversion's `Delivery`.
    """

    async def settle_with_ids(
        self, claim: Claim, failed: Sequence[FailedEntry], remote_ids: Sequence[str | None]
    ) -> bool:
        """Do the same as `Outbox.settle`, and keep *remote_ids* in the same atomic step.

        Reports have them as `Outcome.remote_id`, as long as the event ids are remembered.

        Args:
            claim: the claim to end.
            failed: its entries that were not delivered.
            remote_ids: the destination's id for each entry of the claim, in order: at most 255
                printable characters; None where it gave none, and for those in *failed*.
        """
        ...


@runtime_checkable
class ListsAccepted(Protocol):
    """Optional part of an outbox that lists the conversions whose ids it remembers."""

    async def accepted(
        self, *, since: float, until: float | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, str]]:
        """Return positions and event ids of conversions accepted in a period, in log order.

        An outbox that has dropped payloads may no longer know when exactly a conversion was
        accepted. Then the list also has neighbours that were accepted before *since* or after
        *until*.

        Args:
            since: the earliest acceptance, unix seconds.
            until: the latest acceptance, unix seconds; None for no end.
            after: only positions above this one.
            limit: how many.
        """
        ...

    async def forgotten(self) -> int:
        """Return how many positions at the beginning of the log have no ids any more."""
        ...


@runtime_checkable
class KeepsSummaries(Protocol):
    """Optional part of an outbox that returns the summary of the conversion with an event id.

    A back-fill uses the summaries, so that rows which were accepted before need not become
    conversions.
    """

    async def summaries(self, event_ids: Sequence[str]) -> Mapping[str, str | None]:
        """Return event id → type, amount and currency of its conversion: ``sale 49.90 USD``.

        Unknown ids are absent. The text is None if only the id is known. See `ConversionSummary`.

        Args:
            event_ids: some hundred ids.
        """
        ...


@runtime_checkable
class MeasuresAge(Protocol):
    """Optional part of an outbox that says how long its oldest conversion has been waiting.

    The age tells a lane that stands still from one that is busy: a backlog of ten thousand may be
    a minute old, and one conversion may have been waiting for a day.
    """

    async def oldest_ages(self) -> Mapping[str, float]:
        """Return destination → seconds since its oldest waiting conversion was accepted.

        Destinations for which nothing waits are absent. Dead letters do not count. Conversions
        addressed to other destinations only may count until the cursor has passed them.
        """
        ...


@attrs.frozen(kw_only=True)
class ErasedConversion:
    """A stored conversion that was replaced by one without its customer.

    Attributes:
        event_id: its event id.
        order_id: its order id.
        in_flight: destinations for which a worker had claimed it: it may be sent as it was. An
            outbox may also name destinations that it is not addressed to.
    """

    event_id: str
    order_id: str | None = None
    in_flight: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Erasure:
    """The result of `ErasesCustomers.erase`.

    Attributes:
        conversions: the conversions that were replaced, in log order.
        unreadable: event ids of stored conversions that cannot be read, so that their customers are
            unknown.
    """

    conversions: tuple[ErasedConversion, ...] = ()
    unreadable: tuple[str, ...] = ()


@runtime_checkable
class ErasesCustomers(Protocol):
    """Optional part of an outbox that can erase a person's data from its stored conversions."""

    async def erase(self, erase: Callable[[Conversion], Conversion | None], /) -> Erasure:
        """Replace stored conversions: waiting, in flight, retrying, dead, and delivered ones.

        Only the content of a conversion changes: its position in the log, its destinations, its
        state and its summary stay. The reasons of its failures are emptied. The old content cannot
        be read from the store any more, and claims that begin later have the replacement.

        Args:
            erase: returns the replacement of a conversion, with the same event id; None to keep the
                conversion. The function is pure, and may be called in another thread, and more than
                once.

        Raises:
            OutboxError: the store failed; finished replacements stay, and erasing again is safe.
            MissingKeyError: a conversion is encrypted with a key that the outbox does not have.
        """
        ...


@runtime_checkable
class EmptiesReasons(Protocol):
    """Optional part of an outbox that can empty reasons of failures by their text.

    A service may quote a customer in its answer. The reason of an attempt stays longer than the
    content of the conversion, so that only the text shows which customer it is about; and a service
    may quote one customer in its answer about a batch with others.
    """

    async def empty_reasons(self, matches: Callable[[str], bool], /) -> int:
        """Empty reasons of failures: of retries, dead letters, discarded ones and past attempts.

        The search goes on in steps, between which the outbox can be used. Only the text changes: an
        attempt keeps its time, its code and its HTTP status.

        Args:
            matches: returns whether to empty a reason; its argument is the decrypted text. The
                function is pure, and may be called in another thread, and more than once.

        Returns:
            How many reasons were emptied; the same text may be stored more than once.

        Raises:
            OutboxError: the store failed; emptied reasons stay empty, and a repetition is safe.
            MissingKeyError: a reason is encrypted with a key that the outbox does not have.
        """
        ...


@runtime_checkable
class CountsDelivered(Protocol):
    """Optional part of an outbox that counts delivered conversions, whichever process sent them."""

    async def delivered_counts(self) -> Mapping[str, int]:
        """Return destination → how many conversions it has received since it was registered."""
        ...


async def oldest_ages(outbox: Outbox) -> Mapping[str, float]:
    """Return destination → age of its oldest waiting conversion; empty if *outbox* has no ages."""
    return await outbox.oldest_ages() if isinstance(outbox, MeasuresAge) else {}


@runtime_checkable
class BoundsDeadLetters(Protocol):
    """Optional part of an outbox that has room for a number of dead letters only.

    It discards the oldest of a destination when there is no room for new ones. A client asks which
    these were after some seconds, and when it closes, and sends the event `Dropped`.
    """

    def take_pushed_out(self) -> Mapping[str, Sequence[str]]:
        """Return destination → event ids of dead letters discarded since the last call."""
        ...


@runtime_checkable
class ServesOneClient(Protocol):
    """Optional part of an outbox that belongs to one client from before `Outbox.open` to `aclose`.

    With the number of attempts it can tell which isolated conversions are on their last one: it
    leases those one at a time, so that the conversion that ends the process is known, and no other
    is given up.
    """

    def attach(self, max_attempts: int) -> None:
        """Begin to serve a client with which a conversion may make *max_attempts*.

        Raises:
            OutboxError: another client has this object open; nothing has changed.
        """
        ...


@runtime_checkable
class LimitsWaiting(Protocol):
    """Optional part of an outbox that lets `Outbox.append` wait for other programs."""

    def limit_waiting(self, seconds: float) -> None:
        """Let `Outbox.append` wait for *seconds* at most until the outbox is closed.

        After that, `append` raises `OutboxError`, and its conversions are never accepted.
        """
        ...

    async def append(
        self,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None = None,
        *,
        waited: float = 0.0,
    ) -> Sequence[AppendResult]:
        """Do the same as `Outbox.append` for a caller that has waited for *waited* seconds already.

        Those count: with a limit of 10 s, a caller that waited 7 s for room waits 3 s for a lock.
        """
        ...
