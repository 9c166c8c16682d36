"""`Joining`: conversions that are accepted in a transaction of the caller's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress

from anytrack_async.delivery.admission import Admission
from anytrack_async.delivery.delivery import (
    Delivery,
)
from anytrack_async.delivery.lifecycle import LoopGuard
from anytrack_async.delivery.open_deliveries import (
    OpenDeliveries,
)
from anytrack_async.errors import ConfigurationError, ConflictError, QueueFullError
from anytrack_async.events import Contradicted, Event, Weakened
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.notes import NOTED_KINDS
from anytrack_async.outbox.base import Appended, AppendResult, Outbox
from anytrack_async.outbox.capabilities import JoinableOutbox
from anytrack_async.settings.delivery import DeliverySettings


class Joining:
    """The part of a dispatcher that accepts conversions in transactions of the caller's."""

    outbox: Outbox
    destinations: tuple[str, ...]
    guard: LoopGuard
    _admission: Admission
    _settings: DeliverySettings
    _notify: Callable[[Event], None]
    _open_deliveries: OpenDeliveries

    def check_open(self) -> None:
        """Raise `ClosedError` unless conversions can be submitted, here and now."""
        raise NotImplementedError

    def resolve_names(self, to: Sequence[str] | None) -> tuple[str, ...]:
        """Return the destinations that the argument *to* stands for; None is all."""
        raise NotImplementedError

    async def submit_within(
        self, transaction: object, conversions: Sequence[Conversion], to: Sequence[str] | None
    ) -> Sequence[str]:
        """Append *conversions* in the caller's *transaction*; return their event ids.

        Observers are not notified of an acceptance: the transaction may be rolled back. They are
        notified of contradictions, of values that new conversions lost, and of what ``on_full``
        drops for a full destination. Nothing waits for room, as the transaction would have to.

        Raises:
            QueueFullError: a destination has no room; with ``on_full="shed"``, none has. Nothing
                was executed in the transaction.
            ConflictError: a conversion contradicts the first one with its event id, and
                ``on_conflict="raise"``; all others are in the transaction.
            ConfigurationError: the outbox cannot take part in a transaction.
            InvalidDestinationError: a destination has no sink.
            ClosedError: the client is not open.
            Exception: see `JoinableOutbox.append_within`.
        """
        outbox, addressed = self.check_joining(to)
        append = partial(outbox.append_within, transaction)
        try:
            results = await append(conversions, addressed)
        except QueueFullError as exc:
            if exc.too_large or self._settings.on_full != "shed":
                raise
            names = addressed or self.destinations
            results = await self._admission.shedding.append(append, conversions, names, exc)
        self.tell_results(conversions, results)
        return [conversion.event_id for conversion in conversions]

    def check_joining(
        self, to: Sequence[str] | None
    ) -> tuple[JoinableOutbox, Sequence[str] | None]:
        """Return the outbox, and the destinations *to* as it takes them; see `submit_within`."""
        names = self.resolve_names(to)
        self.check_open()
        return joinable(self.outbox), None if to is None else names

    def tell_results(
        self, conversions: Sequence[Conversion], results: Sequence[AppendResult]
    ) -> None:
        """Notify observers of lost values and contradictions; raise if the settings say so."""
        if NOTED_KINDS:
            new = (result is Appended.NEW for result in results)
            self._notify_weakened([*compress(conversions, new)])
        contradictions = self._tell_contradictions(results)
        if contradictions and self._settings.on_conflict == "raise":
            raise ConflictError(contradictions[0])

    async def delivery(self, event_id: str) -> Delivery:
        """Return the delivery of a conversion with its outcomes so far, if it is known yet."""
        self.check_open()
        delivery = self._open_deliveries.get(event_id, self.destinations)
        await self._open_deliveries.refresh([delivery])
        return delivery

    def _notify_weakened(self, conversions: Sequence[Conversion]) -> None:
        kinds = Counter(kind for conversion in conversions for kind in conversion.weakened)
        for kind, count in kinds.items():
            self._notify(Weakened(reason=kind, count=count))

    def _tell_contradictions(self, results: Sequence[AppendResult]) -> list[Contradiction]:
        """Notify observers of the contradictions among *results*, and return them."""
        contradictions = [result for result in results if isinstance(result, Contradiction)]
        for contradiction in contradictions:
            self._notify(Contradicted(contradiction=contradiction))
        return contradictions


def joinable(outbox: Outbox) -> JoinableOutbox:
    """Return *outbox* if it can take part in a transaction of the caller's.

    Raises:
        ConfigurationError: it cannot.
    """
    if isinstance(outbox, JoinableOutbox):
        return outbox
    raise ConfigurationError(
        f"nothing was accepted: a {type(outbox).__name__} cannot take part in a transaction of "
        "your database (within=…); use an outbox in that database: outbox='postgresql://…'"
    )
