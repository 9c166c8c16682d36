"""Deliveries for repeats: conversions with a known event id get the outcomes of the first ones."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import ref

from anytrack_async.delivery.delivery import (
    Delivery,
)
from anytrack_async.delivery.open_deliveries import (
    OpenDeliveries,
)
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.outbox.base import Appended, AppendResult


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
