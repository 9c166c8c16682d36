"""`LimitTransport`: a bounded number of requests on the wire."""

from __future__ import annotations

import anyio
import httpx

from anytrack_async.transport.wrapper import Transport, Wrapper, read_body


class TotalTimeout(httpx.ReadTimeout):
    """The answer arrives, but so slowly that it is given up."""


class LimitTransport(Wrapper):
    """At most *slots* requests on the wire at once.

    A slot is held until the body is read: responses never stream, and `Response.elapsed` is unset.
    Goes inside `RetryTransport`, so that no request sleeps while holding a slot.

    Args:
        inner: what to limit.
        slots: requests on the wire at once.
        patience: seconds to wait for a slot.
        total: seconds a request may hold its slot, however busily the server drips bytes.
    """

    def __init__(
        self, inner: Transport, *, slots: int, patience: float = 30.0, total: float = 120.0
    ) -> None:
        super().__init__(inner)
        self._patience = patience
        self._total = total
        self._slots = anyio.Semaphore(slots, fast_acquire=True)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* once there is a slot, and read its answer.

        Raises:
            httpx.PoolTimeout: no slot within *patience* seconds.
            TotalTimeout: not done within *total* seconds.
        """
        await self._enter(request)
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + self._total):
                return await self._exchange(request)
        finally:
            self._slots.release()
        raise TotalTimeout("the answer is not complete", request=request)

    async def _enter(self, request: httpx.Request) -> None:
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(self._patience):
                    await self._slots.acquire()
            except TimeoutError:
                raise httpx.PoolTimeout("no free slot", request=request) from None

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        await read_body(response)
        return response
