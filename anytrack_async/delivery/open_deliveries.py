"""`OpenDeliveries`: the deliveries that callers still hold, which outcomes are told to.

A repeat, a conversion with a known event id, gets the delivery of the first conversion with it.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import ref

from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint

from anytrack_async.delivery.delivery import Delivery, DeliveryBatch
from anytrack_async.errors import UndeliveredError
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.base import Appended, AppendResult, Outbox
from anytrack_async.outbox.capabilities import KeepsSummaries

_SLICE = 200
"""Deliveries to look up in the outbox, or to fail, before the event loop may run other tasks."""

_MAX_POLLED = 1_000
"""Reports to read in one poll, so that many waiting callers do not keep the outbox busy."""


class _Reference(ref[Any]):
    """A weak reference to a `Delivery` or `DeliveryBatch`, with its event ids.

    The ids are here, so that all references share one callback for when their referent is gone.
    """

    __slots__ = ("ids",)

    ids: Sequence[str]


class OpenDeliveries:
    """The deliveries that callers still reference, by event id.

    An event id leads to its `Delivery`, or to the `DeliveryBatch` that would create it:

        submit_many([a, b, c])   →  a, b, c: batch
        deliveries[1]            →  a, c: batch;  b: its Delivery
        del deliveries           →  b: its Delivery, as long as the caller keeps it

    Args:
        outbox: knows the outcomes of earlier runs and of other processes.
        destinations: names of the client's destinations.

    Attributes:
        loop: the event loop in which the client is open.
    """

    def __init__(self, outbox: Outbox, destinations: Sequence[str]) -> None:
        self.loop: AbstractEventLoop | None = None
        self._outbox = outbox
        self._destinations = destinations
        self._references: dict[str, _Reference] = {}
        self._on_collected = self._forget
        self._poll_position = 0

    def get(self, event_id: str, destinations: tuple[str, ...]) -> Delivery:
        """Return the open delivery of *event_id*, created now if there is none.

        It may be for other destinations: that of the first conversion with the event id, or of a
        call that waits for room and may turn out to be the repeat.
        """
        earlier = self._find(event_id) if event_id in self._references else None
        if earlier is not None and earlier.failure is None and not earlier.done():
            return earlier
        delivery = Delivery(event_id, destinations, self.loop)
        if earlier is not None:
            delivery.earlier = ref(earlier)
        # As `_add` does, without two more calls for each web request.
        self._references[event_id] = reference = _Reference(delivery, self._on_collected)
        reference.ids = (event_id,)
        return delivery

    def first(self, delivery: Delivery) -> Delivery:
        """Return the delivery that the first conversion with the event id has, for a repeat.

        That is *delivery*, unless there was another one that has finished and that a caller still
        has. It knows the ids that the destinations gave, which the outbox does not store. A dead
        letter may have been replayed since, so that the outbox knows better.
        """
        reference = getattr(delivery, "earlier", None)
        earlier: Delivery | None = reference() if reference else None
        if earlier is None or not earlier.report.delivered:
            return delivery
        self._add(earlier)
        return earlier

    def _find(self, event_id: str) -> Delivery | None:
        target: Delivery | DeliveryBatch | None = self._references[event_id]()
        return target.delivery(event_id) if isinstance(target, DeliveryBatch) else target

    def get_many(self, ids: Sequence[str], destinations: tuple[str, ...]) -> Sequence[Delivery]:
        """Return the delivery of each of *ids*; many new ones as a `DeliveryBatch`."""
        if len(ids) == 1:
            return [self.get(ids[0], destinations)]
        if len(set(ids)) < len(ids) or not self._references.keys().isdisjoint(ids):
            return [self.get(event_id, destinations) for event_id in ids]
        batch = DeliveryBatch(ids, destinations, on_created=self._add, loop=self.loop)
        # One weak reference for all: it costs the garbage collector one object, not thousands.
        self._references |= dict.fromkeys(ids, self._refer(batch, ids))
        return batch

    def _add(self, delivery: Delivery) -> None:
        event_id = delivery.event_id
        self._references[event_id] = self._refer(delivery, (event_id,))

    def _refer(self, target: Delivery | DeliveryBatch, ids: Sequence[str]) -> _Reference:
        reference = _Reference(target, self._on_collected)
        reference.ids = ids
        return reference

    def _forget(self, reference: _Reference) -> None:
        # Runs when the referent is collected. By then an id may lead to a newer delivery.
        for event_id in reference.ids:
            if self._references.get(event_id) is reference:
                del self._references[event_id]

    def resolve(self, ids: Sequence[str], outcome: Callable[[int], Outcome]) -> None:
        """Record outcomes of *ids*; *outcome* is called with the index of each that is open."""
        references = self._references
        for index in [index for index, event_id in enumerate(ids) if event_id in references]:
            # Looked up again: the watcher of one delivery may have dropped the next.
            if (reference := references.get(ids[index])) and (target := reference()):
                target.resolve_id(ids[index], outcome(index))

    async def refresh(self, deliveries: Sequence[Delivery]) -> None:
        """Update *deliveries* with outcomes of an earlier run or of other processes."""
        reports = await self._outbox.reports([delivery.event_id for delivery in deliveries])
        for delivery in deliveries:
            if report := reports.get(delivery.event_id):
                delivery.refresh_from(report, self._destinations)

    async def poll_awaited(self) -> None:
        """Refresh up to 1,000 awaited deliveries with results from other processes."""
        awaited = self._awaited()
        if len(awaited) > _MAX_POLLED:
            # In turn: with 2,500 awaited, polls start at 1000, 2000, 500, 1500, 0, …
            start = self._poll_position = (self._poll_position + _MAX_POLLED) % len(awaited)
            awaited = (awaited + awaited)[start : start + _MAX_POLLED]
        await self._refresh_in_slices(awaited)

    async def refresh_awaited(self) -> None:
        """Refresh every awaited delivery with results from other processes."""
        await self._refresh_in_slices(self._awaited())

    def _awaited(self) -> list[Delivery]:
        return [delivery for delivery in self._alive() if delivery.awaited]

    def _alive(self) -> Iterator[Delivery]:
        targets = (reference() for reference in [*self._references.values()])
        return (target for target in targets if isinstance(target, Delivery))

    async def _refresh_in_slices(self, deliveries: Sequence[Delivery]) -> None:
        for start in range(0, len(deliveries), _SLICE):
            await self.refresh(deliveries[start : start + _SLICE])

    async def fail(self, failure: Callable[[Delivery], UndeliveredError]) -> None:
        """Fail every delivery that is not done; *failure* returns the error for each."""
        targets = {reference() for reference in [*self._references.values()]}
        for count, target in enumerate(targets, 1):
            if isinstance(target, DeliveryBatch):
                target.fail(failure)
            elif target is not None and not target.done():
                target.fail(failure(target))
            if count % _SLICE == 0:
                await cancel_shielded_checkpoint()


# Repeats


_FEW = 10
"""Conversions of a list that are looked up first: 500 event ids take some milliseconds."""


async def have_only_repeats(
    outbox: KeepsSummaries, lists: Sequence[Sequence[Conversion]]
) -> list[bool]:
    """Return of each of *lists* whether all of its conversions were accepted before.

    Most lists of new conversions begin with one: the rest of these is not looked up.

    Raises:
        OutboxError: they could not be looked up.
    """
    first_ids = [{first.event_id for first in conversions[:_FEW]} for conversions in lists]
    accepted = {*await outbox.summaries([*set[str]().union(*first_ids)])}
    return [
        ids <= accepted and await _are_accepted(outbox, conversions[_FEW:])
        for conversions, ids in zip(lists, first_ids, strict=True)
    ]


async def _are_accepted(outbox: KeepsSummaries, conversions: Sequence[Conversion]) -> bool:
    for start in range(0, len(conversions), _SLICE):
        ids = {conversion.event_id for conversion in conversions[start : start + _SLICE]}
        if len(await outbox.summaries([*ids])) < len(ids):
            return False
        await checkpoint()
    return True


async def deliveries_of_firsts(
    open_deliveries: OpenDeliveries,
    deliveries: Sequence[Delivery],
    results: Sequence[AppendResult],
    destinations: tuple[str, ...],
) -> list[Delivery]:
    """Return *deliveries*, those of repeats with the outcomes of the first conversions.

    Args:
        open_deliveries: has the deliveries of the first ones, as far as callers still have them.
        deliveries: one for each conversion.
        results: the outbox's result for each conversion.
        destinations: names of those that the new ones are addressed to.

    Raises:
        OutboxError: the outcomes could not be read.
    """
    firsts: list[Delivery] = []
    repeats: list[Delivery] = []
    for delivery, result in zip(deliveries, results, strict=True):
        if result is Appended.NEW:
            delivery.address(destinations)
            firsts.append(delivery)
        else:
            firsts.append(open_deliveries.first(delivery))
            repeats.append(firsts[-1])
    await open_deliveries.refresh(repeats)
    return [
        ContradictingDelivery(first, result) if isinstance(result, Contradiction) else first
        for first, result in zip(firsts, results, strict=True)
    ]


class ContradictingDelivery(Delivery):
    """The delivery of a conversion that contradicts the first one with its event id.

    Args:
        first: the delivery of the first one; its outcomes are taken over as they come.
        contradiction: how the conversion contradicts the first one.
    """

    __slots__ = ("_contradiction", "_first")

    def __init__(self, first: Delivery, contradiction: Contradiction) -> None:
        super().__init__(first.event_id, (), first._loop)
        self._contradiction = contradiction
        self._first = first  # kept alive: `OpenDeliveries` would otherwise forget it
        reference = ref(self)

        def take_over(first: Delivery) -> None:
            if (delivery := reference()) is None:
                first.unwatch(take_over)  # dropped by its caller
            else:
                delivery._take_over(first)

        first.watch(take_over)
        self._take_over(first)

    @property
    def contradicts(self) -> Contradiction:
        """How the conversion contradicts the first one."""
        return self._contradiction

    def _take_over(self, first: Delivery) -> None:
        self._outcomes, self._failure = first._outcomes, first.failure
        self._notify()
