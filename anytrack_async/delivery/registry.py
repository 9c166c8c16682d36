"""`Handles`: the deliveries that callers still hold, by event id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import ref

from anyio.lowlevel import cancel_shielded_checkpoint

from anytrack_async.delivery.deliveries import Deliveries
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.errors import UndeliveredError
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.base import Outbox

_SLICE = 200
"""Handles to look up in the outbox, or to tell that it closed, before others may run."""

_LOOK = 1_000
"""Reports to read each time, so that many who wait do not keep the outbox busy."""


class Handles:
    """The deliveries that callers still hold.

    Held weakly: a caller that submits and forgets costs nothing, however long the backlog.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._live: dict[str, ref[Delivery] | ref[Deliveries]] = {}
        self._looked = 0

    def get(self, event_id: str, destinations: tuple[str, ...]) -> Delivery:
        """Return the one handle of *event_id*, made now if nobody holds one that is not done."""
        handle = self._held(event_id)
        if handle is None or handle.failure is not None or handle.done():
            handle = Delivery(event_id, destinations)
            self._keep(handle)
        return handle

    def _held(self, event_id: str) -> Delivery | None:
        holder = self._live[event_id]() if event_id in self._live else None
        return holder.make(event_id) if isinstance(holder, Deliveries) else holder

    def all(self, ids: Sequence[str], destinations: tuple[str, ...]) -> Sequence[Delivery]:
        """Return the handle of each of *ids*; those of many are made when somebody asks."""
        if len(ids) == 1 or len(set(ids)) < len(ids) or not self._live.keys().isdisjoint(ids):
            return [self.get(event_id, destinations) for event_id in ids]
        group = Deliveries(ids, destinations, made=self._keep)
        self._live |= dict.fromkeys(ids, ref(group, partial(self._forget, ids)))
        return group

    def _keep(self, handle: Delivery) -> None:
        event_id = handle.event_id
        self._live[event_id] = ref(handle, partial(self._forget, (event_id,)))

    def _forget(self, ids: Sequence[str], gone: ref[Any]) -> None:
        for event_id in ids:
            if self._live.get(event_id) is gone:
                del self._live[event_id]

    def _handles(self) -> Iterator[Delivery]:
        return (one for held in [*self._live.values()] if isinstance(one := held(), Delivery))

    def resolve(self, ids: Sequence[str], outcome: Callable[[int], Outcome]) -> None:
        """Tell the handles of *ids*; *outcome* answers for the one at an index."""
        live = self._live
        for at in [at for at, event_id in enumerate(ids) if event_id in live]:
            # Looked up again: a handle that is told may let go of another.
            if (held := live.get(ids[at])) and (holder := held()):
                holder.note(ids[at], outcome(at))

    async def catch_up(self, handles: Sequence[Delivery]) -> None:
        """Tell *handles* what the outbox knows: from an earlier run or from other processes."""
        reports = await self._outbox.reports([handle.event_id for handle in handles])
        for handle in handles:
            if report := reports.get(handle.event_id):
                handle.adopt(report)

    async def look_around(self) -> None:
        """Tell some of those handles that somebody waits for what other processes settled."""
        awaited = [handle for handle in self._handles() if handle.awaited]
        if len(awaited) > _LOOK:
            self._looked = (self._looked + _LOOK) % len(awaited)
            awaited = (awaited + awaited)[self._looked : self._looked + _LOOK]
        await self._catch_up_in_slices(awaited)

    async def catch_up_awaited(self) -> None:
        """Tell all handles that somebody waits for what other processes settled."""
        await self._catch_up_in_slices([one for one in self._handles() if one.awaited])

    async def _catch_up_in_slices(self, awaited: Sequence[Delivery]) -> None:
        for start in range(0, len(awaited), _SLICE):
            await self.catch_up(awaited[start : start + _SLICE])

    async def fail(self, failure: Callable[[Delivery], UndeliveredError]) -> None:
        """Make those who still wait, or still could, raise what *failure* answers."""
        holders = {held() for held in [*self._live.values()]}
        for count, holder in enumerate(holders, 1):
            if isinstance(holder, Deliveries):
                holder.fail(failure)
            elif holder is not None and not holder.done():
                holder.fail(failure(holder))
            if count % _SLICE == 0:
                await cancel_shielded_checkpoint()
