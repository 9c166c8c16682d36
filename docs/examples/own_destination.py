"""A destination of your own: a chat room that is told about each sale.

$ CHAT_URL=https://chat.example/hooks/1 python own_destination.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import httpx

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    NeedsOperator,
    Outcome,
    SinkLimits,
    Throttled,
    Unavailable,
)


class ChatSink:
    """Posts one message for each batch of conversions."""

    name = "chat"
    limits = SinkLimits(batch=20, concurrency=1)

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(timeout=10)

    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        """Post the message; the lane decides what happens after an error."""
        sales = [f"{sale.event_id}: {sale.revenue} {sale.currency}" for sale in batch]
        try:
            response = await self._http.post(self._url, json={"text": "\n".join(sales)})
        except httpx.HTTPError as exc:
            raise Unavailable(f"the chat cannot be reached: {type(exc).__name__}") from exc
        if response.status_code in (401, 403, 404):
            raise NeedsOperator(f"the chat refuses the hook: {response.status_code}")
        if response.status_code == 429:
            raise Throttled("too many messages", after=5)
        if not response.is_success:
            raise Unavailable(f"the chat answered {response.status_code}")
        return [Outcome.delivered() for _ in batch]

    async def aclose(self) -> None:
        """Close the connections, when the client closes."""
        await self._http.aclose()


async def main() -> None:
    """Track a sale to all destinations, this one among them."""
    sinks = [ChatSink(os.environ["CHAT_URL"])]
    async with AnyTrackClient.from_env(sinks=sinks) as client:
        delivery = await client.submit(Conversion.sale(order_id="C-1", revenue="49.90"))
        print(await delivery.at("chat"))


if __name__ == "__main__":
    asyncio.run(main())
