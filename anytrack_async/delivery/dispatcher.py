"""`Dispatcher`: accepts conversions, runs one lane per destination, closes without loss."""

from __future__ import annotations

import time
from asyncio import _get_running_loop as running_loop
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial
from itertools import compress
from typing import Any, Self, TypeAlias

from anyio import AsyncContextManagerMixin, CancelScope

from anytrack_async.delivery.admission import Admission
from anytrack_async.delivery.delivery import Delivery, OpenDeliveries
from anytrack_async.delivery.flow import LaneState
from anytrack_async.delivery.guarded_outbox import PRUNE_AFTER, Maintenance
from anytrack_async.delivery.instrumentation import refresh_gauges, traced_sink
from anytrack_async.delivery.lane import Lane
from anytrack_async.delivery.lifecycle import LoopGuard, reserved
from anytrack_async.delivery.repeats import deliveries_of_firsts
from anytrack_async.delivery.room import LaneCondition, Patience
from anytrack_async.delivery.running import LaneRunner, Lanes
from anytrack_async.delivery.shutdown import Undelivered, close_all, warn_of_orphans
from anytrack_async.destinations.sink import Sink, checked_names, unique_names
from anytrack_async.errors import (
    ClosedError,
    ConflictError,
    InvalidDestinationError,
    OutboxError,
    QueueFullError,
    safe_description,
)
from anytrack_async.events import Contradicted, Dropped, Event, Submitted, Weakened
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.models.visitor import NOTED_KINDS
from anytrack_async.outbox.base import Appended, AppendResult, Outbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.telemetry.opentelemetry import Telemetry

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


class Dispatcher(AsyncContextManagerMixin):
    """Accepts conversions, returns a `Delivery` for each, and runs the lanes that deliver them.

    Use it as ``async with``. Leaving the block admits nothing more, lets the lanes finish within
    ``settings.drain`` seconds, also when the block was cancelled, then closes sinks and outbox.

    Attributes:
        guard: knows the event loop in which the dispatcher is open.
        undelivered: what was not delivered when it was last closed.
        telemetry: traces and counts what is delivered; set before it is opened.
        append_wrappers: functions that return a function to store conversions with in place of the
            one they get, from the next opening on.

    Raises:
        UndeliveredError: on leaving, if conversions are undelivered and the outbox is not durable.
    """

    def __init__(
        self,
        outbox: Outbox,
        sinks: Sequence[Sink],
        settings: DeliverySettings,
        *,
        notify: Callable[[Event], None],
        tick: Callable[[], None] = lambda: None,
        from_start: Sequence[str] = (),
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.outbox = outbox
        self.guard = LoopGuard()
        self.telemetry: Telemetry | None = None
        self.destinations = unique_names(sinks)
        self.sinks = sinks
        self._known_names: dict[Sequence[str], tuple[str, ...]] = {}
        self._settings = settings
        self._notify = notify
        self._from_start = checked_names("from_start", from_start, self.destinations)
        self._clock = clock
        self.limits = {sink.name: sink.limits for sink in sinks}
        self._admission = Admission(
            outbox,
            settings,
            limits=self.limits,
            notify=notify,
            condition=self._condition,
            on_dropped=self._drop,
            clock=clock or time.time,
        )
        self.append_wrappers: list[Callable[[AppendFunction], AppendFunction]] = []
        self._append: AppendFunction = self._admission.append
        self._open_deliveries = OpenDeliveries(outbox)
        self._maintenance = Maintenance(
            outbox, settings, self._open_deliveries, notify=notify, tick=tick
        )
        self.undelivered = Undelivered(outbox)
        self._lanes = Lanes(outbox)
        self._runner = self._make_runner()

    def _make_runner(self) -> LaneRunner:
        return LaneRunner(
            self._lanes,
            drain=self._settings.drain,
            durable=self.outbox.durable,
            maintenance=[self._maintenance.run, self._admission.run],
            on_closing=self._admission.close,
        )

    # Accepting

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
            patience: what limits the waiting.

        Raises:
            ConflictError: a conversion contradicts the first one with its event id, and
                ``on_conflict="raise"``; all others are accepted.
            InvalidDestinationError: a destination has no sink.
            ClosedError: the client is not open, or in another event loop or process
                (`WrongEventLoopError`); nothing was accepted.
            QueueFullError: there was no room, see `DeliverySettings.on_full`, or the call has more
                conversions than fit into an empty outbox; nothing was accepted.
            OutboxError: they could not be written, or the outcomes of a repeat could not be read;
                submitting them again is safe.
        """
        names = self.resolve_names(to)
        addressed = None if to is None else names
        if (loop := self.guard.loop) is None or running_loop() is not loop:
            raise self.guard.error()
        try:
            # Registered before they are appended: a lane may deliver them before append returns.
            ids = [conversion.event_id for conversion in conversions]
            deliveries = self._open_deliveries.get_many(ids, names)
            results = await self._append(conversions, addressed, patience)
            if results.count(Appended.NEW) == len(ids):
                self._announce(conversions, ids, names)
                return deliveries
            return await self._with_repeats(conversions, deliveries, results, names)
        except _SUBMIT_ERRORS:
            raise
        except Exception as exc:  # the outbox may be third-party code
            raise _failed_outbox_error(exc) from None

    async def submit_one(self, conversion: Conversion, to: Sequence[str] | None = None) -> Delivery:
        """Append *conversion* to the outbox, and return its delivery.

        It does what `submit` does, without lists of one: most web requests submit one conversion.

        Raises:
            Exception: the same errors as `submit`.
        """
        names = self.resolve_names(to)
        if (loop := self.guard.loop) is None or running_loop() is not loop:
            raise self.guard.error()
        conversions = (conversion,)
        try:
            event_id = conversion.event_id
            delivery = self._open_deliveries.get(event_id, names)
            addressed = None if to is None else names
            results = await self._append(conversions, addressed, Patience.LIMITED)
            if results[0] is _NEW:
                self._announce(conversions, (event_id,), names)
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
        names = self.resolve_names(to)
        try:
            addressed = None if to is None else names
            results = await self._append(conversions, addressed, Patience.WHILE_MOVING)
        except _SUBMIT_ERRORS:
            raise
        except Exception as exc:  # the outbox may be third-party code
            raise _failed_outbox_error(exc) from None
        new = [*compress(conversions, (result is Appended.NEW for result in results))]
        self._announce(new, [conversion.event_id for conversion in new], names)
        self._tell_contradictions(results)
        return results

    async def _with_repeats(
        self,
        conversions: Sequence[Conversion],
        deliveries: Sequence[Delivery],
        results: Sequence[AppendResult],
        names: Sequence[str],
    ) -> Sequence[Delivery]:
        """Return the deliveries of conversions of which some, by their *results*, are not new."""
        are_new = [result is Appended.NEW for result in results]
        new = list(compress(conversions, are_new))
        self._announce(new, [conversion.event_id for conversion in new], names)
        contradictions = self._tell_contradictions(results)
        deliveries = await deliveries_of_firsts(self._open_deliveries, deliveries, results)
        if contradictions and self._settings.on_conflict == "raise":
            raise ConflictError(contradictions[0], deliveries)
        return deliveries

    def _tell_contradictions(self, results: Sequence[AppendResult]) -> list[Contradiction]:
        """Notify observers of the contradictions among *results*, and return them."""
        contradictions = [result for result in results if isinstance(result, Contradiction)]
        for contradiction in contradictions:
            self._notify(Contradicted(contradiction=contradiction))
        return contradictions

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

    def _notify_weakened(self, conversions: Sequence[Conversion]) -> None:
        kinds = Counter(kind for conversion in conversions for kind in conversion.weakened)
        for kind, count in kinds.items():
            self._notify(Weakened(reason=kind, count=count))

    def _on_settled(self, ids: Sequence[str], outcome: Callable[[int], Outcome]) -> None:
        self._maintenance.settled += len(ids)
        if self._maintenance.settled >= PRUNE_AFTER:
            self._maintenance.prune_soon()
        self._open_deliveries.resolve(ids, outcome)

    def _drop(self, name: str, event_ids: Sequence[str], waiting: int) -> None:
        """Record that conversions were accepted without the destination *name*, which is full."""
        outcome = Outcome(
            status=Status.DROPPED,
            destination=name,
            attempts=0,
            error=f"dropped because {name} is full: {waiting} conversions were waiting for it",
        )
        self._open_deliveries.resolve(event_ids, lambda _: outcome)
        self._notify(Dropped(destination=name, event_ids=event_ids, reason="it is full"))

    # Lanes

    def _condition(self, name: str) -> LaneCondition:
        lane = self._lanes.get(name)
        return lane.condition if lane else LaneCondition(LaneState.RUNNING)

    def wake(self) -> None:
        """Let every lane look for work, e.g. after a replay."""
        self._lanes.wake()

    def resume(self, destination: str) -> None:
        """Let a lane that is held, throttled or down send at once.

        Raises:
            InvalidDestinationError: the destination has no sink here.
        """
        for name in checked_names("resume", [destination], self.destinations):
            if name in self._lanes:
                self._lanes[name].resume()

    def replace_credentials(self, destination: str) -> None:
        """Record that the sink of *destination* has new credentials; see `Lane`."""
        if destination in self._lanes:
            self._lanes[destination].replace_credentials()

    def states(self) -> Mapping[str, LaneState]:
        """Return destination → state of its lane; empty while closed."""
        return {name: lane.state for name, lane in self._lanes.items()}

    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        """Return destination → its lane's state, the reason and the seconds of its pause."""
        return {
            name: {"state": lane.state, "reason": lane.reason, "paused_for": lane.paused_for}
            for name, lane in self._lanes.items()
        }

    # Opening and closing

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        with reserved(self.outbox, self._settings.retry.attempts), self.guard.bound():
            try:
                await self._open()
                try:
                    async with self._runner.running():
                        self._start_gauges()
                        yield self
                finally:
                    await self._report_undelivered()
            except BaseException as exc:
                if self.undelivered:
                    exc.add_note(str(self.undelivered))
                raise
            finally:
                await close_all(self.sinks, self.outbox)
                self._lanes.clear()
        if self.undelivered.lost:
            raise self.undelivered.error()

    async def _open(self) -> None:
        self.undelivered = Undelivered(self.outbox)
        await self.outbox.open(self.destinations, from_start=self._from_start)
        await warn_of_orphans(self.outbox, self.destinations)
        if self._settings.deliver:
            self._lanes.update((sink.name, self._lane(sink)) for sink in self.sinks)
        self._open_deliveries.loop = self.guard.loop
        self._admission.open()
        self._append = self._admission.append
        for wrapper in self.append_wrappers:
            self._append = wrapper(self._append)
        if self.telemetry is not None:
            self._append = self.telemetry.traced_append(self._append)

    def _start_gauges(self) -> None:
        if self.telemetry is not None:
            self.start_task(partial(refresh_gauges, self.telemetry, self.outbox, self.states))

    def _lane(self, sink: Sink) -> Lane:
        return Lane(
            traced_sink(sink, self.telemetry),
            self.outbox,
            self._settings,
            notify=self._notify,
            on_settled=self._on_settled,
            make_room=self._admission.make_room,
            crowded=self._admission.crowded,
            clock=self._clock,
        )

    async def _report_undelivered(self) -> None:
        self._maintenance.tell_pushed_out()
        # What another process is to deliver is not left behind.
        names = self.destinations if self._settings.deliver else ()
        await self.undelivered.report(names, self._open_deliveries, self._notify)

    def limit_drain(self, seconds: float) -> None:
        """Let closing deliver for *seconds* at most, also if it has begun.

        A durable outbox keeps what waits: its lanes only finish the batches in flight.
        """
        self._runner.limit_drain(seconds)

    # Tasks beside the lanes

    def check_open(self) -> None:
        """Raise `ClosedError` unless conversions can be submitted, here and now."""
        self.guard.check()
        self._admission.check_open()

    def start_task(self, function: Callable[[], Awaitable[None]]) -> CancelScope:
        """Run *function* beside the lanes until it ends or the dispatcher closes.

        Returns:
            The scope by which the caller can cancel it.
        """
        return self._runner.start_task(function)


def _failed_outbox_error(error: Exception) -> OutboxError:
    return OutboxError(f"the outbox failed: {safe_description(error)}; submitting again is safe")
