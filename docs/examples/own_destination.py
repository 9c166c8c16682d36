"""A destination of your own: a message about each sale in a chat room.

$ CHAT_URL=https://chat.example/rooms/1 CHAT_TOKEN=… python own_destination.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import httpx

from anytrack_async import (
    AnyTrackClient,
    BatchRejected,
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

    def __init__(self, url: str, token: str, *, timeout: float = 10.0) -> None:
        self._url = url
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {token}"}, timeout=timeout
        )

    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        """Post the message; the lane decides what happens after an error.

        A reason is written to logs. So it has the status, and nothing of the chat's answer, which
        might quote the message.
        """
        sales = [f"{sale.event_id}: {sale.revenue} {sale.currency}" for sale in batch]
        try:
            response = await self._http.post(self._url, json={"text": "\n".join(sales)})
        except httpx.HTTPError as exc:
            raise Unavailable(f"the chat cannot be reached: {type(exc).__name__}") from None
        status = response.status_code
        if status in (401, 403, 404):
            raise NeedsOperator(f"the chat accepts neither room nor token: status {status}")
        if status == 429:
            raise Throttled("too many messages", after=5)
        if status in (400, 422):  # a text in it; the lane finds out which conversion has it
            raise BatchRejected(f"the chat refuses the message: status {status}")
        if not response.is_success:
            raise Unavailable(f"the chat answered with status {status}")
        return [Outcome.delivered() for _ in batch]

    async def aclose(self) -> None:
        """Close the connections, when the client closes."""
        await self._http.aclose()


async def main() -> None:
    """Track a sale to all destinations, this one among them."""
    sinks = [ChatSink(os.environ["CHAT_URL"], os.environ["CHAT_TOKEN"])]
    async with AnyTrackClient.from_env(sinks=sinks) as client:
        delivery = await client.submit(Conversion.sale(order_id="C-1", revenue="49.90"))
        print(await delivery.at("chat"))


if __name__ == "__main__":
    asyncio.run(main())
