"""`Wrapper`: a transport around another one."""

from __future__ import annotations

from typing import TypeAlias

import anyio
import httpx

_CLOSING = 1.0  # seconds that giving a broken response back may take

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


async def read_body(response: httpx.Response) -> None:
    """Read *response* to its end, or close it."""
    try:
        await response.aread()
    except BaseException:
        with anyio.move_on_after(_CLOSING, shield=True):
            await response.aclose()
        raise
