"""Reading an outbox's history for the pages; results are empty if the outbox keeps none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.history import (
    KeepsHistory,
    PastAttempt,
    RememberedConversion,
    SearchesConversions,
)

FIRST_PART, NEXT_PART = 1_000, 20_000
"""Number of stored conversions searched for an id, in the first request and in further ones."""


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


@attrs.frozen(kw_only=True)
class Matches:
    """Conversions that a part of a search has found.

    Attributes:
        event_ids: event ids, the newest first.
        before: the position below which the search may continue; 0 if it is complete.
    """

    event_ids: Sequence[str] = ()
    before: int = 0


async def find(outbox: Outbox, query: str, before: int = 0) -> Matches:
    """Search for conversions with this order id or click id.

    Args:
        outbox: the outbox.
        query: the id.
        before: the position below which to search; 0 to begin with the newest.
    """
    past = kept(outbox)
    if past is None:
        return Matches()
    if isinstance(outbox, SearchesConversions):
        page = await outbox.search_conversions(
            order_id=query,
            click_id=query,
            before=before or None,
            within=NEXT_PART if before else FIRST_PART,
        )
        return Matches(event_ids=_ids(page.conversions), before=page.before or 0)
    conversions = [*await past.find(order_id=query), *await past.find(click_id=query)]
    return Matches(event_ids=_ids(conversions))


def _ids(conversions: Sequence[RememberedConversion]) -> Sequence[str]:
    return [item.event_id for item in conversions]
