"""`Admission`: appends conversions to the outbox, and makes callers wait while it is full."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.lowlevel import checkpoint

from anytrack_async.errors import ClosedError, QueueFullError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import AppendResult, Outbox
from anytrack_async.settings.delivery import DeliverySettings

_YIELD_EVERY = 64
"""Conversions after which a caller yields to the event loop, if its outbox never does."""


class Admission:
    """The way into the outbox; callers that wait while it is full are served in order."""

    def __init__(self, outbox: Outbox, settings: DeliverySettings) -> None:
        self.is_open = False
        self._outbox = outbox
        self._settings = settings
        self._space_available = anyio.Event()
        self._queue = anyio.Lock()
        self._calls = 0
        self._since_yield = 0

    def notify_space_available(self) -> None:
        """Let waiting callers append again: some entries were settled."""
        self._space_available.set()

    def close(self) -> None:
        """Admit nothing more; waiting callers raise `ClosedError`."""
        self.is_open = False
        self._space_available.set()

    def check_open(self) -> None:
        """Raise `ClosedError` unless conversions can be submitted."""
        if not self.is_open:
            raise ClosedError(
                "nothing was accepted: the client is not open; use it inside its `async with` block"
            )

    async def append(
        self, conversions: Sequence[Conversion], to: Sequence[str] | None
    ) -> Sequence[AppendResult]:
        """Append *conversions* for the destinations *to*; wait while the outbox is full.

        Raises:
            ClosedError: the client is not open; nothing was accepted.
            QueueFullError: the outbox is full and ``on_full="raise"``, or *conversions* are more
                than fit into an empty outbox; nothing was accepted.
            OutboxError: they could not be written; nothing was accepted.
        """
        if self._since_yield + len(conversions) >= _YIELD_EVERY:
            self._since_yield = 0
            await checkpoint()
        self.check_open()
        if not self._queue.locked():
            self._calls = call = self._calls + 1
            try:
                return await self._outbox.append(conversions, to)
            except QueueFullError:
                if not self._may_wait(conversions):
                    raise
            finally:
                # If another call began while this one waited, the outbox has yielded to the event
                # loop. Yielding once more would only make some caller miss the commit that the
                # others share.
                yielded = call != self._calls
                self._since_yield = 0 if yielded else self._since_yield + len(conversions)
        async with self._queue:
            return await self._append_when_space(conversions, to)

    def _may_wait(self, conversions: Sequence[Conversion]) -> bool:
        return self._settings.on_full == "wait" and len(conversions) <= self._outbox.capacity

    async def _append_when_space(
        self, conversions: Sequence[Conversion], to: Sequence[str] | None
    ) -> Sequence[AppendResult]:
        while True:
            self.check_open()
            self._space_available = anyio.Event()
            try:
                return await self._outbox.append(conversions, to)
            except QueueFullError:
                if not self._may_wait(conversions):
                    raise
            # Other processes make space without a notification.
            with anyio.move_on_after(self._settings.poll):
                await self._space_available.wait()
