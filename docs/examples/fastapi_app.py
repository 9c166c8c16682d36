"""FastAPI: a thank-you page that tracks the order.

$ uvicorn fastapi_app:app
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from anytrack_async import AnyTrackClient, Conversion, Customer, visitor_from_request
from anytrack_async.integrations.starlette import anytrack_lifespan, client_of

app = FastAPI(lifespan=anytrack_lifespan(AnyTrackClient.from_env))


class Order(BaseModel):
    """What the shop posts when an order is paid."""

    id: str
    total: str
    email: str


@app.post("/thanks")
async def thanks(
    order: Order, request: Request, anytrack: Annotated[AnyTrackClient, Depends(client_of)]
) -> dict[str, str]:
    """Accept the order; no service is waited for."""
    sale = Conversion.sale(
        order_id=order.id,
        revenue=order.total,
        currency="EUR",
        context=visitor_from_request(request, trusted_proxies=["10.0.0.0/8"]),
        customer=Customer(email=order.email),
    )
    await anytrack.submit(sale)
    return {"event_id": sale.event_id}
