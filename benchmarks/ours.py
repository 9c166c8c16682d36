"""`deliver`: our client's part in several comparisons."""

from __future__ import annotations

from collections.abc import Sequence

from anytrack_async import AnyTrackClient, Conversion

BATCH = 1000


async def deliver(
    client: AnyTrackClient,
    sales: Sequence[Conversion],
    to: Sequence[str] | None = None,
    *,
    at_once: int = BATCH,
) -> int:
    """Submit *sales*, *at_once* at a time, and leave the client, which delivers them all."""
    async with client:
        if at_once == 1:
            for sale in sales:
                await client.submit(sale, to=to)
        else:
            for start in range(0, len(sales), at_once):
                await client.submit_many(sales[start : start + at_once], to=to)
    return len(sales)
