"""What an outbox refuses, and how it says so, the same in every implementation."""

from __future__ import annotations

from collections.abc import Sequence

from anytrack_async.errors import OutboxError, QueueFullError
from anytrack_async.outbox.base import Claim, FailedEntry


def queue_full(capacity: int, waiting: int, slowest: str, new: int) -> QueueFullError:
    """Return the error for *new* conversions that find no room."""
    whom = f"for {slowest!r}" if slowest else "and no destination is registered"
    return QueueFullError(
        f"the outbox is full: {waiting} of at most {capacity} conversions wait {whom}, so none of "
        f"these {new} was accepted; try again once some are delivered, raise the capacity, or "
        "forget a destination that nobody serves any more"
    )


def not_open() -> OutboxError:
    """Return the error for use before `open` or after `aclose`."""
    return OutboxError("the outbox is not open: call open() first; after aclose() it is closed")


def unknown_destination(name: str) -> OutboxError:
    """Return the error for a destination that was never registered, or forgotten."""
    return OutboxError(f"the outbox knows no destination {name!r}: name it when opening")


def distinct(claim: Claim, failed: Sequence[FailedEntry]) -> list[FailedEntry]:
    """Return one failure per entry; the last one counts.

    Raises:
        OutboxError: one is for an entry that *claim* does not have.
    """
    by_seq = {failure.seq: failure for failure in failed}
    if by_seq and (strange := by_seq.keys() - set(claim.entries.seqs)):
        raise OutboxError(f"failed for entries that are not in the claim: {sorted(strange)}")
    return list(by_seq.values())
