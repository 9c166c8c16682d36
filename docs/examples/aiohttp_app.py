"""aiohttp: a thank-you page that tracks the order.

$ python aiohttp_app.py
"""

from __future__ import annotations

from aiohttp import web

from anytrack_async import AnyTrackClient, Conversion, visitor_from_request
from anytrack_async.integrations.aiohttp import ANYTRACK, anytrack_context


async def thanks(request: web.Request) -> web.Response:
    """Accept the order; no service is waited for."""
    order = await request.json()
    sale = Conversion.sale(
        order_id=order["id"],
        revenue=order["total"],
        context=visitor_from_request(request, trusted_proxies=["10.0.0.0/8"]),
    )
    await request.app[ANYTRACK].submit(sale)
    return web.json_response({"event_id": sale.event_id})


def make_app() -> web.Application:
    """Return the application; the client opens and closes with it."""
    app = web.Application()
    app.router.add_post("/thanks", thanks)
    app.cleanup_ctx.append(anytrack_context(AnyTrackClient.from_env))
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1")
