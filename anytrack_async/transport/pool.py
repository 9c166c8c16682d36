"""`Pool`, the default engine; and `open_engine`, which picks the engine of a session."""

from __future__ import annotations

import ssl
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.fields import is_loopback
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.connection import DEFAULT_PORTS, Connection, connect, tls_context
from anytrack_async.transport.httpx import ClientRoutedTransport, HttpxEngine, PatchAwareEngine
from anytrack_async.transport.message import Engine, Request, Response

_KEEPALIVE_SECONDS = 15.0  # for which an idle connection is kept


class Pool:
    """Connections to one server, with a constant cost per request however many are open.

    httpx's own pool looks at all of its connections for each request, so that 128 of them are
    slower than 8. Here idle connections are on a stack, and a request takes the top one.

    The pool opens as many connections as there are concurrent requests; `LimitedEngine` limits
    these.

    Args:
        url: scheme, host and port of the server.
        http: the timeouts, and the limits of responses.
        context: for TLS.
        total_timeout: seconds for an exchange as a whole, None for no limit.
        keepalive: seconds for which an idle connection is kept.
    """

    def __init__(
        self,
        url: str,
        http: HttpSettings,
        context: ssl.SSLContext,
        *,
        total_timeout: float | None = None,
        keepalive: float = 15.0,
    ) -> None:
        self._url = httpx.URL(url)
        self._context = context
        self._timeout = http.timeout
        self._limits = http.limits
        self._total_timeout = inf if total_timeout is None else total_timeout
        self._keepalive = keepalive
        self._closed = False
        # (time of last use, connection): oldest use on the left, latest on the right.
        self._idle: deque[tuple[float, Connection]] = deque()

    async def exchange(self, request: Request) -> Response:
        """Send *request* on an idle connection, or on a new one, and read the response."""
        deadline = anyio.current_time() + self._total_timeout
        connection = await self._acquire()
        try:
            return await connection.exchange(request, deadline)
        finally:
            if connection.reusable and not self._closed:
                self._idle.append((time.monotonic(), connection))
            else:
                await connection.aclose()

    async def aclose(self) -> None:
        """Close the idle connections; one in use is closed when its request is done."""
        self._closed = True
        await self._close_idle()

    async def _close_idle(self) -> None:
        # Concurrently, so that a cancellation in between leaves none of them open.
        connections = [connection for _, connection in self._idle]
        self._idle.clear()
        async with anyio.create_task_group() as tasks:
            for connection in connections:
                tasks.start_soon(connection.aclose)

    async def _acquire(self) -> Connection:
        if self._idle:
            await self._close_expired(time.monotonic() - self._keepalive)
        while self._idle:
            connection = self._idle.pop()[1]
            if not connection.stale:
                return connection
            await connection.aclose()
        stream = await connect(self._url, self._context, timeout=self._timeout)
        return Connection(stream, timeout=self._timeout, limits=self._limits)

    async def _close_expired(self, limit: float) -> None:
        # Last used 40, 20 and 2 s ago, with a keepalive of 15 s: the first is closed now, the
        # second by the next request, and the third is used. One per request is enough, because a
        # request opens at most one connection. Last used 40, 30 and 20 s ago: all are closed.
        if self._idle[-1][0] < limit:
            await self._close_idle()
        elif self._idle[0][0] < limit:
            await self._idle.popleft()[1].aclose()


# The choice of an engine


def require_engine(http: HttpSettings) -> None:
    """Check that the engine which *http* names is installed.

    Raises:
        ConfigurationError: the message names the extra to install.
    """
    if http.engine == "aiohttp":
        _aiohttp_engine()


async def open_engine(url: str, http: HttpSettings, total_timeout: float | None) -> Engine:
    """Return a new engine for requests to *url*.

    It is the engine that *http* names, or httpx's own pool if the environment names a proxy
    (`HTTPS_PROXY`, `NO_PROXY`).

    Args:
        url: scheme, host and port of the server.
        http: engine, connections and timeouts.
        total_timeout: seconds for each exchange as a whole, None for no limit.

    Raises:
        ConfigurationError: the proxy or the CA certificates cannot be used.
    """
    context = await tls_context()
    if engine := _proxy_engine(url, http, context, total_timeout):
        return engine
    return PatchAwareEngine(
        _direct_engine(url, http, context, total_timeout),
        lambda: _httpx_engine(http, context, total_timeout),
    )


def _direct_engine(
    url: str, http: HttpSettings, context: ssl.SSLContext, total_timeout: float | None
) -> Engine:
    make = _aiohttp_engine() if http.engine == "aiohttp" else partial(Pool, url)
    return make(http, context, total_timeout=total_timeout, keepalive=_KEEPALIVE_SECONDS)


def _proxy_engine(
    url: str, http: HttpSettings, context: ssl.SSLContext, total_timeout: float | None
) -> Engine | None:
    try:
        proxy = proxy_for(httpx.URL(url))
        return _httpx_engine(http, context, total_timeout, proxy) if proxy else None
    except (ImportError, ValueError, httpx.InvalidURL) as exc:
        kind = type(exc).__name__
        advice = "; SOCKS needs `pip install 'httpx[socks]'`" if kind == "ImportError" else ""
    # Raised outside the `except` block, and with the kind of error only, because its text may quote
    # the proxy's URL with the password in it.
    raise ConfigurationError(
        f"the proxy cannot be used ({kind}): check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY{advice}"
    )


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment names for *url*."""
    port = url.port or DEFAULT_PORTS.get(url.scheme, 443)
    if is_loopback(url.host) or proxy_bypass(f"{url.host}:{port}"):  # NO_PROXY may name a port
        return None
    proxies = getproxies()
    proxy = (proxies.get(url.scheme) or proxies.get("all") or "").strip()
    return httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}") if proxy else None


def proxy_secrets(url: str) -> list[str]:
    """Return user and password of the proxy that the environment names for *url*, in all forms."""
    try:
        proxy = proxy_for(httpx.URL(url))
    except (ImportError, ValueError, httpx.InvalidURL):
        return []  # `open_engine` says what is wrong
    if proxy is None or proxy.auth is None:
        return []
    user, password = proxy.auth
    return [password, b64encode(f"{user}:{password}".encode()).decode()]


def _httpx_engine(
    http: HttpSettings,
    context: ssl.SSLContext,
    total_timeout: float | None,
    proxy: httpx.Proxy | None = None,
) -> HttpxEngine:
    limits = httpx.Limits(max_connections=http.connections, keepalive_expiry=_KEEPALIVE_SECONDS)
    pool = httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)
    return HttpxEngine(ClientRoutedTransport(pool), http, total_timeout=total_timeout)


def _aiohttp_engine() -> Callable[..., Engine]:
    try:
        from anytrack_async.transport.aiohttp import AiohttpEngine
    except ImportError:
        raise ConfigurationError(
            "engine='aiohttp' needs an extra: pip install 'anytrack_async[speed]'"
        ) from None
    return AiohttpEngine
