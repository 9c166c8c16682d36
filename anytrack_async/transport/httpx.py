"""`HttpxEngine`: requests through an httpx transport; and what lets tools patch httpx."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import lru_cache
from math import inf
from typing import Any, cast

import anyio
import httpx

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.body import BodyReader
from anytrack_async.transport.connection import has_more
from anytrack_async.transport.message import (
    Engine,
    LimitExceeded,
    Request,
    Response,
    TotalTimeout,
    Transport,
    body_limit,
)

_CLOSE_TIMEOUT = 1.0  # seconds for closing a response that was read in part
_HTTPX_MODULES = ("httpx.", "httpcore.")


class HttpxEngine:
    """Requests through an httpx transport: an injected one, or httpx's own pool.

    Args:
        transport: carries the requests; closed with the engine.
        http: the timeouts, and the limits of responses.
        total_timeout: seconds for an exchange as a whole, None for no limit.
    """

    def __init__(
        self, transport: Transport, http: HttpSettings, *, total_timeout: float | None = None
    ) -> None:
        self._transport = transport
        self._limits = http.limits
        self._total_timeout = inf if total_timeout is None else total_timeout
        kinds = ("connect", "read", "write", "pool")
        self._extensions = {"timeout": dict.fromkeys(kinds, http.timeout)}

    async def exchange(self, request: Request) -> Response:
        """Send *request* and read the response to its end; responses never stream."""
        httpx_request = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.content,
            extensions=self._extensions,
        )
        with anyio.CancelScope(deadline=anyio.current_time() + self._total_timeout):
            response = await self._transport.handle_async_request(httpx_request)
            try:
                content = await self._read(request, response)
            except BaseException:
                with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                    await response.aclose()
                raise
            return request.build_response(response.status_code, response.headers, content)
        raise TotalTimeout("the response is not complete", request=httpx_request)

    async def _read(self, request: Request, response: httpx.Response) -> bytes:
        if response.is_stream_consumed:  # made in memory, and decompressed, e.g. by a mock
            setting, limit = body_limit(self._limits, request.method, response.status_code)
            if len(response.content) > limit:
                raise LimitExceeded(setting, limit)
            return response.content
        body = BodyReader(request, response.status_code, response.headers, self._limits)
        stream = cast("httpx.AsyncByteStream", response.stream)
        async for data in stream:
            await body.add(data)
        if _has_surplus(response):
            # httpcore would take it for the response to the next request. Once its stream is
            # closed, the connection counts as expired.
            await response.extensions["network_stream"].aclose()
        await response.aclose()
        return body.content()

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


def _has_surplus(response: httpx.Response) -> bool:
    """Return whether bytes behind *response*, read to its end, were read with it."""
    state: Any = response.stream
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state"):
        state = getattr(state, name, None)  # other transports have none, nor has HTTP/2
    if state is None:
        return False
    ssl_object = response.extensions["network_stream"].get_extra_info("ssl_object")
    return bool(state.trailing_data[0]) or (ssl_object is not None and has_more(ssl_object))


# Tools such as respx patch httpx's classes to intercept requests. `Pool` and `AiohttpEngine` bypass
# these classes, so they step aside while a patch is active.


class PatchAwareEngine:
    """An engine that sends requests through httpx while a tool such as respx has httpx patched.

    Args:
        inner: carries the requests at all other times.
        make_httpx_engine: called once, at the first request while httpx is patched.
    """

    def __init__(self, inner: Engine, make_httpx_engine: Callable[[], Engine]) -> None:
        self.inner = inner
        self._make_httpx_engine = make_httpx_engine
        self._httpx_engine: Engine | None = None

    def exchange(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send *request*, through httpx if httpx is patched now."""
        if not is_httpx_patched():
            return self.inner.exchange(request)
        if self._httpx_engine is None:
            self._httpx_engine = self._make_httpx_engine()
        return self._httpx_engine.exchange(request)

    async def aclose(self) -> None:
        """Close both engines."""
        try:
            if self._httpx_engine is not None:
                await self._httpx_engine.aclose()
        finally:
            await self.inner.aclose()


class ClientRoutedTransport(httpx.AsyncBaseTransport):
    """A transport that an `httpx.AsyncClient` picks for each request: some tools patch that choice.

    Args:
        inner: the transport that an unpatched client picks; closed with this one.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._client = httpx.AsyncClient(transport=inner, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* through the transport that the client picks."""
        pick = getattr(self._client, "_transport_for_url", None)
        transport: Transport = pick(request.url) if pick else self._inner
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


def is_httpx_patched() -> bool:
    """Return whether a tool has replaced one of the functions by which httpx sends requests."""
    core = sys.modules.get("httpcore")
    return not _are_original(
        getattr(httpx.AsyncClient, "_transport_for_url", None),
        httpx.AsyncHTTPTransport.handle_async_request,
        core and core.AsyncConnectionPool.handle_async_request,
        core and core.AsyncHTTPConnection.handle_async_request,
    )


@lru_cache(maxsize=8)
def _are_original(*functions: object) -> bool:
    # Judged by their modules. A comparison with the functions at import time would fail where this
    # module is imported while a patch is active.
    return all(
        function is None or getattr(function, "__module__", "").startswith(_HTTPX_MODULES)
        for function in functions
    )
