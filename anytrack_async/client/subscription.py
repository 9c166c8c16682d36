"""`client.subscribe()`: an application follows the outcomes of deliveries, one at a time.

Lanes never wait for a subscriber. Each subscriber has a buffer. If the subscriber is too slow, the
oldest outcomes are dropped, and the next outcome that it gets has their number.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import attrs

from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.destinations.sink import checked_names
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import DeadLettered, Delivered, Dropped, Event, Retried, Skipped
from anytrack_async.models.outcome import Status
from anytrack_async.observers import Observers

_STATUSES: Final[Mapping[type[Event], Status]] = {
    Delivered: Status.DELIVERED,
    Retried: Status.RETRY,
    DeadLettered: Status.DEAD,
    Dropped: Status.DROPPED,
    Skipped: Status.SKIPPED,
}


@attrs.frozen(kw_only=True)
class DeliveryUpdate:
    """The outcome of one conversion at one destination.

    Attributes:
        event_id: the conversion's.
        destination: the destination's name.
        status: delivered; retry, which is not final; dead, a dead letter; dropped; or skipped.
        reason: why it was not delivered.
        code: the destination's error code, of a dead letter.
        dropped: outcomes that this subscriber lost before this one, because it was too slow.
    """

    event_id: str
    destination: str
    status: Status
    reason: str | None = None
    code: str | None = None
    dropped: int = 0


class Subscription:
    """The outcomes since `AnyTrackClient.subscribe` was called, for ``async for``.

    It ends when the client has closed and the buffer is empty, or with `aclose`. One task at a time
    may iterate.

    Attributes:
        dropped: outcomes that were lost so far, because the iteration was slower than the lanes.
    """

    def __init__(
        self,
        observers: Observers,
        destinations: Collection[str] | None,
        statuses: Collection[Status],
        buffer: int,
    ) -> None:
        self._buffer = _Buffer(destinations, statuses, buffer)
        # The buffer does not refer to this object: one that was forgotten is collected, and then
        # costs the lanes nothing any more.
        self._detach = weakref.finalize(self, observers.attach(self._buffer))
        self._detach.atexit = False

    @property
    def dropped(self) -> int:
        """Outcomes that were lost so far."""
        return self._buffer.dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DeliveryUpdate:
        while (update := self._buffer.take()) is None:
            if self._buffer.closed:
                self._detach()
                raise StopAsyncIteration
            await self._buffer.wait()
        return update

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the subscription and discard the outcomes in its buffer."""
        self._detach()
        self._buffer.close(forget=True)

    def _end(self) -> None:
        """End the subscription once its buffer is empty: the client has closed."""
        self._detach()
        self._buffer.close(forget=False)


class Subscriptions:
    """The part of the client that passes outcomes on to the application."""

    _dispatcher: Dispatcher
    _observers: Observers
    _subscriptions: weakref.WeakSet[Subscription]

    def subscribe(
        self,
        *,
        destinations: Sequence[str] | None = None,
        statuses: Sequence[Status | str] | None = None,
        buffer: int = 10_000,
    ) -> Subscription:
        """Return the outcomes from now on, as an asynchronous iterator of `DeliveryUpdate`.

            async for update in client.subscribe(statuses=["dead"]):
                print(update.event_id, update.destination, update.reason)

        A subscriber never slows a lane: if it is too slow, it loses the oldest outcomes, and
        `DeliveryUpdate.dropped` has their number. It gets the outcomes of this client's deliveries,
        not those of other programs with the same outbox.

        Args:
            destinations: only these; default: all.
            statuses: only these; default: delivered, retry, dead, dropped and skipped.
            buffer: outcomes that are kept for the subscriber.

        Raises:
            ConfigurationError: there is no such destination or status, or *buffer* is not a whole
                number of at least 1.
        """
        names = None
        if destinations is not None:
            names = checked_names("destinations", destinations, self._dispatcher.destinations)
        selected_statuses = (
            frozenset(_STATUSES.values()) if statuses is None else _checked_statuses(statuses)
        )
        size: Any = buffer
        if type(size) is not int or size < 1:
            raise ConfigurationError(f"buffer must be a whole number of at least 1, got {buffer!r}")
        subscription = Subscription(self._observers, names, selected_statuses, buffer)
        self._subscriptions.add(subscription)
        return subscription


def end_all(subscriptions: weakref.WeakSet[Subscription]) -> None:
    """End each of *subscriptions* once its buffer is empty: the client has closed."""
    for subscription in [*subscriptions]:
        subscription._end()
    subscriptions.clear()


class _Buffer:
    """An observer that keeps the latest outcomes, in the batches that lanes report.

    A batch is taken apart when it is read, so that a lane pays for a batch and not for each of its
    conversions.
    """

    def __init__(
        self, destinations: Collection[str] | None, statuses: Collection[Status], size: int
    ) -> None:
        self.closed = False
        self.dropped = 0
        self._destinations = destinations
        self._statuses = statuses
        self._size = size
        self._batches: deque[tuple[Event, Status, Sequence[str]]] = deque()
        self._count = 0  # outcomes in the batches
        self._current: Iterator[DeliveryUpdate] = iter(())
        self._reported_dropped = 0
        self._waiter: asyncio.Future[None] | None = None

    def notify(self, event: Event, /) -> None:
        """Keep the outcomes in *event*, if they are wanted."""
        status = _STATUSES.get(type(event))
        if status is None or status not in self._statuses or self.closed:
            return
        outcome: Any = event
        if self._destinations is not None and outcome.destination not in self._destinations:
            return
        event_ids = (outcome.event_id,) if status is Status.DEAD else outcome.event_ids
        self._batches.append((event, status, event_ids))
        self._count += len(event_ids)
        while self._count > self._size:
            self._drop_oldest()
        self._wake()

    def take(self) -> DeliveryUpdate | None:
        """Return the next outcome; None if there is none now."""
        while (update := next(self._current, None)) is None:
            if not self._batches:
                return None
            event, status, event_ids = self._batches.popleft()
            self._count -= len(event_ids)
            self._current = _updates(event, status, event_ids)
        if missed := self.dropped - self._reported_dropped:
            self._reported_dropped = self.dropped
            return attrs.evolve(update, dropped=missed)
        return update

    async def wait(self) -> None:
        """Return when there may be an outcome, or the end."""
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def close(self, *, forget: bool) -> None:
        """Accept no more outcomes; with *forget*, also discard those in the buffer."""
        self.closed = True
        if forget:
            self._batches.clear()
            self._count, self._current = 0, iter(())
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _drop_oldest(self) -> None:
        # With room for 100, batches of 60 and 70: 30 of the first are dropped, and 30 are kept.
        event, status, event_ids = self._batches.popleft()
        surplus = min(self._count - self._size, len(event_ids))
        self._count -= surplus
        self.dropped += surplus
        if surplus < len(event_ids):
            self._batches.appendleft((event, status, event_ids[surplus:]))


def _updates(event: Any, status: Status, event_ids: Sequence[str]) -> Iterator[DeliveryUpdate]:
    reason, code = getattr(event, "reason", None), getattr(event, "code", None)
    for event_id in event_ids:
        yield DeliveryUpdate(
            event_id=event_id,
            destination=event.destination,
            status=status,
            reason=reason,
            code=code,
        )


def _checked_statuses(statuses: Sequence[Status | str]) -> frozenset[Status]:
    all_statuses = tuple(_STATUSES.values())
    selected = None if isinstance(statuses, str) else statuses
    if not isinstance(selected, Collection) or any(name not in all_statuses for name in selected):
        raise ConfigurationError(f"statuses must be a list of {', '.join(all_statuses)}")
    return frozenset(map(Status, selected))
