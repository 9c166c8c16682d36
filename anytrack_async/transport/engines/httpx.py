"""`HttpxEngine`: requests through a transport of httpx's, injected or its own."""

from __future__ import annotations

from math import inf

import anyio
import httpx

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import Request, Response, TotalTimeout, Transport

_CLOSING = 1.0  # seconds that giving a broken response back may take


class HttpxEngine:
    """Requests through *transport*, which is closed with this.

    Args:
        transport: what carries them.
        http: the time-outs.
        total: seconds for an exchange in all, None for no limit.
    """

    def __init__(
        self, transport: Transport, http: HttpSettings, *, total: float | None = None
    ) -> None:
        self._transport = transport
        self._total = inf if total is None else total
        names = ("connect", "read", "write", "pool")
        self._extensions = {"timeout": dict.fromkeys(names, http.timeout)}

    async def exchange(self, request: Request) -> Response:
        """Send *request* and read the response; responses never stream."""
        sent = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.content,
            extensions=self._extensions,
        )
        with anyio.CancelScope(deadline=anyio.current_time() + self._total):
            response = await self._transport.handle_async_request(sent)
            await _read(response)
            return request.build_response(response.status_code, response.headers, response.content)
        raise TotalTimeout("the response is not complete", request=sent)

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


async def _read(response: httpx.Response) -> None:
    try:
        await response.aread()
    except BaseException:
        with anyio.move_on_after(_CLOSING, shield=True):
            await response.aclose()
        raise
