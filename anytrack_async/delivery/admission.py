"""`Admission`: appends conversions to the outbox; callers wait, or are refused, while it is full.

Waiting callers are let in together, once a good share of a destination's room is free. If each was
let in as soon as there is room for it, every request that comes back would be followed by a smaller
one (the "silly window syndrome"): of 40,000 conversions that 100 tasks submit one by one, Meta then
gets 20,000 requests instead of 40.
"""

from __future__ import annotations

from asyncio import get_running_loop
from bisect import insort
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import compress, count, islice
from math import inf
from operator import attrgetter
from time import monotonic, time

import anyio
from anyio.lowlevel import checkpoint

from anytrack_async.delivery.flow import LaneCondition
from anytrack_async.delivery.lifecycle import not_open_error
from anytrack_async.delivery.open_deliveries import have_only_repeats
from anytrack_async.delivery.room import Caller, Patience, Rooms
from anytrack_async.delivery.shedding import Shedding
from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.errors import QueueFullError
from anytrack_async.events import Event, logger
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult, Outbox
from anytrack_async.outbox.capabilities import KeepsSummaries, LimitsWaiting
from anytrack_async.settings.delivery import DeliverySettings

_YIELD_EVERY = 64
"""Conversions after which a caller yields to the event loop, if its outbox never does."""

_MAX_DELAY = 0.2
"""Seconds from one opening to the next at most, however little room there is then."""
_MAX_LOOKED_UP = 50  # waiting callers at a time


class Admission:
    """The way into the outbox.

    Args:
        outbox: accepts the conversions.
        settings: decide about callers that find the outbox full.
        limits: destination → the limits of its sink, for every destination.
        notify: called with the events of full destinations.
        condition: returns the condition of a destination's lane.
        on_dropped: called with a destination, the event ids of conversions that were accepted for
            others only, and how many conversions wait for it.
        clock: returns unix seconds.

    Attributes:
        is_open: whether anything is accepted.
        crowded: the destinations with too little room for a caller that waits. The same set at all
            times: lanes look into it.
        shedding: accepts conversions without the destinations that are full.
    """

    # One line for all callers, in order. Only those that need no room where one lacks room pass it.
    # With HubSpot full, and Meta not:
    #
    #   1  for Meta and HubSpot   waits for HubSpot
    #   2  for HubSpot            waits behind 1
    #   3  for Meta               is let in

    def __init__(
        self,
        outbox: Outbox,
        settings: DeliverySettings,
        *,
        limits: Mapping[str, SinkLimits],
        notify: Callable[[Event], None],
        condition: Callable[[str], LaneCondition],
        on_dropped: Callable[[str, Sequence[str], int], None],
        clock: Callable[[], float] = time,
    ) -> None:
        self.is_open = False
        self.crowded: set[str] = set()
        self._outbox = outbox
        self._limits_waiting = outbox if isinstance(outbox, LimitsWaiting) else None
        self._settings = settings
        self._destinations = tuple(limits)
        self._capacity_bytes: int = getattr(outbox, "capacity_bytes", 0)  # 0 for no limit
        self._rooms = Rooms(
            outbox.capacity,
            self._capacity_bytes,
            settings,
            limits=limits,
            notify=notify,
            condition=condition,
            clock=clock,
        )
        self.shedding = Shedding(outbox, self._rooms, fill=self._fill, on_dropped=on_dropped)
        self._line: list[Caller] = []
        self._numbers = count()
        self._looked_up = -1  # number of the last caller that was looked up
        # Both of the event loop in which it is open.
        self._episode_began: anyio.Event
        self._bytes_freed: anyio.Event
        self._opened_at = 0.0  # when callers were last let in, in the event loop's time
        self._calls = self._since_yield = 0

    def open(self) -> None:
        """Begin to accept conversions, in the running event loop."""
        self._episode_began, self._bytes_freed = anyio.Event(), anyio.Event()
        if self._limits_waiting is not None:
            self._limits_waiting.limit_waiting(self._settings.accept_within)
        self.is_open = True

    def close(self) -> None:
        """Admit nothing more; waiting callers raise `ClosedError`."""
        self.is_open = False
        for caller in self._line:
            caller.end_turn()
        self._line.clear()
        self.crowded.clear()
        self._rooms.end_all()

    def check_open(self) -> None:
        """Raise `ClosedError` unless conversions can be submitted."""
        if not self.is_open:
            raise not_open_error()

    async def append(
        self,
        conversions: Sequence[Conversion],
        to: Sequence[str] | None,
        patience: Patience = Patience.LIMITED,
    ) -> Sequence[AppendResult]:
        """Append *conversions* for the destinations *to*; do as ``on_full`` says without room.

        Raises:
            ClosedError: the client is not open; nothing was accepted.
            QueueFullError: there was no room in time, or *conversions* are more than fit into an
                empty outbox; with ``on_full="shed"``, no destination has room. Nothing was
                accepted.
            OutboxError: they could not be written; nothing was accepted.
        """
        if self._since_yield + len(conversions) >= _YIELD_EVERY:
            self._since_yield = 0
            await checkpoint()
        if not self.is_open:
            raise not_open_error()
        began = monotonic()
        if self._rooms and not self._rooms.may_enter(
            to or self._destinations, conversions, self.crowded
        ):
            return await self._append_in_line(conversions, to, patience, began)
        self._calls = call = self._calls + 1
        try:
            return await self._outbox.append(conversions, to)
        except QueueFullError as exc:
            error = exc
        finally:
            # If another call began while this one waited, the outbox has yielded to the event
            # loop. Yielding once more would only make some caller miss the commit that the
            # others share.
            yielded = call != self._calls
            self._since_yield = 0 if yielded else self._since_yield + len(conversions)
        return await self._append_to_full(conversions, to, patience, began, error)

    async def _append_to_full(
        self,
        conversions: Sequence[Conversion],
        to: Sequence[str] | None,
        patience: Patience,
        began: float,
        error: QueueFullError,
    ) -> Sequence[AppendResult]:
        if error.too_large or len(conversions) > self._outbox.capacity:
            raise error  # there will never be room
        names = to or self._destinations
        if self._settings.on_full == "shed":
            return await self.shedding.append(self._outbox.append, conversions, names, error)
        self._fill(error, names)
        if self._settings.on_full == "raise":
            raise error
        return await self._append_in_line(conversions, to, patience, began)

    def _fill(self, error: QueueFullError, names: Collection[str]) -> None:
        self.check_open()  # else an episode would begin after `close` has ended all
        if not error.waiting:  # it does not say which destinations are full: it may mean any
            error.waiting = dict.fromkeys(names, self._outbox.capacity)
        self._rooms.fill(error)
        self._episode_began.set()

    # Waiting

    async def _append_in_line(
        self,
        conversions: Sequence[Conversion],
        to: Sequence[str] | None,
        patience: Patience,
        began: float,
    ) -> Sequence[AppendResult]:
        names = to or self._destinations
        caller = Caller(
            number=next(self._numbers),
            conversions=conversions,
            names=names,
            patience=patience,
            began=began,
            deadline=self._deadline(patience, began),
            turn=get_running_loop().create_future(),
        )
        while True:
            self._line_up(caller)
            try:
                # Not in a coroutine of its own: garbage collections go through each that waits.
                await caller.turn
            except BaseException:
                self._leave(caller)
                raise
            if caller.error is not None:
                raise caller.error
            self.check_open()
            try:
                results = await self._append_late(caller, to)
            except BaseException as exc:
                self._rooms.give_back(caller)
                if not isinstance(exc, QueueFullError) or exc.too_large:
                    raise
                self._fill(exc, names)  # another process was faster
                caller.turn = get_running_loop().create_future()
            else:
                if repeats := len(results) - results.count(Appended.NEW):
                    self._rooms.give_back(caller, repeats)  # repeats need no room
                return results

    def _deadline(self, patience: Patience, began: float) -> float:
        if patience is Patience.UNLIMITED:
            return inf
        return anyio.current_time() + self._settings.accept_within - (monotonic() - began)

    async def _append_late(
        self, caller: Caller, to: Sequence[str] | None
    ) -> Sequence[AppendResult]:
        """Append for a *caller* that has waited for room: a locked file has the same deadline."""
        if self._limits_waiting is None or caller.patience is not Patience.LIMITED:
            return await self._outbox.append(caller.conversions, to)
        return await self._limits_waiting.append(
            caller.conversions, to, waited=monotonic() - caller.began
        )

    def _line_up(self, caller: Caller) -> None:
        """Put *caller* in line; its turn ends when it has taken its room, or gives up."""
        if self._line and self._line[-1].number > caller.number:
            insort(self._line, caller, key=attrgetter("number"))
        else:
            self._line.append(caller)
        if self.crowded.isdisjoint(caller.names):  # else others wait for the same room
            self._let_in()

    def _leave(self, caller: Caller) -> None:
        """Take *caller*, which was cancelled, out of the line."""
        if caller in self._line:
            self._line.remove(caller)
        elif caller.error is None:
            self._rooms.give_back(caller)
        self._let_in()

    def make_room(self, destination: str, size: int) -> None:
        """Let waiting callers in: *size* conversions no longer wait for *destination*."""
        if destination in self._rooms:
            self._rooms.make(destination, size)
            if self._rooms[destination].in_bytes:
                self._bytes_freed.set()
            self._let_in()
            self._rooms.end_finished(self.crowded)

    def _let_in(self, *, at_once: bool = False) -> None:
        """Let callers in while there is room, in order.

        With a share of 1,000, the first caller is let in when 1,000 are free, and with it all that
        fit; a first caller with 3,000 conversions when 3,000 are free.

        Args:
            at_once: whether to let in the first although less than a share is free.
        """
        needed = {name: 0 if at_once else room.share for name, room in self._rooms.items()}
        crowded: set[str] = set()
        waiting: list[Caller] = []
        passed = 0
        for caller in self._line:
            if self._rooms and len(crowded) == len(self._rooms):
                break  # every destination is crowded, so that no later caller can pass
            passed += 1
            if self._rooms.lack_room_for(caller, needed, crowded):
                waiting.append(caller)
                continue
            for name in caller.names:
                needed[name] = 0
            self._rooms.take(caller)
            caller.end_turn()
        if passed > len(waiting):
            self._opened_at = anyio.current_time()
        self._line[:passed] = waiting
        self.crowded.clear()
        self.crowded.update(crowded)

    # Looking after callers

    async def run(self) -> None:
        """Look after waiting callers while a destination is full, until cancelled."""
        while True:
            await self._episode_began.wait()
            async with anyio.create_task_group() as tg:
                tg.start_soon(self._find_room)
                tg.start_soon(self._find_repeats)
                while self._rooms:
                    self._let_in(at_once=anyio.current_time() - self._opened_at >= _MAX_DELAY)
                    self._give_up()
                    self._rooms.end_finished(self.crowded)
                    await anyio.sleep(self._pause())
                tg.cancel_scope.cancel()
            self._episode_began = anyio.Event()

    def _pause(self) -> float:
        now = anyio.current_time()
        first = min((caller.deadline for caller in self._line), default=inf)
        opening = self._opened_at + _MAX_DELAY
        if opening <= now:
            opening = now + _MAX_DELAY
        return max(0.0, min(opening, first) - now)

    async def _find_room(self) -> None:
        """Look for room that other processes made, and for free bytes, until cancelled."""
        while True:
            with anyio.move_on_after(self._settings.poll):
                await self._bytes_freed.wait()
            self._bytes_freed = anyio.Event()
            await self._read_depths()
            if self._line and self._outbox.shared:
                # Depths may count conversions for other destinations: let the outbox decide.
                caller = self._line.pop(0)
                self._rooms.take(caller)
                caller.end_turn()

    async def _find_repeats(self) -> None:
        """Let callers in that submit repeats only, until cancelled; long before they give up."""
        while True:
            await self._let_repeats_in()
            await anyio.sleep(min(_MAX_DELAY, self._settings.accept_within) / 4)

    async def _let_repeats_in(self) -> None:
        new = (caller for caller in self._line if caller.number > self._looked_up)
        callers = [*islice(new, _MAX_LOOKED_UP)]
        if not callers or not isinstance(self._outbox, KeepsSummaries):
            return
        try:
            are_repeats = await have_only_repeats(
                self._outbox, [caller.conversions for caller in callers]
            )
        except Exception as exc:
            logger.error("cannot look up what waits for room: %s", safe_description(exc))
            return
        self._looked_up = callers[-1].number
        for caller in compress(callers, are_repeats):
            if caller in self._line:
                self._line.remove(caller)
                self._rooms.take(caller)
                caller.end_turn()

    async def _read_depths(self) -> None:
        try:
            depths = await self._outbox.depths()
        except Exception as exc:
            logger.error("cannot count what waits in the outbox: %s", safe_description(exc))
        else:
            self._rooms.correct(depths, exact=not self._outbox.shared)
        self._let_in()

    def _give_up(self) -> None:
        """Make callers raise that have waited for too long."""
        now, limit = anyio.current_time(), self._settings.accept_within
        for caller in [caller for caller in self._line if caller.deadline <= now]:
            full = self.crowded.intersection(caller.names)
            if caller.patience is Patience.WHILE_MOVING and full:
                caller.deadline = min(room.made_at for room in self._rooms.of(full)) + limit
            if caller.deadline <= now:
                self._line.remove(caller)
                caller.error = self._rooms.timeout_error(caller, full)
                caller.end_turn()
