"""Which engine carries the requests."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings import HttpSettings
from anytrack_async.transport.pool import PoolTransport
from anytrack_async.transport.tls import tls_context
from anytrack_async.transport.wrapper import Transport


def check_engine(http: HttpSettings) -> None:
    """Raise `ConfigurationError` if the engine of *http* is not installed."""
    if http.engine == "aiohttp":
        _aiohttp()


async def open_engine(http: HttpSettings) -> Transport:
    """Return a new transport as *http* has it."""
    context = await tls_context()
    if http.engine == "httpx":
        return PoolTransport(context)
    limits = httpx.Limits(max_connections=http.connections, keepalive_expiry=15.0)
    return _aiohttp()(verify=context, limits=limits)


def _aiohttp() -> Callable[..., Transport]:
    try:
        from httpx_aiohttp import AiohttpTransport
    except ImportError:
        raise ConfigurationError(
            "engine='aiohttp' needs an extra: pip install 'anytrack_async[speed]'"
        ) from None
    return AiohttpTransport
