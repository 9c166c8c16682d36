"""`RetryingEngine` and `LimitedEngine`: wrappers that retry requests, and limit concurrent ones."""

from __future__ import annotations

import anyio
import httpx

from anytrack_async.settings.http import Retry
from anytrack_async.transport.message import Engine, LimitExceeded, Request, Response

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_NOT_RETRYABLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, LimitExceeded)


def is_retryable(status: int) -> bool:
    """Return whether the same request may succeed after a response with *status*."""
    return status in (408, 425, 429) or (status >= 500 and status not in (501, 505))


class RetryingEngine:
    """An engine that retries idempotent requests after connection errors, timeouts, 429 and 5xx.

    It wraps a `LimitedEngine`, not the reverse, so that a request which waits for its retry
    occupies no slot.

    The waits are those of `Retry`. With ``Retry(attempts=4, base=0.5)`` and a service that answers
    503 to everything, the request is sent at once, then after a wait of up to 0.5 s, of up to 1 s
    and of up to 2 s; the fourth 503 is the result. A ``Retry-After: 7`` replaces a wait by 7 s, a
    ``Retry-After: 0`` changes nothing.

    Args:
        inner: carries the requests; closed with this engine.
        retry: number of attempts, and the waits between them.
    """

    def __init__(self, inner: Engine, retry: Retry) -> None:
        self._inner = inner
        self._retry = retry

    async def exchange(self, request: Request) -> Response:
        """Send *request*, with retries; return the last response, or raise the last error."""
        if request.method not in _IDEMPOTENT:
            return await self._inner.exchange(request)
        attempt = 1
        while True:
            result = await self._try(request)
            wait = self._wait_after(attempt, result)
            if wait is None:
                return _unwrap(result)
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

    def _wait_after(self, attempt: int, result: Response | Exception) -> float | None:
        if isinstance(result, _NOT_RETRYABLE):
            return None
        if isinstance(result, Exception):
            return self._retry.next_wait(attempt)
        if not is_retryable(result.status):
            return None
        return self._retry.next_wait(attempt, result.retry_after)


def _unwrap(result: Response | Exception) -> Response:
    if isinstance(result, Exception):
        raise result
    return result


class LimitedEngine:
    """An engine with a limited number of requests on the wire at once.

    Args:
        inner: carries the requests; closed with this engine.
        slots: most requests on the wire at once.
        timeout: seconds to wait for a slot.
    """

    def __init__(self, inner: Engine, *, slots: int, timeout: float = 30.0) -> None:
        self._inner = inner
        self._timeout = timeout
        self._slots = anyio.Semaphore(slots, fast_acquire=True)

    async def exchange(self, request: Request) -> Response:
        """Send *request* once there is a free slot, and read its response.

        Raises:
            httpx.PoolTimeout: no slot became free within *timeout* seconds.
        """
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait_for_slot()
        try:
            # The whole response is read here: a slot that was freed before would let the next
            # request out while this one still occupies its connection.
            return await self._inner.exchange(request)
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self._inner.aclose()

    async def _wait_for_slot(self) -> None:
        try:
            with anyio.fail_after(self._timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no free slot") from None
