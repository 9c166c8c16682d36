"""Every engine keeps the contract of engines."""

from __future__ import annotations

import ssl
from functools import cache

import httpx

from anytrack_async.transport.aiohttp import AiohttpEngine
from anytrack_async.transport.httpx import HttpxEngine
from anytrack_async.transport.pool import Pool
from tests.transport.engine_contract import EngineContract
from tests.transport.filtering_contract import FilteringEngineContract


@cache
def context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class TestPool(FilteringEngineContract):
    def make(self, url, http, *, total_timeout, keepalive):
        return Pool(url, http, context(), total_timeout=total_timeout, keepalive=keepalive)


class TestAiohttpEngine(FilteringEngineContract):
    def make(self, url, http, *, total_timeout, keepalive):
        return AiohttpEngine(http, context(), total_timeout=total_timeout, keepalive=keepalive)


class TestHttpxEngine(EngineContract):
    # Where asyncio cancels a task that opens a connection, httpcore may leave the connection open;
    # how many of the 320 tasks are cancelled then depends on the machine.
    most_left = 320

    def make(self, url, http, *, total_timeout, keepalive):
        limits = httpx.Limits(keepalive_expiry=keepalive)
        transport = httpx.AsyncHTTPTransport(verify=context(), limits=limits)
        return HttpxEngine(transport, http, total_timeout=total_timeout)
