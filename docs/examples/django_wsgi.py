"""Django under WSGI, in one file: a plain view that tracks the order.

$ gunicorn --config django_wsgi.py django_wsgi:application

gunicorn forks its workers, so the client opens in `post_fork`, which gunicorn reads from its
configuration file: here, this one. Other servers call `open_client` once in each process.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from anytrack_async import AnyTrack, Conversion, visitor_from_request

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="yours")

clients: list[AnyTrack] = []


def open_client() -> AnyTrack:
    """Open the client of this process; at its end, what is left is delivered."""
    client = AnyTrack.from_env()
    client.start()
    clients.append(client)
    return client


def post_fork(server: Any, worker: Any) -> None:
    """Called by gunicorn in each new worker."""
    open_client()


def thanks(request: HttpRequest, order_id: str) -> JsonResponse:
    """Accept the order; no service is waited for."""
    context = visitor_from_request(request, trusted_proxies=["10.0.0.0/8"])
    sale = Conversion.sale(order_id=order_id, revenue="49.90", context=context)
    clients[-1].submit(sale)
    return JsonResponse({"event_id": sale.event_id})


urlpatterns = [path("thanks/<str:order_id>", thanks)]
application = get_wsgi_application()
