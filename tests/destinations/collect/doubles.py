"""A collect endpoint whose answers a test defines, and a sink that sends to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx

from anytrack_async import CollectSink, Conversion, Customer
from anytrack_async.events import Event
from anytrack_async.transport.message import Response

PROPERTY, SLUG = "OZ1EhR5TQq", "custom-oxlivshop99"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def sale(**more: Any) -> Conversion:
    fields = {"revenue": "9.90", "currency": "EUR", "order_id": "1001", "timestamp": NOON, **more}
    return Conversion.sale(**fields)


JANE = Customer(
    email="Jane@Example.com ",
    phone="+49 170 1234567",
    first_name="Jane",
    last_name="Doe",
    city="Berlin",
    postal_code="10115",
    country="de",
    external_id=["c-7", "c-8"],
)


class Endpoint(httpx.AsyncBaseTransport):
    """Keeps the requests; answers each with *status* and *content*."""

    def __init__(self, status: int = 200, content: str = '{"status":"ok"}') -> None:
        self.status, self.content = status, content
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, text=self.content)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event, /) -> None:
        self.events.append(event)


def sink(endpoint: Endpoint, **options: Any) -> CollectSink:
    return CollectSink(PROPERTY, SLUG, transport=endpoint, **options)


def answer(status: int, content: str, **headers: str) -> Response:
    return Response(status, headers, content.encode(), "anytrack", b"{}")
