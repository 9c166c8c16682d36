"""`Handles`: the deliveries that callers still hold, by event id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakValueDictionary, ref

from anytrack_async.delivery.deliveries import Deliveries
from anytrack_async.delivery.handle import Delivery
from anytrack_async.errors import UndeliveredError
from anytrack_async.models import Outcome
from anytrack_async.outbox.base import Entry, Outbox

_SLICE = 200
"""Reports to read from the outbox in one step."""

_LOOK = 1_000
"""Reports to read each time, so that many who wait do not keep the outbox busy."""


class Handles:
    """The deliveries that callers still hold.

    Held weakly: a caller that submits and forgets costs nothing, however long the backlog.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._live: WeakValueDictionary[str, Delivery] = WeakValueDictionary()
        self._unmade: dict[str, ref[Deliveries]] = {}
        self._looked = 0

    def get(self, event_id: str, destinations: tuple[str, ...]) -> Delivery:
        """Return the one handle of *event_id*, made now if nobody holds one that is not done."""
        handle = self._held(event_id)
        if handle is None or handle.failure is not None or handle.done():
            handle = self._live[event_id] = Delivery(event_id, destinations)
        return handle

    def _held(self, event_id: str) -> Delivery | None:
        group = self._unmade[event_id]() if event_id in self._unmade else None
        return group.make(event_id) if group else self._live.get(event_id)

    def all(self, ids: Sequence[str], destinations: tuple[str, ...]) -> Sequence[Delivery]:
        """Return the handle of each of *ids*; those of many are made when somebody asks."""
        if len(ids) == 1 or self._knows_any(ids):
            return [self.get(event_id, destinations) for event_id in ids]
        group = Deliveries(ids, destinations, made=self._made)
        self._unmade.update(dict.fromkeys(ids, ref(group, partial(self._forget, ids))))
        return group

    def _knows_any(self, ids: Sequence[str]) -> bool:
        return (
            len(set(ids)) < len(ids)
            or not self._unmade.keys().isdisjoint(ids)
            or (len(self._live) > 0 and any(event_id in self._live for event_id in ids))
        )

    def _made(self, handle: Delivery) -> None:
        del self._unmade[handle.event_id]
        self._live[handle.event_id] = handle

    def _forget(self, ids: Sequence[str], group: ref[Deliveries]) -> None:
        for event_id in ids:
            if self._unmade.get(event_id) is group:
                del self._unmade[event_id]

    def resolve(self, entries: Sequence[Entry], outcome: Callable[[int], Outcome]) -> None:
        """Tell the handles of *entries*; *outcome* answers for the one at an index."""
        if not self._unmade and not self._live:
            return
        for at, entry in enumerate(entries):
            event_id = entry.conversion.event_id
            if (group := self._unmade.get(event_id)) and (unmade := group()):
                unmade.note(event_id, outcome(at))
            elif handle := self._live.get(event_id):
                handle.resolve(outcome(at))

    async def catch_up(self, handles: Sequence[Delivery]) -> None:
        """Tell *handles* what the outbox knows: from an earlier run or from other processes."""
        reports = await self._outbox.reports([handle.event_id for handle in handles])
        for handle in handles:
            if report := reports.get(handle.event_id):
                handle.adopt(report)

    async def look_around(self) -> None:
        """Tell some of those handles that somebody waits for what other processes settled."""
        awaited = [handle for handle in self._live.values() if handle.awaited]
        if len(awaited) > _LOOK:
            self._looked = (self._looked + _LOOK) % len(awaited)
            awaited = (awaited + awaited)[self._looked : self._looked + _LOOK]
        await self._catch_up_in_slices(awaited)

    async def catch_up_awaited(self) -> None:
        """Tell all handles that somebody waits for what other processes settled."""
        await self._catch_up_in_slices([one for one in self._live.values() if one.awaited])

    async def _catch_up_in_slices(self, awaited: Sequence[Delivery]) -> None:
        for start in range(0, len(awaited), _SLICE):
            await self.catch_up(awaited[start : start + _SLICE])

    def fail(self, failure: Callable[[Delivery], UndeliveredError]) -> None:
        """Make those who still wait, or still could, raise what *failure* answers."""
        unmade = [group for one in {*self._unmade.values()} if (group := one())]
        for handle in [*self._live.values(), *(one for group in unmade for one in group)]:
            if not handle.done():
                handle.fail(failure(handle))
