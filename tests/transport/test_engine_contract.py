"""All engines keep the contract."""

from __future__ import annotations

import ssl
from functools import cache

import httpx

from anytrack_async.settings.http import HttpSettings
from anytrack_async.testing.engine_contract import EngineContract
from anytrack_async.transport.aiohttp import AiohttpEngine
from anytrack_async.transport.httpx import HttpxEngine
from anytrack_async.transport.pool import Pool


@cache
def context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class TestPool(EngineContract):
    def make(self, url, *, timeout, total_timeout, keepalive):
        http = HttpSettings(timeout=timeout)
        return Pool(url, http, context(), total_timeout=total_timeout, keepalive=keepalive)


class TestAiohttpEngine(EngineContract):
    def make(self, url, *, timeout, total_timeout, keepalive):
        http = HttpSettings(timeout=timeout)
        return AiohttpEngine(http, context(), total_timeout=total_timeout, keepalive=keepalive)


class TestHttpxEngine(EngineContract):
    def make(self, url, *, timeout, total_timeout, keepalive):
        limits = httpx.Limits(keepalive_expiry=keepalive)
        transport = httpx.AsyncHTTPTransport(verify=context(), limits=limits)
        return HttpxEngine(transport, HttpSettings(timeout=timeout), total_timeout=total_timeout)
