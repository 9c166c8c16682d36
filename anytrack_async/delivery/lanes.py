"""`Lanes`: the lanes of an open dispatcher, and whom to wake for news."""

from __future__ import annotations

from collections.abc import Collection

from anytrack_async.delivery.lane import Lane
from anytrack_async.outbox.base import Outbox

_STRIDE = 1_000
"""Conversions for others that a lane may pass over in one go."""


class Lanes(dict[str, Lane]):
    """Destination → its lane; empty while the dispatcher is closed.

    A lane has to pass over what is for others only, or the log cannot be pruned. In a shared outbox
    each look is a transaction, so there it does that in strides, or when it looks by itself.
    """

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._stride = min(_STRIDE, outbox.capacity // 10) if outbox.shared else 0
        self._passed = 0

    def wake(self) -> None:
        """Let every lane look for work."""
        self._passed = 0
        for lane in self.values():
            lane.wake()

    def wake_for(self, names: Collection[str], count: int) -> None:
        """Let lanes look for work, as there is news of *count* conversions for *names*."""
        self._passed += count
        if self._passed >= self._stride:
            self.wake()
            return
        for name, lane in self.items():
            if name in names:
                lane.wake()
