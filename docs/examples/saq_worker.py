"""SAQ: the hooks of its settings start and close the client.

$ saq saq_worker.settings
"""

from __future__ import annotations

import os
from typing import Any

from saq import Queue

from anytrack_async import AnyTrackClient, Conversion


async def open_client(context: dict[str, Any]) -> None:
    """Open the client in the worker's event loop."""
    context["anytrack"] = AnyTrackClient.from_env()
    await context["anytrack"].start()


async def close_client(context: dict[str, Any]) -> None:
    """Deliver what is left."""
    await context["anytrack"].aclose()


async def track_order(context: dict[str, Any], *, order_id: str, total: str) -> None:
    """Store a sale in the outbox; running the job again sends nothing twice."""
    sale = Conversion.sale(revenue=total, order_id=order_id, ip_address="203.0.113.5")
    await context["anytrack"].submit(sale)


def settings() -> dict[str, Any]:
    """Return the worker's settings; SAQ calls it, since connecting to Redis has to wait."""
    return {
        "queue": Queue.from_url(os.environ["REDIS_URL"]),
        "functions": [track_order],
        "startup": open_client,
        "shutdown": close_client,
    }
