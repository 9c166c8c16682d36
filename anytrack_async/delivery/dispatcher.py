"""`Dispatcher`: takes conversions in and runs one lane per destination."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

import anyio
from anyio import AsyncContextManagerMixin, CancelScope
from anyio.abc import TaskGroup

from anytrack_async.delivery.admission import Intake
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.delivery.flow import LaneState
from anytrack_async.delivery.lane import Lane
from anytrack_async.delivery.lanes import Lanes
from anytrack_async.delivery.leftovers import Leftovers
from anytrack_async.delivery.maintenance import Upkeep
from anytrack_async.delivery.registry import Handles
from anytrack_async.delivery.shutdown import farewell, within
from anytrack_async.destinations.sink import Sink
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import Dropped, Event, Submitted, logger
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.base import Appended, Outbox
from anytrack_async.settings.delivery import DeliverySettings


class Dispatcher(AsyncContextManagerMixin):
    """Between callers and lanes: accepts conversions, hands out deliveries, closes without loss.

    Use it as ``async with``. Leaving the block stops the intake, lets the lanes finish within
    ``settings.drain`` seconds, also when the block was cancelled, then closes sinks and outbox.

    Raises:
        UndeliveredError: on leaving, if only this process's memory held what is undelivered.
    """

    def __init__(
        self,
        outbox: Outbox,
        sinks: Sequence[Sink],
        settings: DeliverySettings,
        *,
        notify: Callable[[Event], None],
        from_start: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.outbox = outbox
        self.destinations = _unique([sink.name for sink in sinks])
        self._sinks = sinks
        self._settings = settings
        self._notify = notify
        self._from_start = tuple(from_start and self.names(from_start))
        self._clock = clock
        self._intake = Intake(outbox, settings)
        self._handles = Handles(outbox)
        self._upkeep = Upkeep(outbox, settings, self._handles)
        self._left = Leftovers(outbox)
        self._lanes = Lanes(outbox)
        self._tasks: TaskGroup | None = None
        self._helpers: set[CancelScope] = set()

    # Taking in

    async def submit(
        self, conversions: Sequence[Conversion], to: Sequence[str] | None = None
    ) -> Sequence[Delivery | None]:
        """Write *conversions* down; return a handle for each, None where its id is in conflict.

        Args:
            conversions: what to accept; waits while the outbox is full.
            to: names of destinations; default: all.

        Raises:
            ConfigurationError: a destination has no sink.
            ClosedError: the client is not open; nothing was accepted.
            QueueFullError: the outbox is full and must not make callers wait.
            OutboxError: they could not be written down, or how a repeat stands could not be read;
                submitting them again is safe.
        """
        names = self.names(to)
        # Known before they are written down: a lane may deliver them before we are back.
        ids = [conversion.event_id for conversion in conversions]
        handles = self._handles.all(ids, names)
        answers = await self._intake.append(conversions, to)
        if answers.count(Appended.NEW) == len(ids):
            self._accepted(ids, names)
            return handles
        pairs = list(zip(handles, answers, strict=True))
        new = [handle.event_id for handle, answer in pairs if answer is Appended.NEW]
        self._accepted(new, names)
        repeats = [handle for handle, answer in pairs if answer is Appended.REPEAT]
        if repeats:
            await self._handles.catch_up(repeats)
        return [None if answer is Appended.CONFLICT else handle for handle, answer in pairs]

    def names(self, to: Sequence[str] | None) -> tuple[str, ...]:
        """Return the destinations *to* stands for; None is all.

        Raises:
            ConfigurationError: one has no sink here, or there are none.
        """
        if to is None:
            return self.destinations
        unknown = [name for name in to if name not in self.destinations]
        if unknown or not to:
            raise ConfigurationError(
                f"no sink for {', '.join(unknown) or 'an empty list of destinations'}; "
                f"there are: {', '.join(self.destinations)}"
            )
        return tuple(to)

    def _accepted(self, event_ids: Sequence[str], names: Sequence[str]) -> None:
        if event_ids:
            self._notify(Submitted(event_ids=event_ids))
            self._lanes.wake_for(names, len(event_ids))

    # Lanes

    def wake(self) -> None:
        """Let every lane look for work, e.g. after a replay."""
        self._lanes.wake()

    def resume(self, destination: str) -> None:
        """Let a lane that is held, throttled or down go on at once.

        Raises:
            ConfigurationError: it has no sink here.
        """
        for name in self.names([destination]):
            if name in self._lanes:
                self._lanes[name].resume()

    def states(self) -> Mapping[str, LaneState]:
        """Return destination → how its lane is; empty while closed."""
        return {name: lane.state for name, lane in self._lanes.items()}

    def _resolve(self, ids: Sequence[str], outcome: Callable[[int], Outcome]) -> None:
        self._upkeep.settled(len(ids))
        self._intake.room()
        self._handles.resolve(ids, outcome)

    # Open and close

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        failure: BaseException | None = None
        try:
            await self._open()
            # Shielded: cancelling the caller must not drop accepted conversions. The shield still
            # ends, because closing gives it a deadline.
            shield = CancelScope(shield=True)
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._run, shield)
                try:
                    yield self
                except (Exception, KeyboardInterrupt, SystemExit) as exc:  # kept out of a group
                    failure = exc
                finally:
                    self._close(shield)
            if failure is not None:
                raise failure  # noqa: TRY301 - after the task group, so that it is in none
        except BaseException as exc:
            if self._left:
                exc.add_note(str(self._left))
            raise
        finally:
            await farewell(self._sinks, self.outbox)
            self._lanes.clear()
            self._tasks = None
        if self._left.lost:
            raise self._left.error()

    async def _open(self) -> None:
        await self.outbox.open(self.destinations, from_start=self._from_start)
        self._left = Leftovers(self.outbox)
        await self._left.warn_of_orphans(self.destinations)
        self._lanes.update((sink.name, self._lane(sink)) for sink in self._sinks)
        self._intake.is_open = True

    def _lane(self, sink: Sink) -> Lane:
        return Lane(
            sink,
            self.outbox,
            self._settings,
            notify=self._notify,
            settled=self._resolve,
            clock=self._clock,
        )

    async def _run(self, shield: CancelScope) -> None:
        with shield:
            async with anyio.create_task_group() as around:
                around.start_soon(self._upkeep.run)
                async with anyio.create_task_group() as lanes:
                    for lane in self._lanes.values():
                        lanes.start_soon(lane.run)
                around.cancel_scope.cancel()
        await self._take_stock()

    def _close(self, shield: CancelScope) -> None:
        self._intake.close()
        for helper in self._helpers:
            helper.cancel()
        drain = self._settings.drain
        for lane in self._lanes.values():
            lane.close(drain)
        shield.deadline = anyio.current_time() + drain

    async def _take_stock(self) -> None:
        if self.outbox.shared:
            await within("reading what others delivered", self._handles.catch_up_awaited)
        await within("reading what is left", lambda: self._left.count(self.destinations))
        await self._handles.fail(self._left.error_for)
        if self._left and not self._left.lost:
            logger.info("%s", self._left)
        for name, ids in self._left.lost.items():
            reason = "the client closed and only this process's memory held them"
            self._notify(Dropped(destination=name, event_ids=ids, reason=reason))

    # Beside the lanes

    def check_open(self) -> None:
        """Raise `ClosedError` unless conversions can be submitted."""
        self._intake.check_open()

    def help(self, work: Callable[[], Awaitable[None]]) -> CancelScope:
        """Run *work* beside the lanes until it ends, is cancelled or the dispatcher closes."""
        scope = CancelScope()

        async def run() -> None:
            with scope:
                await work()
            self._helpers.discard(scope)

        if self._tasks is None or not self._intake.is_open:
            scope.cancel()
            return scope
        self._helpers.add(scope)
        self._tasks.start_soon(run)
        return scope


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two sinks share a name: {', '.join(sorted(names))}")
    return tuple(names)
