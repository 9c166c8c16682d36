"""The lanes of a dispatcher: `Lanes` wakes them, `LaneRunner` runs them until they are drained."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup

from anytrack_async.delivery.lane import Lane
from anytrack_async.descriptions import safe_description
from anytrack_async.events import logger
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import WatchesNews

_MAX_SKIPPED = 1_000
"""Conversions that may pile up in a shared outbox before lanes of other destinations are woken, to
move their cursors past all of these conversions in one claim."""

_NEWS_AGAIN = 5.0
"""Seconds until a lane subscribes again to the news of an outbox, after these have ended."""


class Lanes(dict[str, Lane]):
    """Destination → its lane; empty while the dispatcher is closed.

    Every lane's cursor has to pass conversions for other destinations only, or the log cannot be
    pruned. In an unshared outbox a claim is cheap, so every lane is woken each time. In a shared
    outbox a claim is a transaction: there a lane is woken for them only once 1,000 have piled up,
    unless it claims earlier for its own conversions, or because `DeliverySettings.poll` has passed.
    """

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        # A small outbox would be full before 1,000 are skipped: with a capacity of 500, after 50.
        self._max_skipped = min(_MAX_SKIPPED, outbox.capacity // 10) if outbox.shared else 0
        self._skipped = 0

    def wake(self) -> None:
        """Let every lane look for work."""
        self._skipped = 0
        for lane in self.values():
            lane.wake()

    def wake_for(self, names: Collection[str], count: int) -> None:
        """Let lanes look for work, as *count* conversions for *names* were accepted."""
        self._skipped += count
        wakes_all = self._skipped >= self._max_skipped
        if wakes_all:
            self._skipped = 0
        for name, lane in self.items():
            if name in names:
                lane.wake(count)
            elif wakes_all:
                lane.wake()

    def wake_by_news(self, name: str | None) -> None:
        """Let the lane *name* look for work, or every lane if it is None; others have none here."""
        if name is None:
            self.wake()
        elif lane := self.get(name):
            lane.wake()

    async def follow_news(self, outbox: Outbox) -> None:
        """Wake lanes when *outbox* has news, if it ever has any, until cancelled."""
        has_warned = False
        while isinstance(outbox, WatchesNews):
            try:
                await outbox.watch(self.wake_by_news)
            except Exception as exc:
                if not has_warned:
                    logger.warning(
                        "the outbox tells no news, so lanes look for conversions of other "
                        "processes every DeliverySettings.poll seconds: %s",
                        safe_description(exc),
                    )
                has_warned = True
            await anyio.sleep(_NEWS_AGAIN)


class LaneRunner:
    """Runs the lanes of a dispatcher.

    Args:
        lanes: destination → its lane; read when the lanes are to run.
        drain: seconds that lanes may go on when they are to end.
        durable: whether the outbox keeps the conversions that the lanes leave undelivered.
        maintenance: functions to run beside the lanes, until the last lane has ended.
        on_closing: called when the lanes are to end, before anything else.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        *,
        drain: float,
        durable: bool,
        maintenance: Sequence[Callable[[], Coroutine[Any, Any, None]]],
        on_closing: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._drain = drain
        self._durable = durable
        self._maintenance = maintenance
        self._on_closing = on_closing
        self._tasks: TaskGroup | None = None
        self._background: set[CancelScope] = set()
        self._drain_limit: float | None = None
        self._closing_shield: CancelScope | None = None
        self._closing: anyio.Event  # of the event loop in which they run

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run the lanes; leaving the block lets them end within the drain, also if cancelled.

        An exception of the block is raised unchanged, when the lanes have ended.
        """
        failure: BaseException | None = None
        # Shielded: cancelling the caller must not drop accepted conversions. The shield still ends,
        # because closing gives it a deadline.
        shield = CancelScope(shield=True)
        self._drain_limit = self._closing_shield = None
        self._closing = anyio.Event()
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._run, shield)
                try:
                    yield
                except (Exception, KeyboardInterrupt, SystemExit) as exc:
                    failure = exc  # raised below, where no group wraps it
                finally:
                    self._close(shield)
        finally:
            self._tasks = None
        if failure is not None:
            raise failure

    async def _run(self, shield: CancelScope) -> None:
        with shield:
            async with anyio.create_task_group() as maintenance:
                for function in self._maintenance:
                    maintenance.start_soon(function)
                async with anyio.create_task_group() as lanes:
                    for lane in self._lanes.values():
                        lanes.start_soon(lane.run)
                    if not self._lanes:  # another process delivers
                        await self._closing.wait()
                maintenance.cancel_scope.cancel()

    def _close(self, shield: CancelScope) -> None:
        self._on_closing()
        self._closing.set()
        for scope in self._background:
            scope.cancel()
        self._closing_shield = shield
        self._set_drain(shield)

    def limit_drain(self, seconds: float) -> None:
        """Let closing deliver for *seconds* at most, also if it has begun.

        A durable outbox keeps waiting conversions: its lanes only finish the batches in flight.
        """
        self._drain_limit = seconds
        if self._closing_shield is not None:
            self._set_drain(self._closing_shield)

    def _set_drain(self, shield: CancelScope) -> None:
        drain, claims = self._drain, True
        if self._drain_limit is not None:
            drain, claims = min(drain, self._drain_limit), not self._durable
        for lane in self._lanes.values():
            lane.close(drain, claims=claims)
        shield.deadline = min(shield.deadline, anyio.current_time() + drain)

    def start_task(self, function: Callable[[], Awaitable[None]]) -> CancelScope:
        """Run *function* beside the lanes until it ends or the lanes are to end.

        Returns:
            The scope by which the caller can cancel it.
        """
        scope = CancelScope()

        async def run() -> None:
            with scope:
                await function()
            self._background.discard(scope)

        if self._tasks is None or self._closing_shield is not None:
            scope.cancel()
            return scope
        self._background.add(scope)
        self._tasks.start_soon(run)
        return scope
