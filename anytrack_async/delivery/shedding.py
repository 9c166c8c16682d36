"""``on_full="shed"``: appending conversions for the destinations that have room, without others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from anytrack_async.errors import QueueFullError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult, Outbox
from anytrack_async.outbox.checks import queue_full_error


async def append_to_others(
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
        outbox: accepts them.
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
            return await outbox.append(conversions, available), full
        except QueueFullError as exc:
            error = exc
            fill(exc, available)


def ids_of_new(conversions: Sequence[Conversion], results: Sequence[AppendResult]) -> list[str]:
    """Return the event ids of those *conversions* that are new, by their *results*."""
    pairs = zip(conversions, results, strict=True)
    return [conversion.event_id for conversion, result in pairs if result is Appended.NEW]
