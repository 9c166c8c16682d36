"""What an outbox remembers of the past, for the pages; empty where it keeps no history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.history import KeepsHistory, PastAttempt, RememberedConversion


def kept(outbox: Outbox) -> KeepsHistory | None:
    """Return *outbox* if it keeps a history, else None."""
    return outbox if isinstance(outbox, KeepsHistory) else None


async def delivered_at(outbox: Outbox, event_id: str) -> Mapping[str, float]:
    """Return destination → when it received the conversion, unix seconds."""
    past = kept(outbox)
    return await past.delivered_at(event_id) if past else {}


async def attempts(outbox: Outbox, event_id: str) -> Sequence[PastAttempt]:
    """Return the kept attempts at a conversion, oldest first."""
    past = kept(outbox)
    return await past.attempts(event_id) if past else ()


async def remembered(outbox: Outbox, event_id: str) -> RememberedConversion | None:
    """Return the remembered conversion with this event id; None if there is none."""
    past = kept(outbox)
    conversions = await past.find(event_id=event_id, limit=1) if past else ()
    return conversions[0] if conversions else None


async def find(outbox: Outbox, query: str) -> Sequence[str]:
    """Return event ids of conversions with this order id or click id."""
    past = kept(outbox)
    if past is None:
        return ()
    conversions = [*await past.find(order_id=query), *await past.find(click_id=query)]
    return [item.event_id for item in conversions]
