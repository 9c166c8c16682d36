"""`Pauses`: lets the lanes of a process honour the pauses in its outbox, and stores new ones."""

from __future__ import annotations

import time
from collections.abc import Mapping

import anyio

from anytrack_async.delivery.flow import LaneState
from anytrack_async.delivery.lanes import Lanes
from anytrack_async.descriptions import safe_description
from anytrack_async.events import logger
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import KeepsCheckpoints
from anytrack_async.outbox.pauses import Pause, read_pauses, save_pause

_POLL = 2.0
"""Seconds after which a process notices at the latest that another one has paused or resumed."""

_STORED_WITHIN = 5.0
"""Seconds that closing waits until the last pauses are stored."""


class Pauses:
    """Which destinations are paused.

    A pause of this process applies at once, and is stored a moment later. Those of other processes
    apply within `_POLL` seconds, and those that are stored when the client opens, at once.

    Args:
        outbox: has the pauses.
        lanes: the lanes of this process, if it delivers.
    """

    def __init__(self, outbox: Outbox, lanes: Lanes) -> None:
        self._outbox, self._lanes = outbox, lanes
        self._applied: dict[str, Pause] = {}
        self._changes: dict[str, Pause | None] = {}  # not stored yet
        self._changed = anyio.Event()
        self._has_failed = False

    # Changing

    def pause(self, pause: Pause) -> None:
        """Pause a destination."""
        self._change(pause.destination, pause)

    def resume(self, destination: str) -> None:
        """End a pause, and let the lane try again at once, whatever paused it."""
        self._change(destination, None)
        if lane := self._lanes.get(destination):
            lane.resume()

    def _change(self, destination: str, pause: Pause | None) -> None:
        # Also where no pause is applied here: another process may just have paused it.
        self._changes[destination] = pause
        self._changed.set()
        self._apply(destination, pause)

    def _apply(self, destination: str, pause: Pause | None) -> None:
        """Pause a lane, or resume it if *pause* is None; do nothing if that is no change."""
        previous = self._applied.pop(destination, None)
        if pause is not None:
            self._applied[destination] = pause
        lane = self._lanes.get(destination)
        if lane is None or pause == previous:
            return
        if pause is not None:
            logger.info("%s: %s; nothing is sent until it is resumed", destination, pause)
            lane.pause(str(pause))
        elif lane.state is LaneState.PAUSED:
            logger.info("%s: resumed", destination)
            lane.resume()

    # Reading

    async def read(self, destinations: list[str]) -> Mapping[str, Pause]:
        """Return destination → its pause, also of destinations that this process does not have."""
        stored = await read_pauses(self._outbox, destinations)
        if not isinstance(self._outbox, KeepsCheckpoints):
            return dict(self._applied)
        ended = {name for name, pause in self._changes.items() if pause is None}
        new = {name: pause for name, pause in self._changes.items() if pause is not None}
        return {name: pause for name, pause in stored.items() if name not in ended} | new

    def seconds(self, destination: str) -> float | None:
        """Return for how long a destination has been paused; None if it is not."""
        pause = self._applied.get(destination)
        return None if pause is None else max(0.0, time.time() - pause.since)

    # Running

    async def load(self) -> None:
        """Apply the stored pauses, before the lanes begin.

        Raises:
            OutboxError: the outbox cannot be read.
        """
        self._changed = anyio.Event()
        if self._changes:
            self._changed.set()
        stored = await read_pauses(self._outbox, self._lanes)
        if isinstance(self._outbox, KeepsCheckpoints):
            self._applied.clear()
        for name in self._lanes:
            pause = self._changes.get(name, stored.get(name) or self._applied.pop(name, None))
            self._apply(name, pause)

    async def run(self) -> None:
        """Store pauses of this process, and apply those of other processes, until cancelled."""
        poll = _POLL if self._outbox.shared else None
        while isinstance(self._outbox, KeepsCheckpoints):
            if not self._has_failed:
                with anyio.move_on_after(poll if poll is not None else float("inf")):
                    await self._changed.wait()
            else:
                await anyio.sleep(_POLL)
            self._changed = anyio.Event()
            await self._follow()

    async def _follow(self) -> None:
        try:
            await self._store()
            if self._outbox.shared and self._lanes:
                stored = await read_pauses(self._outbox, self._lanes)
                for name in self._lanes:
                    if name not in self._changes:  # else it was changed here meanwhile
                        self._apply(name, stored.get(name))
        except Exception as exc:
            if not self._has_failed:
                logger.error("cannot store or read pauses, will retry: %s", safe_description(exc))
            self._has_failed = True
        else:
            self._has_failed = False

    async def _store(self) -> None:
        while self._changes:
            name, pause = next(iter(self._changes.items()))
            await save_pause(self._outbox, name, pause)
            if self._changes.get(name) == pause:
                del self._changes[name]

    async def finish(self) -> None:
        """Store the pauses that are not stored yet, before the outbox is closed."""
        if not isinstance(self._outbox, KeepsCheckpoints):
            return
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _STORED_WITHIN):
            try:
                await self._store()
            except Exception as exc:
                logger.error("pauses were not stored: %s", safe_description(exc))
