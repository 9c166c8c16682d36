"""`Accepting`: the part of a dispatcher that appends conversions to the outbox.

An append is repeated after the answer of the outbox was lost: a connection may break after the
outbox has written the conversions and before its answer arrives. That is safe, because a conversion
that had been written counts as a repeat in the second append.
"""

from __future__ import annotations

from asyncio import _get_running_loop as running_loop
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from itertools import compress
from time import monotonic
from typing import Any, TypeAlias

import anyio

from anytrack_async.delivery.delivery import Delivery
from anytrack_async.delivery.joining import Joining
from anytrack_async.delivery.lanes import Lanes
from anytrack_async.delivery.open_deliveries import deliveries_of_firsts
from anytrack_async.delivery.room import Patience
from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.sink import checked_names
from anytrack_async.errors import (
    ClosedError,
    ConflictError,
    InvalidDestinationError,
    OutboxError,
    OutcomeUnknownError,
    QueueFullError,
    UnsendableError,
)
from anytrack_async.events import Submitted
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.notes import NOTED_KINDS
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.settings.delivery import DeliverySettings

AppendFunction: TypeAlias = Callable[
    [Sequence[Conversion], Sequence[str] | None, Patience],
    Coroutine[Any, Any, Sequence[AppendResult]],
]
"""Stores conversions for some destinations; see `Admission.append`."""

_SUBMIT_ERRORS = (ClosedError, QueueFullError, OutboxError, ConflictError, TypeError)
"""What `submit` may raise. Whatever else an outbox raises becomes an `OutboxError`."""

_NEW = Appended.NEW

_MAX_KNOWN_NAMES = 100
"""Lists of destinations that are remembered as valid: more than an application has."""


_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two appends after an answer was lost."""


class Accepting(Joining):
    """The part of a dispatcher that appends conversions to the outbox."""

    _append: AppendFunction
    _lanes: Lanes
    _known_names: dict[Sequence[str], tuple[str, ...]]

    async def submit(
        self,
        conversions: Sequence[Conversion],
        to: Sequence[str] | None = None,
        patience: Patience = Patience.LIMITED,
    ) -> Sequence[Delivery]:
        """Append *conversions* to the outbox, and return a delivery for each.

        Args:
            conversions: the conversions; waits while the outbox is full.
            to: names of destinations; default: all.
            patience: which setting limits the waiting.

        Raises:
            ConflictError: a conversion contradicts the first one with its event id, and
                ``on_conflict="raise"``; all others are accepted.
            InvalidDestinationError: a destination has no sink.
            ClosedError: the client is not open, or in another event loop or process
                (`WrongEventLoopError`); nothing was accepted.
            QueueFullError: there was no room, see `DeliverySettings.on_full`, or the call has more
                conversions than fit into an empty outbox; nothing was accepted.
            OutboxError: they could not be written, or the outcomes of a repeat could not be read;
                submitting them again is safe. `OutcomeUnknownError`: they may be written; that was
                tried again until the time was over.
        """
        names, began = self.resolve_names(to), monotonic()
        addressed = None if to is None else names
        if (loop := self.guard.loop) is None or running_loop() is not loop:
            raise self.guard.error()
        try:
            # Registered before they are appended: a lane may deliver them before append returns.
            ids = [conversion.event_id for conversion in conversions]
            deliveries = self._open_deliveries.get_many(ids, names)
            try:
                results = await self._append(conversions, addressed, patience)
            except OutcomeUnknownError as exc:
                results = await self._append_again(
                    conversions, addressed, patience, error=exc, began=began
                )
            if results.count(Appended.NEW) == len(ids):
                self._announce(conversions, ids, names)
                if type(deliveries) is list:  # some may be of another call
                    _address(deliveries, names)
                return deliveries
            return await self._with_repeats(conversions, deliveries, results, names)
        except _SUBMIT_ERRORS:
            raise
        except Exception as exc:  # the outbox may be third-party code
            raise _failed_outbox_error(exc) from None

    async def submit_one(self, conversion: Conversion, to: Sequence[str] | None = None) -> Delivery:
        """Append *conversion* to the outbox, and return its delivery.

        Same as `submit`, but without lists of one: most web requests submit a single conversion.

        Raises:
            Exception: the same errors as `submit`.
        """
        names, began = self.resolve_names(to), monotonic()
        if (loop := self.guard.loop) is None or running_loop() is not loop:
            raise self.guard.error()
        conversions, addressed = (conversion,), None if to is None else names
        try:
            event_id = conversion.event_id
            delivery = self._open_deliveries.get(event_id, names)
            try:
                results = await self._append(conversions, addressed, Patience.LIMITED)
            except OutcomeUnknownError as exc:
                results = await self._append_again(conversions, addressed, error=exc, began=began)
            if results[0] is _NEW:
                self._lanes.wake_for(names, 1)
                self._notify(Submitted(event_ids=(event_id,)))
                if NOTED_KINDS:
                    self._notify_weakened(conversions)
                if delivery.addressed_to is not names:  # of another call
                    delivery.address(names)
            else:
                (delivery,) = await self._with_repeats(conversions, [delivery], results, names)
        except _SUBMIT_ERRORS:
            raise
        except Exception as exc:  # the outbox may be third-party code
            raise _failed_outbox_error(exc) from None
        return delivery

    async def accept(
        self, conversions: Sequence[Conversion], to: Sequence[str] | None = None
    ) -> Sequence[AppendResult]:
        """Append *conversions* to the outbox; return which are new, without deliveries.

        Raises:
            InvalidDestinationError: a destination has no sink.
            ClosedError: the client is not open; nothing was accepted.
            QueueFullError: there was no room, see `submit`; nothing was accepted.
            OutboxError: they could not be written; submitting them again is safe.
        """
        names, patience = self.resolve_names(to), Patience.WHILE_MOVING
        addressed = None if to is None else names
        try:
            try:
                results = await self._append(conversions, addressed, patience)
            except OutcomeUnknownError as exc:
                results = await self._append_again(conversions, addressed, patience, error=exc)
        except _SUBMIT_ERRORS:
            raise
        except Exception as exc:  # the outbox may be third-party code
            raise _failed_outbox_error(exc) from None
        new = [*compress(conversions, (result is Appended.NEW for result in results))]
        self._announce(new, [conversion.event_id for conversion in new], names)
        self._tell_contradictions(results)
        return results

    async def _append_again(
        self,
        conversions: Sequence[Conversion],
        addressed: Sequence[str] | None,
        patience: Patience = Patience.LIMITED,
        *,
        error: OutcomeUnknownError,
        began: float | None = None,
    ) -> Sequence[AppendResult]:
        append = partial(self._append, conversions, addressed, patience)
        return await append_again(append, error, self._settings, patience, began)

    async def _with_repeats(
        self,
        conversions: Sequence[Conversion],
        deliveries: Sequence[Delivery],
        results: Sequence[AppendResult],
        names: tuple[str, ...],
    ) -> Sequence[Delivery]:
        """Return the deliveries of conversions of which some, by their *results*, are not new."""
        are_new = [result is Appended.NEW for result in results]
        new = list(compress(conversions, are_new))
        self._announce(new, [conversion.event_id for conversion in new], names)
        contradictions = self._tell_contradictions(results)
        deliveries = await deliveries_of_firsts(self._open_deliveries, deliveries, results, names)
        if contradictions and self._settings.on_conflict == "raise":
            raise ConflictError(contradictions[0], deliveries)
        return deliveries

    def resolve_names(self, to: Sequence[str] | None) -> tuple[str, ...]:
        """Return the destinations that the argument *to* stands for; None is all.

        Raises:
            InvalidDestinationError: it is not a list, is empty, or names a destination that has no
                sink.
        """
        if to is None:
            return self.destinations
        try:  # most callers name the same destinations each time
            return self._known_names[tuple(to) if type(to) is list else to]
        except Exception:
            names = checked_names("to", to, self.destinations)
        if not names:
            raise InvalidDestinationError(
                "to: an empty list of destinations; omit it to use all; known destinations: "
                + ", ".join(self.destinations)
            )
        if len(self._known_names) < _MAX_KNOWN_NAMES:
            self._known_names[names] = names
        return names

    def _announce(
        self, conversions: Sequence[Conversion], event_ids: Sequence[str], names: Sequence[str]
    ) -> None:
        """Notify observers and lanes of conversions that were accepted."""
        if event_ids:
            self._lanes.wake_for(names, len(event_ids))
            self._notify(Submitted(event_ids=event_ids))
            if NOTED_KINDS:
                self._notify_weakened(conversions)


def _address(deliveries: Sequence[Delivery], names: tuple[str, ...]) -> None:
    for delivery in deliveries:
        delivery.address(names)


def _failed_outbox_error(error: Exception) -> OutboxError:
    return OutboxError(f"the outbox failed: {safe_description(error)}; submitting again is safe")


async def append_again(
    append: Callable[[], Awaitable[Sequence[AppendResult]]],
    error: OutcomeUnknownError,
    settings: DeliverySettings,
    patience: Patience,
    began: float | None = None,
) -> Sequence[AppendResult]:
    """Repeat *append*, which raised *error*, until the outbox answers.

    With the default settings, a call that began 2 s ago is repeated after 0.05 s, 0.1 s, 0.2 s, …
    for 8 s. Meanwhile the outbox may not be reachable at all, as during a failover.

    Args:
        append: appends the conversions once more.
        error: the exception of the first append.
        settings: `DeliverySettings.accept_within` limits the time.
        patience: whether that time counts from *began*, or from now.
        began: when the caller's call began, by `time.monotonic`; None for now.

    Raises:
        OutcomeUnknownError: there is no time left; the conversions may be written.
        Exception: any other that *append* raises but an `OutboxError`.
    """
    if began is None or patience is not Patience.LIMITED:
        began = monotonic()
    deadline, pause = began + settings.accept_within, _FIRST_PAUSE
    while monotonic() + pause < deadline:
        await anyio.sleep(pause)
        try:
            return await append()
        except UnsendableError:
            raise
        except OutboxError:  # whether the first try has written is still unknown
            pause = min(2 * pause, _LONGEST_PAUSE)
    raise error
