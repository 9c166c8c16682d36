"""`Patchable`: lets tools that stand in for httpx see requests that httpx does not send."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any

import httpx

from anytrack_async.transport.message import Engine, Request, Response, Transport

_OWN = ("httpx.", "httpcore.")


class Patchable:
    """An engine that steps aside while something else stands in for httpx, as respx does.

    Args:
        inner: carries the requests otherwise.
        instead: makes the engine that goes through httpx's own classes, patched or not.
    """

    def __init__(self, inner: Engine, instead: Callable[[], Engine]) -> None:
        self.inner = inner
        self._make = instead
        self._instead: Engine | None = None

    def exchange(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send *request*, through httpx if that is patched now."""
        if not patched():
            return self.inner.exchange(request)
        if self._instead is None:
            self._instead = self._make()
        return self._instead.exchange(request)

    async def aclose(self) -> None:
        """Close both."""
        try:
            if self._instead is not None:
                await self._instead.aclose()
        finally:
            await self.inner.aclose()


class ClientsWay(httpx.AsyncBaseTransport):
    """Asks an `httpx.AsyncClient` for the way, on every request: this is what some tools patch."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._client = httpx.AsyncClient(transport=inner, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* the way the client would."""
        choose = getattr(self._client, "_transport_for_url", None)
        way: Transport = choose(request.url) if choose else self._inner
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


def patched() -> bool:
    """Tell whether a tool has put something of its own where httpx sends its requests."""
    core = sys.modules.get("httpcore")
    return not _genuine(
        getattr(httpx.AsyncClient, "_transport_for_url", None),
        httpx.AsyncHTTPTransport.handle_async_request,
        core and core.AsyncConnectionPool.handle_async_request,
        core and core.AsyncHTTPConnection.handle_async_request,
    )


@lru_cache(maxsize=8)
def _genuine(*functions: object) -> bool:
    # By their modules, not by what they were at import: that may have been within a patch.
    return all(one is None or getattr(one, "__module__", "").startswith(_OWN) for one in functions)
