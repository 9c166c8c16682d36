"""`Rooms`: the destinations that are full; `Caller`: one that waits until they have room again.

A destination is full when as many conversions wait for it as the outbox's capacity. An *episode*
begins when a caller finds no room, and is told by one `BackPressure`. It ends, with one
`BackPressureEnded`, when nothing waits any more, or when half of the room has been free for a
second. Between two openings of a destination that is as slow as ever, room is free for
milliseconds: that ends nothing.
"""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import StrEnum
from typing import TypeAlias

import anyio
import attrs

from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.events import BackPressure, BackPressureEnded, Event
from anytrack_async.settings.delivery import DeliverySettings

_CALM = 1.0
"""Seconds without a caller that found no room, after which an episode may end."""

_ACTIONS = {
    "held": "replace its credentials, or fix its configuration and call client.resume({!r})",
    "down": "look whether the service is down",
    "throttled": "it accepts conversions again when its pause ends",
    "running": "submit more slowly, or raise the outbox's capacity",
}

LaneCondition: TypeAlias = tuple[str, str]
"""The state of a destination's lane, and the destination's explanation of it, if any."""


class Patience(StrEnum):
    """What limits the time that a caller waits for room.

    A shop's checkout must not hang. A back-fill must not fail because a service is slow.
    """

    LIMITED = "limited"
    """`DeliverySettings.accept_within` since the call."""
    WHILE_MOVING = "while moving"
    """`DeliverySettings.accept_within` since room was last made."""
    UNLIMITED = "unlimited"
    """Nothing."""


@attrs.define(kw_only=True, eq=False)
class Caller:
    """A caller that waits in line.

    Attributes:
        number: its place: lower numbers came earlier.
        size: how many conversions it submits.
        names: the destinations they are for.
        patience: what limits its waiting.
        deadline: when it gives up, in the event loop's time.
        turn: done when it is let in or gives up. A plain asyncio future, because every caller
            needs one, and waiting for an `anyio.Event` takes more than twice as long.
        error: why it gave up.
    """

    number: int
    size: int
    names: Collection[str]
    patience: Patience
    deadline: float
    turn: Future[None]
    error: Exception | None = None

    def end_turn(self) -> None:
        """Let the caller go on."""
        if not self.turn.done():  # it may have been cancelled
            self.turn.set_result(None)


@attrs.define(kw_only=True, eq=False)
class Room:
    """The last known depth of a full destination.

    Attributes:
        destination: its name.
        capacity: how many conversions may wait for it.
        share: how much room is free before several waiting callers are let in.
        free: for how many more conversions there is room, as far as known. Every conversion that
            was let in or settled here is counted; other processes are found out by reading.
        since: when the episode began, unix seconds.
        began: when it began, in the event loop's time.
        full_at: when a caller last found no room, in the event loop's time.
        made_at: when room was last made, in the event loop's time.
        dropped: how many conversions were dropped.
    """

    destination: str
    capacity: int
    share: int
    free: int
    since: float
    began: float
    full_at: float
    made_at: float
    dropped: int = 0


class Rooms(dict[str, Room]):
    """Destination → its room, for each that is full now.

    Args:
        capacity: how many conversions may wait for each destination.
        settings: say what happens to callers that find no room.
        limits: destination → the limits of its sink.
        notify: called with an event when an episode begins or ends.
        condition: returns the condition of a destination's lane.
        clock: returns unix seconds.
    """

    def __init__(
        self,
        capacity: int,
        settings: DeliverySettings,
        *,
        limits: Mapping[str, SinkLimits],
        notify: Callable[[Event], None],
        condition: Callable[[str], LaneCondition],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._capacity = capacity
        self._settings = settings
        self._limits = limits
        self._notify = notify
        self._condition = condition
        self._clock = clock

    # How much is free

    def fill(self, waiting: Mapping[str, int]) -> None:
        """Record that a caller found no room at these destinations, for which so many wait."""
        now = anyio.current_time()
        for name, count in waiting.items():
            free = max(0, self._capacity - count)
            if room := self.get(name):
                room.free, room.full_at = min(max(room.free, 0), free), now
            else:
                self._begin(name, free, now)

    def make(self, name: str, count: int) -> None:
        """Record that *count* conversions no longer wait for a full destination."""
        room = self[name]
        room.free = min(room.free + count, room.capacity)
        room.made_at = anyio.current_time()

    def take(self, names: Collection[str], count: int) -> None:
        """Record that *count* more conversions wait for *names*; less, if it is negative."""
        for name, room in self.items():
            if name in names:
                room.free -= count

    def correct(self, waiting: Mapping[str, int], *, exact: bool) -> None:
        """Correct the room by the outbox's counts; unless *exact*, less may be waiting."""
        for name, room in self.items():
            free = self._capacity - waiting.get(name, 0)
            if not exact:
                free = max(free, room.free)
            if free > room.free:
                room.made_at = anyio.current_time()
            room.free = free

    def of(self, names: Collection[str]) -> Iterator[Room]:
        """Yield the rooms of those of *names* that are full."""
        return (room for name, room in self.items() if name in names)

    # Episodes

    def _begin(self, name: str, free: int, now: float) -> None:
        room = self[name] = Room(
            destination=name,
            capacity=self._capacity,
            share=self._share(name),
            free=free,
            since=self._clock(),
            began=now,
            full_at=now,
            made_at=now,
        )
        state, reason = self._condition(name)
        self._notify(
            BackPressure(
                destination=name,
                waiting=self._capacity - free,
                since=room.since,
                state=state,
                reason=reason,
                effect=self._effect(),
                action=self._action(name, state),
            )
        )

    def _share(self, name: str) -> int:
        """Return how much must be free before several waiting callers are let in.

        As much as lets many come at once, but not so much that a worker becomes idle meanwhile:
        with a capacity of 10,000, and six batches of 1,000 in flight, the seventh has to be there
        when the first comes back, so 3,000. At least a batch, at most half of the capacity.
        """
        batches = limits.concurrency + 1 if (limits := self._limits.get(name)) else 1
        batch = limits.batch if limits else 1
        unused = self._capacity - batch * batches
        return max(1, min(self._capacity // 2, max(batch, unused)))

    def _effect(self) -> str:
        if self._settings.on_full == "wait":
            return f"callers wait for up to {self._settings.accept_within:g} s"
        if self._settings.on_full == "raise":
            return "callers get QueueFullError"
        return "new conversions are dropped for it"

    def _action(self, name: str, state: str) -> str:
        return _ACTIONS.get(state, _ACTIONS["running"]).format(name)

    def end_finished(self, crowded: Collection[str]) -> None:
        """End the episodes of destinations with room, except where a caller waits for more."""
        now = anyio.current_time()
        for name in [*self]:
            if name not in crowded and self._is_finished(self[name], now):
                self._end(self.pop(name), now)

    def _is_finished(self, room: Room, now: float) -> bool:
        if room.free >= room.capacity and self._settings.on_full == "wait":
            return True
        return 2 * room.free > room.capacity and now - room.full_at >= _CALM

    def end_all(self) -> None:
        """End every episode, because nothing is submitted any more."""
        while self:
            self._end(self.popitem()[1], anyio.current_time())

    def _end(self, room: Room, now: float) -> None:
        self._notify(
            BackPressureEnded(
                destination=room.destination, seconds=now - room.began, dropped=room.dropped
            )
        )

    def describe(self, names: Collection[str]) -> str:
        """Return what waits for those of *names* that are full, why, and what to do."""
        parts = []
        for room in self.of(names):
            state, reason = self._condition(room.destination)
            cause = f"{state}: {reason}" if reason else state
            parts.append(
                f"{room.capacity - room.free} of at most {room.capacity} conversions wait for "
                f"{room.destination!r} ({cause}; {self._action(room.destination, state)})"
            )
        return ", ".join(parts)

    def waiting(self, names: Collection[str]) -> dict[str, int]:
        """Return how many conversions wait for each of *names* that is full."""
        return {room.destination: room.capacity - room.free for room in self.of(names)}
