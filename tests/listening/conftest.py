"""An application that takes webhooks, called without a server, and a client that records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from anytrack_async import AnyTrackClient, Conversion, Outcome, SinkLimits, WebhookApp

SECRET = "a-secret-of-24-characters"

PURCHASE: dict[str, Any] = {
    "assetId": "Ab12Cd34",
    "clientId": "aB3dE6gH9jK2mN",
    "externalClientIds": {"googleAnalytics": "GA1.1.1.1"},
    "clickId": "Ab12Cd34aB3dE6gH9jK2mN",
    "externalClickId": "x1",
    "eventName": "Purchase",
    "eventTime": "2021-09-09T14:08:10.499Z",
    "eventTimestamp": 1631196490,
    "eventValue": 49.9,
    "currency": "EUR",
    "userAgent": "Mozilla/5.0",
}


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self, name: str = "shop") -> None:
        self.name = name
        self.limits = SinkLimits()
        self.conversions: list[Conversion] = []

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        self.conversions += batch
        return [Outcome.delivered() for _ in batch]


class Reply:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        start, body = messages
        self.status: int = start["status"]
        self.headers = dict(start["headers"])
        self.json = orjson.loads(body["body"]) if body["body"] else None


async def call(
    app: WebhookApp,
    body: object = PURCHASE,
    *,
    path: str = f"/hooks/{SECRET}",
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] = (),
    parts: int = 1,
    scope: dict[str, Any] | None = None,
) -> Reply:
    """Return what *app* answers; a body that is not bytes is written as JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    size = -(-len(content) // parts) or 1
    pieces = [content[at : at + size] for at in range(0, len(content) or 1, size)]
    messages = [
        {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
        for index, piece in enumerate(pieces)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {} if scope is None else scope
    scope |= {"type": "http", "method": method, "path": path, "headers": [*headers]}
    await app(scope, receive, send)
    return Reply(sent)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def client(kept: Kept) -> AnyTrackClient:
    """A client whose AnyTrack is a port where nobody listens: nothing may be sent there."""
    return AnyTrackClient("k", "a", base_url="http://127.0.0.1:9", sinks=[kept], log=False)
