"""What an outbox remembers of the past, for the pages; empty where it keeps no history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anytrack_async.models.outcome import Report
from anytrack_async.outbox.base import Outbox


def is_kept(outbox: Outbox) -> bool:
    """Return whether *outbox* keeps a history."""
    return False


async def delivered_at(outbox: Outbox, event_id: str, report: Report) -> Mapping[str, float]:
    """Return destination → when it received the conversion, unix seconds."""
    return {}


async def attempts(outbox: Outbox, event_id: str) -> Sequence[Any]:
    """Return the attempts at a conversion that failed, earliest first."""
    return ()


async def find(outbox: Outbox, query: str) -> Sequence[str]:
    """Return event ids of conversions with this order id or click id."""
    return ()
