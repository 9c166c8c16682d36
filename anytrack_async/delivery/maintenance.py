"""`Maintenance`: what runs beside the lanes while a dispatcher is open.

It stands apart from the dispatcher because it needs the outbox only. Nothing here is urgent, and
nothing that fails here stops a lane: it is tried again.
"""

from __future__ import annotations

import anyio

from anytrack_async.delivery.delivery import OpenDeliveries
from anytrack_async.errors import safe_description
from anytrack_async.events import logger
from anytrack_async.outbox.base import Outbox
from anytrack_async.settings.delivery import DeliverySettings

_PRUNE_AFTER = 5_000
"""Settled entries after which the outbox is pruned before `DeliverySettings.prune_every` ends."""


class Maintenance:
    """Prunes the outbox, and polls it for waiting callers where other processes use it too."""

    def __init__(
        self, outbox: Outbox, settings: DeliverySettings, open_deliveries: OpenDeliveries
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._open_deliveries = open_deliveries
        self._settled = 0
        self._prune_now = anyio.Event()

    def count_settled(self, count: int) -> None:
        """Count entries that may be pruned."""
        self._settled += count
        if self._settled >= _PRUNE_AFTER:
            self._prune_now.set()

    async def run(self) -> None:
        """Prune, and poll a shared outbox, until cancelled."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._prune)
            if self._outbox.shared:
                tg.start_soon(self._poll)

    async def _prune(self) -> None:
        while True:
            with anyio.move_on_after(self._settings.prune_every):
                await self._prune_now.wait()
            self._prune_now, self._settled = anyio.Event(), 0
            try:
                await self._outbox.prune(remember=self._settings.remember)
            except Exception as exc:
                logger.error("cannot prune the outbox, will retry: %s", safe_description(exc))

    async def _poll(self) -> None:
        while True:
            await anyio.sleep(self._settings.poll)
            try:
                await self._open_deliveries.poll_awaited()
            except Exception as exc:
                logger.error("cannot read the outbox, will retry: %s", safe_description(exc))
