from __future__ import annotations

import httpx
import pytest

from anytrack_async.transport import Wrapper

pytestmark = pytest.mark.asyncio


class Closable(httpx.AsyncBaseTransport):
    closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(204)

    async def aclose(self) -> None:
        self.closed += 1


async def test_requests_and_closing_are_handed_on():
    inner = Closable()
    wrapper = Wrapper(Wrapper(inner))

    response = await wrapper.handle_async_request(httpx.Request("GET", "https://api.test"))
    await wrapper.aclose()

    assert response.status_code == 204
    assert inner.closed == 1
