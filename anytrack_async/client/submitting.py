"""`Submitting`: the part of the client that stores conversions in the outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

from anytrack_async.delivery.delivery import Delivery
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.room import Patience
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import AppendResult
from anytrack_async.outbox.transactions import Executes, HasCursors, execute_within_sync


class Submitting:
    """The part of the client that stores conversions in the outbox."""

    _dispatcher: Dispatcher

    @overload
    async def submit(
        self, conversion: Conversion, *, to: Sequence[str] | None = None
    ) -> Delivery: ...
    @overload
    async def submit(
        self, conversion: Conversion, *, to: Sequence[str] | None = None, within: Executes
    ) -> str: ...
    async def submit(
        self,
        conversion: Conversion,
        *,
        to: Sequence[str] | None = None,
        within: Executes | None = None,
    ) -> Delivery | str:
        """Store *conversion* in the outbox and return its `Delivery`; lanes deliver it from there.

        With a durable outbox, the conversion is on disk when this returns. A conversion with an
        event id that was submitted before is the same conversion: nothing is sent again, and the
        outcomes of the returned delivery are those of the first one. If it has another type, amount
        or currency, `Delivery.contradicts` says so, and an event `Contradicted`.

        It is safe to call in a web request: whatever values the visitor sent, it raises only
        `ClosedError`, `QueueFullError`, `OutboxError` and `TypeError`.

        With *within*, the conversion is part of a transaction of the caller's in the same
        PostgreSQL database, beside the order that it belongs to: both are committed, or neither.
        As it may never be, the event id is returned instead of a `Delivery`; `delivery` has one
        after the commit. Submit at the end of the transaction: one that submits the same event id
        waits until this one has ended. Exceptions of the database are passed on unchanged.

        Args:
            conversion: the conversion; it may have been submitted before. One that was read back
                from AnyTrack is validated first.
            to: names of its destinations; default: all.
            within: SQLAlchemy's `AsyncSession` or `AsyncConnection`, a connection of asyncpg, or
                psycopg's `AsyncConnection`, in a transaction.

        Raises:
            ConflictError: it contradicts the first conversion with its event id, and
                ``on_conflict="raise"``.
            QueueFullError: a destination was full for `DeliverySettings.accept_within` seconds, or
                is and ``on_full="raise"``; with ``"shed"``, every destination is. With *within*,
                the call never waits: ``"wait"`` raises at once. Nothing was accepted.
            ClosedError: the client is not open; nothing was accepted.
            OutboxError: the conversion could not be stored; nothing was accepted.
            OutcomeUnknownError: the answer of a database was lost, also after trying again: it may
                be accepted or not. Submit it again.
            ConfigurationError: *within* with an outbox that is in no database.
            InvalidArgumentError: *within* is not one of those, or has no transaction.
            UnsendableError: *conversion* is larger than 1 MiB, or was read back and cannot be sent;
                the message names its largest field, or its invalid ones. Nothing was accepted.
            TypeError: *conversion* is not a `Conversion`, or *to* not a list of destinations that
                the client has (`InvalidDestinationError`).
        """
        if type(conversion) is not Conversion:
            conversion = to_sendable(conversion)
        if within is not None:
            (event_id,) = await self._dispatcher.submit_within(within, (conversion,), to)
            return event_id
        return await self._dispatcher.submit_one(conversion, to)

    @overload
    async def submit_many(
        self, conversions: Iterable[Conversion], *, to: Sequence[str] | None = None
    ) -> Sequence[Delivery]: ...
    @overload
    async def submit_many(
        self,
        conversions: Iterable[Conversion],
        *,
        to: Sequence[str] | None = None,
        within: Executes,
    ) -> Sequence[str]: ...
    async def submit_many(
        self,
        conversions: Iterable[Conversion],
        *,
        to: Sequence[str] | None = None,
        within: Executes | None = None,
    ) -> Sequence[Delivery] | Sequence[str]:
        """Store *conversions* in one step and return their deliveries, in order.

        Each `Delivery` is created when you take it from the sequence, so unused ones cost next to
        nothing. With *within*, they are part of a transaction of the caller's, and the event ids
        are returned; see `submit`.

        Raises:
            ConflictError: some contradict the first conversion with their event id, and
                ``on_conflict="raise"``. The error names the first of them; all other conversions of
                the call are accepted, and ``error.deliveries`` has the deliveries of all.
            QueueFullError: there was no room for all conversions, see `submit`, or they are more
                than the outbox's capacity, also in bytes; none was accepted. The wait of
                `DeliverySettings.accept_within` seconds starts over whenever room is made.
            UnsendableError: one is larger than 1 MiB, or was read back and cannot be sent; or all
                together have more than 256 MiB, for an outbox in a file or in PostgreSQL. None was
                accepted.
            TypeError: *conversions* contains something else than a `Conversion`; none was accepted.
        """
        batch = _check_conversions(conversions)  # all conversions, before any is stored
        if within is not None:
            return await self._dispatcher.submit_within(within, batch, to)
        return await self._dispatcher.submit(batch, to, Patience.WHILE_MOVING)

    async def accept_many(
        self, conversions: Iterable[Conversion], *, to: Sequence[str] | None = None
    ) -> Sequence[AppendResult]:
        """Store *conversions* in one step and return which of them are new, in order.

        It is `submit_many` for callers that need no deliveries: a result is `Appended.NEW`,
        `Appended.REPEAT` or a `Contradiction`. A contradiction never raises here, whatever
        ``on_conflict`` says.

        Raises:
            QueueFullError: there was no room for all of them, see `submit_many`; none was accepted.
            UnsendableError: one was read back and cannot be sent; none was accepted.
            TypeError: *conversions* contains something else than a `Conversion`; none was accepted.
            ClosedError: the client is not open; none was accepted.
            OutboxError: they could not be stored; accepting them again is safe.
        """
        return await self._dispatcher.accept(_check_conversions(conversions), to)

    async def delivery(self, event_id: str) -> Delivery:
        """Return the `Delivery` of a conversion that was submitted before, here or elsewhere.

        It has the outcomes so far. For an event id that the outbox does not have (yet, because the
        transaction is not committed), it waits for a conversion to all destinations.

        Raises:
            ClosedError: the client is not open.
            OutboxError: the outcomes could not be read.
        """
        return await self._dispatcher.delivery(event_id)


def submit_within_sync(
    client: Submitting,
    transaction: Executes | HasCursors,
    conversions: Iterable[Conversion],
    to: Sequence[str] | None,
    in_loop: Callable[[Callable[[], Any]], Any],
) -> Sequence[str]:
    """Work as `Submitting.submit_many`, with a synchronous *transaction* and in this thread.

    Args:
        client: the client, open in another thread.
        transaction: see `execute_within_sync`.
        conversions: the conversions.
        to: names of their destinations; None for all.
        in_loop: calls a function in the client's thread.
    """
    dispatcher, batch = client._dispatcher, _check_conversions(conversions)
    outbox, addressed = in_loop(lambda: dispatcher.check_joining(to))
    row = execute_within_sync(
        transaction, lambda style: outbox.append_statement(batch, addressed, style=style)
    )
    results = outbox.append_results(batch, row)
    in_loop(lambda: dispatcher.tell_results(batch, results))
    return [conversion.event_id for conversion in batch]


def _check_conversions(conversions: Any) -> tuple[Conversion, ...]:
    if type(conversions) is not list and not isinstance(conversions, Iterable):
        kind = type(conversions).__name__
        raise TypeError(f"expected an iterable of Conversion objects, got {kind}: see submit()")
    batch = tuple(conversions)
    for conversion in batch:
        if type(conversion) is not Conversion:
            return tuple(map(to_sendable, batch))
    return batch


def to_sendable(value: Any) -> Conversion:
    """Return *value* if it can be submitted, validated if it was read back from AnyTrack.

    Raises:
        UnsendableError: it was read back and cannot be sent.
        TypeError: it is not a `Conversion`.
    """
    if type(value) is Conversion:
        return value
    # Imported here: a client that only tracks has no conversions that were read back.
    from anytrack_async.models.answers import to_sendable

    return to_sendable(value)
