"""`Rooms`: the destinations that are full; `Caller`: one that waits until they have room again.

A destination is full when as many conversions wait for it as the outbox's capacity, or as many
bytes of them as its capacity in bytes; its room is then counted in bytes. An *episode* begins when
a caller finds no room, and is told by one `BackPressure`. It ends, with one `BackPressureEnded`,
when nothing waits any more, or when half of the room has been free for a second. Between two
openings of a destination that is as slow as ever, room is free for milliseconds: that ends nothing.
"""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import StrEnum

import anyio
import attrs

from anytrack_async.delivery.flow import LaneCondition
from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.errors import QueueFullError
from anytrack_async.events import (
    REMEDIES,
    BackPressure,
    BackPressureEnded,
    Event,
)
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Depth
from anytrack_async.outbox.checks import MAX_CLAIM_BYTES, total_bytes
from anytrack_async.settings.delivery import DeliverySettings

_CALM = 1.0
"""Seconds without a caller that found no room, after which an episode may end."""

_ACTIONS = {
    "paused": "let it send again with client.resume(…), anytrack outbox resume, or in the console",
    "down": "look whether the service is down",
    "throttled": "it accepts conversions again when its pause ends",
    "running": "submit more slowly, or raise the outbox's capacity",
}


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
        number: its place in the line: lower numbers came earlier.
        conversions: the conversions that it submits.
        names: the destinations of these conversions.
        patience: which setting limits its waiting.
        began: when the call began, on the monotonic clock.
        deadline: when it gives up, in the event loop's time.
        turn: done when it is let in or gives up. A plain asyncio future, because every caller
            needs one, and waiting for an `anyio.Event` takes more than twice as long.
        error: the reason why it gave up.
    """

    number: int
    conversions: Sequence[Conversion]
    names: Collection[str]
    patience: Patience
    began: float
    deadline: float
    turn: Future[None]
    error: Exception | None = None
    _bytes: int | None = None

    def needs(self, room: Room) -> int:
        """Return how much of *room* it needs; all of it if that is not enough."""
        size = len(self.conversions)
        if room.in_bytes:
            if self._bytes is None:
                self._bytes = total_bytes(self.conversions)
            size = self._bytes
        return min(room.capacity, size)

    def end_turn(self) -> None:
        """Let the caller go on."""
        if not self.turn.done():  # it may have been cancelled
            self.turn.set_result(None)


@attrs.define(kw_only=True, eq=False)
class Room:
    """The last known depth of a full destination.

    Attributes:
        destination: its name.
        in_bytes: whether it is bytes that there is no room for: the next three are bytes then.
        capacity: how many conversions may wait for it.
        share: how much room is free before several waiting callers are let in.
        free: for how many more conversions there is room, as far as known. Every conversion that
            was let in or settled here is counted; other processes are found out by reading.
        waiting: how many conversions waited for it when a caller last found no room.
        since: when the episode began, unix seconds.
        began: when it began, in the event loop's time.
        full_at: when a caller last found no room, in the event loop's time.
        made_at: when room was last made, in the event loop's time.
        dropped: how many conversions were dropped.
        shedding: how many calls are about to accept conversions without it; the episode lasts
            until it is known how many that drops.
    """

    destination: str
    in_bytes: bool
    capacity: int
    share: int
    free: int
    waiting: int
    since: float
    began: float
    full_at: float
    made_at: float
    dropped: int = 0
    shedding: int = 0

    def size_of(self, conversions: Sequence[Conversion]) -> int:
        """Return how much of it *conversions* need."""
        return total_bytes(conversions) if self.in_bytes else len(conversions)

    def describe(self) -> str:
        """Return how much of it is used."""
        used = self.capacity - self.free
        if self.in_bytes:
            return f"{self.waiting} conversions with {used:,} of at most {self.capacity:,} bytes"
        return f"{used} of at most {self.capacity} conversions"


class Rooms(dict[str, Room]):
    """Destination → its room, for each that is full now.

    Args:
        capacity: how many conversions may wait for each destination.
        capacity_bytes: how many bytes these may take; 0 if the outbox does not limit that.
        settings: decide about callers that find no room.
        limits: destination → the limits of its sink.
        notify: called with an event when an episode begins or ends.
        condition: returns the condition of a destination's lane.
        clock: returns unix seconds.
    """

    def __init__(
        self,
        capacity: int,
        capacity_bytes: int,
        settings: DeliverySettings,
        *,
        limits: Mapping[str, SinkLimits],
        notify: Callable[[Event], None],
        condition: Callable[[str], LaneCondition],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._settings = settings
        self._limits = limits
        self._notify = notify
        self._condition = condition
        self._clock = clock

    # How much is free

    def fill(self, error: QueueFullError) -> None:
        """Record that a caller found no room at the destinations of *error*."""
        now = anyio.current_time()
        for name, waiting in error.waiting.items():
            used = error.waiting_bytes.get(name)
            in_bytes = used is not None
            capacity = self._capacity_bytes if in_bytes else self._capacity
            free = max(0, capacity - (waiting if used is None else used))
            room = self.get(name)
            if room is None:
                self._begin(name, free, waiting, now, in_bytes=in_bytes)
                continue
            if room.in_bytes is in_bytes:
                free = min(max(room.free, 0), free)
            else:
                room.in_bytes, room.capacity = in_bytes, capacity
                room.share = self._share(name, in_bytes=in_bytes)
            room.free, room.waiting, room.full_at = free, waiting, now

    def make(self, name: str, count: int) -> None:
        """Record that *count* conversions no longer wait for a full destination."""
        room = self[name]
        if not room.in_bytes:  # else the outbox has to be asked; see `correct`
            room.free = min(room.free + count, room.capacity)
        room.made_at = anyio.current_time()

    def may_enter(
        self, names: Collection[str], conversions: Sequence[Conversion], crowded: Collection[str]
    ) -> bool:
        """Return whether a new caller need not wait in line, and take its room.

        Args:
            names: the destinations of its conversions.
            conversions: the conversions that it submits.
            crowded: the destinations for which others wait.
        """
        needed = [
            (name, room, room.size_of(conversions)) for name, room in self.items() if name in names
        ]
        waits = self._settings.on_full == "wait"
        for name, room, size in needed:
            if size > room.capacity:
                return True  # not to wait for room that there will never be
            if waits and (room.free < size or name in crowded):
                return False
        for _, room, size in needed:
            room.free -= size
        return True

    def lack_room_for(self, caller: Caller, needed: Mapping[str, int], crowded: set[str]) -> bool:
        """Return whether a destination has no room for *caller*.

        Args:
            caller: a caller in line.
            needed: destination → the room that must be free for the first caller.
            crowded: the destinations for which others wait; those without room are added.
        """
        lacks_room = False
        for name, room in self.items():
            if name not in caller.names:
                continue
            if room.free < needed[name] or room.free < caller.needs(room):
                crowded.add(name)
            lacks_room |= name in crowded
        return lacks_room

    def take(self, caller: Caller) -> None:
        """Record that the conversions of *caller* wait too."""
        for name, room in self.items():
            if name in caller.names:
                room.free -= caller.needs(room)

    def give_back(self, caller: Caller, count: int | None = None) -> None:
        """Record that *count* of the conversions of *caller*, or all of them, do not wait."""
        for room in self.of(caller.names):
            if count is None:
                room.free += caller.needs(room)
            elif not room.in_bytes:
                room.free += count

    def correct(self, depths: Mapping[str, Depth], *, exact: bool) -> None:
        """Correct the room by the outbox's counts; unless *exact*, less may be waiting."""
        for name, room in self.items():
            depth = depths.get(name, Depth())
            free = room.capacity - ((depth.waiting_bytes or 0) if room.in_bytes else depth.waiting)
            if not exact:
                free = max(free, room.free)
            if free > room.free:
                room.made_at = anyio.current_time()
            room.free = free

    def of(self, names: Collection[str]) -> Iterator[Room]:
        """Yield the rooms of those of *names* that are full."""
        return (room for name, room in self.items() if name in names)

    # Episodes

    def _begin(self, name: str, free: int, waiting: int, now: float, *, in_bytes: bool) -> None:
        room = self[name] = Room(
            destination=name,
            in_bytes=in_bytes,
            capacity=self._capacity_bytes if in_bytes else self._capacity,
            share=self._share(name, in_bytes=in_bytes),
            free=free,
            waiting=waiting,
            since=self._clock(),
            began=now,
            full_at=now,
            made_at=now,
        )
        condition = self._condition(name)
        self._notify(
            BackPressure(
                destination=name,
                waiting=waiting,
                waiting_bytes=room.capacity - free if in_bytes else None,
                since=room.since,
                state=condition.state,
                reason=condition.reason,
                effect=self._effect(),
                action=self._action(name, condition),
            )
        )

    def _share(self, name: str, *, in_bytes: bool) -> int:
        """Return how much must be free before several waiting callers are let in.

        As much as lets many come at once, since letting each in is work, but not so much that the
        lane runs out of conversions: with a capacity of 10,000, and at most six batches of 1,000 in
        flight, 4,000 when these six are left. At least a batch, at most half of the capacity.
        """
        limits = self._limits.get(name)
        batch, batches = (limits.batch, limits.concurrency) if limits else (1, 0)
        capacity = self._capacity
        if in_bytes:
            batch, capacity = MAX_CLAIM_BYTES, self._capacity_bytes
        unused = capacity - batch * batches
        return max(1, min(capacity // 2, max(batch, unused)))

    def _effect(self) -> str:
        if self._settings.on_full == "wait":
            return f"callers wait for up to {self._settings.accept_within:g} s"
        if self._settings.on_full == "raise":
            return "callers get QueueFullError"
        return "new conversions are dropped for it"

    def _action(self, name: str, condition: LaneCondition) -> str:
        if condition.cause is not None:
            return REMEDIES[condition.cause] % name
        return _ACTIONS.get(condition.state, _ACTIONS["running"])

    def end_finished(self, crowded: Collection[str]) -> None:
        """End the episodes of destinations with room, except where a caller waits for more."""
        now = anyio.current_time()
        for name in [*self]:
            room = self[name]
            if name not in crowded and not room.shedding and self._is_finished(room, now):
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
            condition = self._condition(room.destination)
            state, reason, _ = condition
            cause = f"{state}: {reason}" if reason else state
            parts.append(
                f"{room.describe()} wait for {room.destination!r} "
                f"({cause}; {self._action(room.destination, condition)})"
            )
        return ", ".join(parts)

    def timeout_error(self, caller: Caller, full: Collection[str]) -> QueueFullError:
        """Return the error of *caller*, for which the destinations *full* had no room in time."""
        size, seconds = len(caller.conversions), f"{self._settings.accept_within:g} s"
        return QueueFullError(
            f"the outbox is full: {self.describe(full)}; there was no room within "
            f"{seconds}, so none of these {size} was accepted; "
            'with DeliverySettings(on_full="shed") the other destinations get them',
            self.waiting(full),
            self.waiting_bytes(full),
        )

    def waiting(self, names: Collection[str]) -> dict[str, int]:
        """Return how many conversions wait for each of *names* that is full."""
        return {
            room.destination: room.waiting if room.in_bytes else room.capacity - room.free
            for room in self.of(names)
        }

    def waiting_bytes(self, names: Collection[str]) -> dict[str, int]:
        """Return how many bytes wait for each of *names* that has no room for more bytes."""
        return {
            room.destination: room.capacity - room.free for room in self.of(names) if room.in_bytes
        }
