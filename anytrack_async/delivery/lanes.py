"""`Lanes`: the lanes of a dispatcher, which an append of this process or news of another wakes."""

from __future__ import annotations

from collections.abc import Collection

import anyio

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
