"""Which engine carries the requests."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.request import getproxies, proxy_bypass

import httpx

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings import HttpSettings
from anytrack_async.settings.checks import is_loopback
from anytrack_async.transport.pool import PoolTransport
from anytrack_async.transport.tls import tls_context
from anytrack_async.transport.wrapper import Transport, Wrapper, read_body

_KEPT = 15.0  # seconds an idle connection is kept


def check_engine(http: HttpSettings) -> None:
    """Raise `ConfigurationError` if the engine of *http* is not installed."""
    if http.engine == "aiohttp":
        _aiohttp()


async def open_engine(url: str, http: HttpSettings) -> Transport:
    """Return a new transport to *url* as *http* has it.

    A proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`) is used, by httpx's own pool.

    Raises:
        ConfigurationError: the proxy or the CA certificates cannot be used.
    """
    context = await tls_context()
    try:
        return PatchableTransport(_engine(httpx.URL(url), http, context))
    except (ImportError, ValueError, httpx.InvalidURL) as exc:
        # Its text may hold the proxy's password.
        raise ConfigurationError(f"the proxy cannot be used ({type(exc).__name__})") from None


def _engine(origin: httpx.URL, http: HttpSettings, context: ssl.SSLContext) -> Transport:
    proxy = proxy_for(origin)
    limits = httpx.Limits(max_connections=http.connections, keepalive_expiry=_KEPT)
    if http.engine == "aiohttp":
        return AiohttpTransport(_aiohttp()(verify=context, limits=limits, proxy=proxy))
    if proxy is not None:
        return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)
    return PoolTransport(origin, context, kept=_KEPT)


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment names for *url*."""
    if is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    return httpx.Proxy(found if "://" in found else f"http://{found}") if found else None


def _aiohttp() -> Callable[..., Transport]:
    try:
        from httpx_aiohttp import AiohttpTransport as Engine
    except ImportError:
        raise ConfigurationError(
            "engine='aiohttp' needs an extra: pip install 'anytrack_async[speed]'"
        ) from None
    return Engine


class AiohttpTransport(Wrapper):
    """The aiohttp engine, with its errors as httpx's.

    Its bridge to httpx calls most failures a connect time-out, and lets some through.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* and read the answer."""
        try:
            response = await self.inner.handle_async_request(request)
            await read_body(response)
        except Exception as exc:
            cause = exc.__cause__ if isinstance(exc, httpx.ConnectTimeout) else exc
            if isinstance(cause, TimeoutError) or not _from_aiohttp(cause):
                raise
            connecting = type(cause).__name__.startswith("ClientConnector")
            kind = httpx.ConnectError if connecting else httpx.ReadError
            raise kind(str(cause), request=request) from cause
        return response


def _from_aiohttp(exc: BaseException | None) -> bool:
    return type(exc).__module__.startswith("aiohttp.")


class PatchableTransport(Wrapper):
    """Asks an `httpx.AsyncClient` for the way, on every request.

    Tools that patch the client, as ``respx.mock(using="httpx")`` does, then see requests that no
    client sends. Without a patch the way is the inner transport.
    """

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self._client = httpx.AsyncClient(transport=inner, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* the way the client would."""
        choose = getattr(self._client, "_transport_for_url", None)
        way: Transport = choose(request.url) if choose else self.inner
        return await way.handle_async_request(request)
