"""`Wrapper`: a transport around another one."""

from __future__ import annotations

from typing import TypeAlias

import httpx

Transport: TypeAlias = httpx.AsyncBaseTransport
"""What carries requests: anything with httpx's asynchronous transport interface."""


class Wrapper(httpx.AsyncBaseTransport):
    """A transport around another one; closing it closes the inner one."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Hand *request* on."""
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self.inner.aclose()
