"""A transport that records requests, and sessions on it, for tests."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.transport.message import Transport
from anytrack_async.transport.session import Session

BASE = "https://api.test/v1"
QUICK = HttpSettings(retry=Retry(attempts=3, base=0.0001))

Handler = Callable[[httpx.Request], httpx.Response]


class Wire(httpx.MockTransport):
    """A transport that responds by a handler and records the requests."""

    def __init__(self, handler: Handler | None = None) -> None:
        super().__init__(self._handle)
        self.requests: list[httpx.Request] = []
        self.closed = 0
        self._handler = handler or (lambda _: httpx.Response(200, json={"data": []}))

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._handler(request)

    async def aclose(self) -> None:
        self.closed += 1

    @property
    def last(self) -> httpx.Request:
        return self.requests[-1]


def session(wire: Transport | None = None, base: str = BASE) -> Session:
    headers = {"Authorization": "Bearer old-token", "X-Account-ID": "acc"}
    return Session("anytrack", base, headers=headers, http=QUICK, transport=wire)


def responding(*responses: httpx.Response) -> Wire:
    remaining = list(responses)
    return Wire(lambda _: remaining.pop(0))


def failing(failure: Exception) -> Wire:
    def fail(_: httpx.Request) -> httpx.Response:
        raise failure

    return Wire(fail)
