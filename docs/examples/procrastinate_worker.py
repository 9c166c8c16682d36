"""procrastinate: the client is open as long as the worker runs.

$ python procrastinate_worker.py
"""

from __future__ import annotations

import asyncio

from procrastinate import App
from procrastinate.testing import InMemoryConnector

from anytrack_async import AnyTrackClient, Conversion

app = App(connector=InMemoryConnector())  # in production: PsycopgConnector()
client: AnyTrackClient


@app.task(name="track_order")
async def track_order(order_id: str, total: str) -> None:
    """Store a sale in the outbox; running the task again sends nothing twice."""
    sale = Conversion.sale(revenue=total, order_id=order_id, ip_address="203.0.113.5")
    await client.submit(sale)


async def work(*, wait: bool = True) -> None:
    """Run a worker with an open client."""
    global client
    client = AnyTrackClient.from_env()
    async with client, app.open_async():
        await app.run_worker_async(wait=wait)


if __name__ == "__main__":
    asyncio.run(work())
