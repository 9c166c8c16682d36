"""``on_full="shed"``: appending conversions for the destinations that have room, without others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from anytrack_async.delivery.room import Room, Rooms
from anytrack_async.errors import QueueFullError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult, Outbox
from anytrack_async.outbox.checks import queue_full_error

AppendTo = Callable[[Sequence[Conversion], Sequence[str]], Awaitable[Sequence[AppendResult]]]
"""Appends conversions for some destinations."""


class Shedding:
    """Accepts conversions for the destinations that have room, and drops them for the others.

    Args:
        outbox: the outbox that the conversions are for.
        rooms: the full destinations; their drops are counted in them.
        fill: called with each refusal, and the destinations it is of: adds to *rooms*.
        on_dropped: called with a destination, the event ids of conversions that were accepted for
            others only, and how many conversions wait for it.
    """

    def __init__(
        self,
        outbox: Outbox,
        rooms: Rooms,
        *,
        fill: Callable[[QueueFullError, Collection[str]], None],
        on_dropped: Callable[[str, Sequence[str], int], None],
    ) -> None:
        self._outbox = outbox
        self._rooms = rooms
        self._fill = fill
        self._on_dropped = on_dropped

    async def append(
        self,
        append: AppendTo,
        conversions: Sequence[Conversion],
        names: Sequence[str],
        error: QueueFullError,
    ) -> Sequence[AppendResult]:
        """Append *conversions* by *append* for those of *names* that have room.

        Args:
            append: raises `QueueFullError` before it appends anything.
            conversions: at least one.
            names: the destinations they are for.
            error: the first refusal of *append*.

        Raises:
            QueueFullError: no destination has room; nothing was accepted.
        """
        rooms: list[Room] = []

        def fill(error: QueueFullError, names: Collection[str]) -> None:
            self._fill(error, names)
            for room in self._rooms.of(error.waiting):
                if room not in rooms:
                    room.shedding += 1
                    rooms.append(room)

        fill(error, names)
        try:
            results, full = await append_to_others(
                append, self._outbox, conversions, names, error, fill
            )
            event_ids = ids_of_new(conversions, results)
            for name in full if event_ids else ():  # of repeats, the first is accepted
                if room := self._rooms.get(name):
                    room.dropped += len(event_ids)
                self._on_dropped(name, event_ids, full[name])
        finally:
            for room in rooms:
                room.shedding -= 1
        return results


async def append_to_others(
    append: AppendTo,
    outbox: Outbox,
    conversions: Sequence[Conversion],
    names: Sequence[str],
    error: QueueFullError,
    fill: Callable[[QueueFullError, Collection[str]], None],
) -> tuple[Sequence[AppendResult], Mapping[str, int]]:
    """Append *conversions* for the destinations that have room.

    With Meta full, conversions for Meta and HubSpot are appended for HubSpot; if that turns out to
    be full too, nothing is appended.

    Args:
        append: appends them.
        outbox: has the capacity that the error names.
        conversions: at least one.
        names: the destinations they are for.
        error: the first refusal, which names those that are full.
        fill: called with each later refusal, and the destinations it is of.

    Returns:
        The results, and the full destinations with the number of conversions that wait for each.

    Raises:
        QueueFullError: no destination has room.
    """
    full: dict[str, int] = {}
    full_of_bytes: dict[str, int] = {}
    available = names
    while True:
        full |= error.waiting or dict.fromkeys(available, outbox.capacity)
        full_of_bytes |= error.waiting_bytes
        previous, available = (
            available,
            [name for name in available if name not in full],
        )
        if not available or len(available) == len(previous):
            raise queue_full_error(
                outbox.capacity,
                full,
                len(conversions),
                capacity_bytes=getattr(outbox, "capacity_bytes", 0),  # 0 for no limit
                waiting_bytes=full_of_bytes,
            ) from error
        try:
            return await append(conversions, available), full
        except QueueFullError as exc:
            error = exc
            fill(exc, available)


def ids_of_new(conversions: Sequence[Conversion], results: Sequence[AppendResult]) -> list[str]:
    """Return the event ids of those *conversions* that are new, by their *results*."""
    pairs = zip(conversions, results, strict=True)
    return [conversion.event_id for conversion, result in pairs if result is Appended.NEW]
