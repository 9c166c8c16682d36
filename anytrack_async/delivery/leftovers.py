"""`Leftovers`: what is accepted and not delivered when the client closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anytrack_async.delivery.delivery import Delivery
from anytrack_async.errors import UndeliveredError
from anytrack_async.events import abbreviated, logger
from anytrack_async.outbox.base import Outbox

_SOME = 1000
"""Conversions that are named, per destination, where the outbox keeps them anyway."""


class Leftovers:
    """What is accepted and not delivered when the client closes.

    Attributes:
        event_ids: destination → what it has not got: all of it where only memory held it, some
            where the outbox keeps it.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.event_ids: dict[str, Sequence[str]] = {}
        self._outbox = outbox

    def __bool__(self) -> bool:
        return bool(self.event_ids)

    def __str__(self) -> str:
        each = "; ".join(f"{name}: {_name(ids)}" for name, ids in self.event_ids.items())
        return f"accepted but not delivered when the client closed ({self._fate()}): {each}"

    @property
    def lost(self) -> Mapping[str, Sequence[str]]:
        """What goes with this process."""
        return {} if self._outbox.durable else self.event_ids

    async def warn_of_orphans(self, destinations: Sequence[str]) -> None:
        """Log what the outbox keeps for others than *destinations*: nobody here delivers it."""
        for name in await self._outbox.destinations():
            if name not in destinations:
                logger.warning(
                    "the outbox keeps a backlog for %r, which has no sink here; "
                    "if it is gone for good, drop it with outbox.forget(%r)",
                    name,
                    name,
                )

    async def count(self, destinations: Sequence[str]) -> None:
        """Look up what *destinations* have not got."""
        depths = await self._outbox.depths()
        for name in filter(depths.__contains__, destinations):
            limit = _SOME if self._outbox.durable else max(1, depths[name].waiting)
            if left := await self._outbox.undelivered(name, limit=limit):
                self.event_ids[name] = left

    def error(self) -> UndeliveredError:
        """Return what leaving the client raises."""
        return UndeliveredError(str(self), self.event_ids)

    def error_for(self, handle: Delivery) -> UndeliveredError:
        """Return what those raise who wait for *handle*."""
        where, event_id = handle.pending, handle.event_id
        return UndeliveredError(
            f"the client closed before {event_id!r} was delivered to {', '.join(where)}; "
            + self._fate(),
            {name: [event_id] for name in where},
        )

    def _fate(self) -> str:
        if self._outbox.durable:
            return "kept in the outbox, the next client that opens it goes on"
        return "only this process's memory held it: submit it again, or use SQLiteOutbox"


def _name(event_ids: Sequence[str]) -> str:
    return ("at least " if len(event_ids) == _SOME else "") + abbreviated(event_ids)
