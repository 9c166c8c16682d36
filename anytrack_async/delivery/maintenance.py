"""`Upkeep`: what goes on beside the lanes: cleaning up, and looking what other processes did."""

from __future__ import annotations

import anyio

from anytrack_async.delivery.registry import Handles
from anytrack_async.errors import safe_description
from anytrack_async.events import logger
from anytrack_async.outbox.base import Outbox
from anytrack_async.settings.delivery import DeliverySettings

_PRUNE_AFTER = 5_000
"""Settled entries after which the outbox is cleaned up without waiting for the clock."""


class Upkeep:
    """Cleans the outbox up, and tells waiting callers what other processes did with it."""

    def __init__(self, outbox: Outbox, settings: DeliverySettings, handles: Handles) -> None:
        self._outbox = outbox
        self._settings = settings
        self._handles = handles
        self._settled = 0
        self._prune_now = anyio.Event()

    def settled(self, count: int) -> None:
        """Take note of *count* entries that may be cleaned up."""
        self._settled += count
        if self._settled >= _PRUNE_AFTER:
            self._prune_now.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._prune)
            if self._outbox.shared:
                tg.start_soon(self._watch)

    async def _prune(self) -> None:
        while True:
            with anyio.move_on_after(self._settings.prune_every):
                await self._prune_now.wait()
            self._prune_now, self._settled = anyio.Event(), 0
            try:
                await self._outbox.prune(remember=self._settings.remember)
            except Exception as exc:  # an outbox may be anybody's
                logger.error("cannot clean up the outbox, trying again: %s", safe_description(exc))

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(self._settings.poll)
            try:
                await self._handles.look_around()
            except Exception as exc:  # an outbox may be anybody's
                logger.error("cannot read the outbox, trying again: %s", safe_description(exc))
