"""`RetryTransport`: asks again where that is safe and may help."""

from __future__ import annotations

import anyio
import httpx

from anytrack_async.settings import Retry
from anytrack_async.transport.hints import retry_after
from anytrack_async.transport.wrapper import Transport, Wrapper

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


def may_help(status: int) -> bool:
    """Tell whether asking again may help after *status*."""
    return status in (408, 425, 429) or (status >= 500 and status not in (501, 505))


class RetryTransport(Wrapper):
    """Repeats idempotent requests after connection errors, time-outs, 429 and 5xx.

    The waits are `Retry`'s; `Retry-After` wins. Goes outside `LimitTransport`, so that a request
    that waits holds no slot.
    """

    def __init__(self, inner: Transport, retry: Retry) -> None:
        super().__init__(inner)
        self._retry = retry

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*, again if need be; the last attempt's answer or error stands."""
        if request.method not in _IDEMPOTENT:
            return await self.inner.handle_async_request(request)
        attempt = 1
        while True:
            result = await self._try(request)
            wait = self._wait(result, attempt)
            if wait is None:
                return _given(result)
            if isinstance(result, httpx.Response):
                await result.aclose()
            await anyio.sleep(wait)
            attempt += 1

    async def _try(self, request: httpx.Request) -> httpx.Response | Exception:
        try:
            return await self.inner.handle_async_request(request)
        except (httpx.RequestError, OSError) as exc:
            return exc

    def _wait(self, result: httpx.Response | Exception, attempt: int) -> float | None:
        if isinstance(result, _HOPELESS):
            return None
        if not isinstance(result, httpx.Response):
            return self._retry.after(attempt)
        if not may_help(result.status_code):
            return None
        return self._retry.after(attempt, retry_after(result.headers))


def _given(result: httpx.Response | Exception) -> httpx.Response:
    if isinstance(result, Exception):
        raise result
    return result
