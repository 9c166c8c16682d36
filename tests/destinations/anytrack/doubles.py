"""A fake AnyTrack whose responses a test defines, and conversions to send to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import inf
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.sink import (
    SinkSignal,
)
from anytrack_async.models.conversion import Conversion
from anytrack_async.settings.http import HttpSettings

BASE = "https://api.test/v1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

Respond = Callable[[httpx.Request, int], httpx.Response]


def sale(number: int = 1, **more: Any) -> Conversion:
    return Conversion.sale(
        revenue="9.90", currency="EUR", order_id=f"o{number}", timestamp=NOON, **more
    )


def sales(count: int) -> list[Conversion]:
    return [sale(number) for number in range(count)]


def accept(request: httpx.Request, _: int = 0) -> httpx.Response:
    order = json.loads(request.content)["order_id"]
    return httpx.Response(201, json={"status": "success", "conversion_id": f"c-{order}"})


class FakeService(httpx.AsyncBaseTransport):
    """A transport that keeps the requests.

    Args:
        respond: gets a request and the number of requests before it; returns the response.
        pause: awaited before each response.
    """

    def __init__(
        self, respond: Respond = accept, pause: Callable[[], Awaitable[Any]] | None = None
    ):
        self.respond = respond
        self.pause = pause or (lambda: anyio.lowlevel.checkpoint())
        self.requests: list[httpx.Request] = []
        self.in_flight = self.peak = self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        count = len(self.requests)
        self.requests.append(request)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await self.pause()
        finally:
            self.in_flight -= 1
        return self.respond(request, count)

    async def aclose(self) -> None:
        self.closed += 1

    @property
    def orders(self) -> Counter[str]:
        return Counter(json.loads(request.content)["order_id"] for request in self.requests)


def make_settings(**http: Any) -> AnyTrackSettings:
    return AnyTrackSettings(
        api_key="key", account_id="acc", base_url=BASE, http=HttpSettings(**http)
    )


def make_sink(
    service: httpx.AsyncBaseTransport | None = None, *, batch_timeout: float = inf, **http: Any
) -> AnyTrackSink:
    return AnyTrackSink(make_settings(**http), transport=service, batch_timeout=batch_timeout)


def respond_with(code: int, body: Any = None, **headers: str) -> Respond:
    return lambda _, __: httpx.Response(code, json=body or {}, headers=headers)


def time_out(request: httpx.Request, _: int) -> httpx.Response:
    raise httpx.ReadTimeout("late", request=request)


def advancing_clock(patch: pytest.MonkeyPatch, seconds: float) -> Callable[[], Awaitable[None]]:
    """Return a pause that advances the clock of `BatchSender` by *seconds*."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    patch.setattr("anytrack_async.destinations.anytrack.batch.time", clock)

    async def pause() -> None:
        clock.now += seconds
        await anyio.lowlevel.checkpoint()

    return pause


def first_then(count: int, respond: Respond, then: Respond = accept) -> Respond:
    return lambda request, before: (respond if before < count else then)(request, before)


async def signal_from(
    kind: type[SinkSignal], target: AnyTrackSink, batch: list[Conversion]
) -> SinkSignal:
    with pytest.raises(SinkSignal) as caught:
        await target.deliver(batch)
    assert type(caught.value) is kind
    return caught.value
