"""`Dispatcher`: accepts conversions, runs one lane per destination, closes without loss."""

from __future__ import annotations

import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

from anyio import AsyncContextManagerMixin, CancelScope

from anytrack_async.delivery.accepting import Accepting, AppendFunction
from anytrack_async.delivery.admission import Admission
from anytrack_async.delivery.flow import LaneCondition, LaneState
from anytrack_async.delivery.guarded_outbox import PRUNE_AFTER, Maintenance
from anytrack_async.delivery.instrumentation import refresh_gauges, traced_sink
from anytrack_async.delivery.lane import Lane
from anytrack_async.delivery.lanes import LaneRunner, Lanes
from anytrack_async.delivery.lifecycle import LoopGuard, reserved
from anytrack_async.delivery.open_deliveries import (
    OpenDeliveries,
)
from anytrack_async.delivery.pauses import Pauses
from anytrack_async.delivery.shutdown import Undelivered, close_all, warn_of_orphans
from anytrack_async.destinations.sink import Sink, checked_names, unique_names
from anytrack_async.events import Dropped, Event
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.pauses import Pause
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.telemetry.opentelemetry import Telemetry


class Dispatcher(AsyncContextManagerMixin, Accepting):
    """Accepts conversions, returns a `Delivery` for each, and runs the lanes that deliver them.

    Use it as ``async with``. Leaving the block admits nothing more, lets the lanes finish within
    ``settings.drain`` seconds, also when the block was cancelled, then closes sinks and outbox.

    Attributes:
        guard: knows the event loop in which the dispatcher is open.
        undelivered: the conversions that were undelivered when the dispatcher was last closed.
        telemetry: traces and counts deliveries; set before the dispatcher is opened.
        append_wrappers: each gets the function that stores conversions and returns a replacement
            for it; applied from the next opening on.

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
        self._known_names = {}
        self._settings, self._notify = settings, notify
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
        self._open_deliveries = OpenDeliveries(outbox, self.destinations)
        self._maintenance = Maintenance(
            outbox, settings, self._open_deliveries, notify=notify, tick=tick
        )
        self.undelivered = Undelivered(outbox)
        self._lanes = Lanes(outbox)
        self.pauses = Pauses(outbox, self._lanes)
        self._runner = self._make_runner()

    def _make_runner(self) -> LaneRunner:
        return LaneRunner(
            self._lanes,
            drain=self._settings.drain,
            durable=self.outbox.durable,
            maintenance=[
                self._maintenance.run,
                self._admission.run,
                partial(self._lanes.follow_news, self.outbox),
                self.pauses.run,
            ],
            on_closing=self._admission.close,
        )

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
            self.pauses.resume(name)

    def pause(self, destination: str, reason: str, by: str) -> None:
        """Let the lanes of *destination* send nothing until it is resumed; see `resume`."""
        for name in checked_names("pause", [destination], self.destinations):
            self.pauses.pause(Pause(destination=name, since=time.time(), by=by, reason=reason))

    def replace_credentials(self, destination: str) -> None:
        """Record that the sink of *destination* has new credentials; see `Lane`."""
        if destination in self._lanes:
            self._lanes[destination].replace_credentials()

    def states(self) -> Mapping[str, LaneState]:
        """Return destination → state of its lane; empty while closed."""
        return {name: lane.state for name, lane in self._lanes.items()}

    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        """Return destination → its lane's state, since when and why, and how long it pauses."""
        names = ("state", "reason", "state_for", "paused_for")
        conditions = {
            destination: {name: getattr(lane, name) for name in names}
            for destination, lane in self._lanes.items()
        }
        for destination, condition in conditions.items():  # a pause may be older than the lane
            seconds = self.pauses.seconds(destination)
            if condition["state"] is LaneState.PAUSED and seconds is not None:
                condition["state_for"] = seconds
        return conditions

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
        await self.pauses.load()
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
        await self.pauses.finish()
        self._maintenance.tell_pushed_out()
        # What another process is to deliver is not left behind.
        names = self.destinations if self._settings.deliver else ()
        await self.undelivered.report(names, self._open_deliveries, self._notify)

    def limit_drain(self, seconds: float) -> None:
        """Let closing deliver for *seconds* at most, also if it has begun.

        A durable outbox keeps waiting conversions: its lanes only finish the batches in flight.
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
