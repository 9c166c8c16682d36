"""Which engine carries the requests."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.request import getproxies, proxy_bypass

import httpx

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.fields import is_loopback
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.engines.httpx import HttpxEngine
from anytrack_async.transport.engines.patched import ClientsWay, Patchable
from anytrack_async.transport.engines.tls import tls_context
from anytrack_async.transport.message import Engine

_KEPT = 15.0  # seconds an idle connection is kept


def check_engine(http: HttpSettings) -> None:
    """Load the engine of *http*, or raise `ConfigurationError` if it is not installed."""
    if http.engine == "aiohttp":
        _aiohttp()
    else:
        import anytrack_async.transport.engines.pool  # noqa: F401 - now, not at the first request


async def open_engine(url: str, http: HttpSettings, total: float | None) -> Engine:
    """Return a new engine to *url* as *http* has it, with *total* seconds for each exchange.

    A proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`) is used, by httpx's own pool.

    Raises:
        ConfigurationError: the proxy or the CA certificates cannot be used.
    """
    context = await tls_context()
    try:
        proxy = proxy_for(httpx.URL(url))
        if proxy is not None:
            return _httpx(http, context, total, proxy)
    except (ImportError, ValueError, httpx.InvalidURL) as exc:
        # Its text may hold the proxy's password.
        raise ConfigurationError(f"the proxy cannot be used ({type(exc).__name__})") from None
    return Patchable(_engine(url, http, context, total), lambda: _httpx(http, context, total))


def _engine(url: str, http: HttpSettings, context: ssl.SSLContext, total: float | None) -> Engine:
    if http.engine == "aiohttp":
        return _aiohttp()(http, context, total=total, kept=_KEPT)
    from anytrack_async.transport.engines.pool import Pool

    return Pool(url, http, context, total=total, kept=_KEPT)


def _httpx(
    http: HttpSettings,
    context: ssl.SSLContext,
    total: float | None,
    proxy: httpx.Proxy | None = None,
) -> HttpxEngine:
    limits = httpx.Limits(max_connections=http.connections, keepalive_expiry=_KEPT)
    pool = httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)
    return HttpxEngine(ClientsWay(pool), http, total=total)


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment names for *url*."""
    if is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    return httpx.Proxy(found if "://" in found else f"http://{found}") if found else None


def _aiohttp() -> Callable[..., Engine]:
    try:
        from anytrack_async.transport.engines.aiohttp import AiohttpEngine
    except ImportError:
        raise ConfigurationError(
            "engine='aiohttp' needs an extra: pip install 'anytrack_async[speed]'"
        ) from None
    return AiohttpEngine
