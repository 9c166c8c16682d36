"""`Repeat`: asks again where that is safe and may help."""

from __future__ import annotations

import anyio
import httpx

from anytrack_async.settings.http import Retry
from anytrack_async.transport.message import Engine, Request, Response

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


def may_help(status: int) -> bool:
    """Tell whether asking again may help after *status*."""
    return status in (408, 425, 429) or (status >= 500 and status not in (501, 505))


class Repeat:
    """An engine that repeats idempotent requests after connection errors, time-outs, 429 and 5xx.

    The waits are `Retry`'s; `Retry-After` wins. Goes outside `Limit`, so that a request that waits
    holds no slot.

    Args:
        inner: what carries the requests; closed with this.
        retry: how often, and after which waits.
    """

    def __init__(self, inner: Engine, retry: Retry) -> None:
        self._inner = inner
        self._retry = retry

    async def exchange(self, request: Request) -> Response:
        """Send *request*, again if need be; the last attempt's response or error stands."""
        if request.method not in _IDEMPOTENT:
            return await self._inner.exchange(request)
        attempt = 1
        while True:
            result = await self._try(request)
            wait = self._wait(result, attempt)
            if wait is None:
                return _given(result)
            await anyio.sleep(wait)
            attempt += 1

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self._inner.aclose()

    async def _try(self, request: Request) -> Response | Exception:
        try:
            return await self._inner.exchange(request)
        except (httpx.RequestError, OSError) as exc:
            return exc

    def _wait(self, result: Response | Exception, attempt: int) -> float | None:
        if isinstance(result, _HOPELESS):
            return None
        if isinstance(result, Exception):
            return self._retry.after(attempt)
        if not may_help(result.status):
            return None
        return self._retry.after(attempt, result.retry_after)


def _given(result: Response | Exception) -> Response:
    if isinstance(result, Exception):
        raise result
    return result
