"""`Intake`: writes conversions into the outbox, and makes callers wait while it is full."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.lowlevel import checkpoint

from anytrack_async.errors import ClosedError, QueueFullError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, Outbox
from anytrack_async.settings.delivery import DeliverySettings

_YIELD_EVERY = 64
"""Conversions after which an intake lets others run, if its outbox never waits."""


class Intake:
    """The way into the outbox: first come, first served when it is full."""

    def __init__(self, outbox: Outbox, settings: DeliverySettings) -> None:
        self.is_open = False
        self._outbox = outbox
        self._settings = settings
        self._room = anyio.Event()
        self._queue = anyio.Lock()
        self._calls = 0
        self._at_once = 0

    def room(self) -> None:
        """Let those who wait try again: something was settled, or the intake closed."""
        self._room.set()

    def close(self) -> None:
        """Take nothing more; those who wait raise `ClosedError`."""
        self.is_open = False
        self.room()

    async def append(
        self, conversions: Sequence[Conversion], to: Sequence[str] | None
    ) -> Sequence[Appended]:
        """Write *conversions* down, for the destinations *to*; wait while the outbox is full.

        Raises:
            ClosedError: the client is not open; nothing was accepted.
            QueueFullError: the outbox is full and must not make callers wait.
            OutboxError: they could not be written down; nothing was accepted.
        """
        if self._at_once + len(conversions) >= _YIELD_EVERY:
            self._at_once = 0
            await checkpoint()
        self.check_open()
        if not self._queue.locked():
            self._calls = number = self._calls + 1
            try:
                return await self._outbox.append(conversions, to)
            except QueueFullError:
                if not self._may_wait(conversions):
                    raise
            finally:
                # Had others called meanwhile, it waited and they ran: no need for a break, in which
                # somebody would miss the commit that the others share.
                self._at_once = self._at_once + len(conversions) if number == self._calls else 0
        async with self._queue:
            return await self._append_when_room(conversions, to)

    def _may_wait(self, conversions: Sequence[Conversion]) -> bool:
        return self._settings.on_full == "wait" and len(conversions) <= self._outbox.capacity

    async def _append_when_room(
        self, conversions: Sequence[Conversion], to: Sequence[str] | None
    ) -> Sequence[Appended]:
        while True:
            self.check_open()
            self._room = anyio.Event()
            try:
                return await self._outbox.append(conversions, to)
            except QueueFullError:
                if not self._may_wait(conversions):
                    raise
            # Another process may make room without telling us.
            with anyio.move_on_after(self._settings.poll):
                await self._room.wait()

    def check_open(self) -> None:
        """Raise `ClosedError` unless conversions can be taken."""
        if not self.is_open:
            raise ClosedError(
                "nothing was accepted: the client is not open; use it inside its `async with` block"
            )
