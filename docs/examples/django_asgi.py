"""Django under ASGI, in one file: an asynchronous view that tracks the order.

$ uvicorn django_asgi:application
"""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from anytrack_async import AnyTrackClient, Conversion, visitor_from_request
from anytrack_async.integrations.django import client_of, with_anytrack

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="yours")


async def thanks(request: HttpRequest, order_id: str) -> JsonResponse:
    """Accept the order; no service is waited for."""
    context = visitor_from_request(request, trusted_proxies=["10.0.0.0/8"])
    sale = Conversion.sale(order_id=order_id, revenue="49.90", context=context)
    await client_of(request).submit(sale)
    return JsonResponse({"event_id": sale.event_id})


urlpatterns = [path("thanks/<str:order_id>", thanks)]
application = with_anytrack(get_asgi_application(), AnyTrackClient.from_env)
