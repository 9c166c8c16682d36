"""Litestar: a thank-you page that tracks the order.

$ uvicorn litestar_app:app
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, post

from anytrack_async import AnyTrackClient, Conversion, visitor_from_request
from anytrack_async.integrations.litestar import AnyTrackPlugin


@post("/thanks/{order_id:str}")
async def thanks(order_id: str, request: Request[Any, Any, Any], anytrack: AnyTrackClient) -> str:
    """Accept the order; no service is waited for."""
    context = visitor_from_request(request, trusted_proxies=["10.0.0.0/8"])
    await anytrack.submit(Conversion.sale(order_id=order_id, revenue="49.90", context=context))
    return "thanks"


app = Litestar([thanks], plugins=[AnyTrackPlugin(AnyTrackClient.from_env)])
