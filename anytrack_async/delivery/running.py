"""`LaneRunner`: runs the lanes and the tasks beside them, until they are drained."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup

from anytrack_async.delivery.lane import Lane


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
