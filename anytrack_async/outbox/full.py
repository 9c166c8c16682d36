"""What a full outbox says."""

from __future__ import annotations

from anytrack_async.errors import QueueFullError


def queue_full(capacity: int, waiting: int, slowest: str | None, new: int) -> QueueFullError:
    """Return the error for *new* conversions that find no room."""
    whom = f"for {slowest!r}" if slowest else "and no destination is registered"
    return QueueFullError(
        f"the outbox is full: {waiting} of at most {capacity} conversions wait {whom}, so none of "
        f"these {new} was accepted; try again once some are delivered, raise the capacity, or "
        "forget a destination that nobody serves any more"
    )
