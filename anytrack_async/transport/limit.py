"""`Limit`: a bounded number of requests on the wire."""

from __future__ import annotations

import anyio
import httpx

from anytrack_async.transport.message import Engine, Request, Response


class Limit:
    """An engine with at most *slots* requests on the wire at once.

    Goes inside `Repeat`, so that no request sleeps while holding a slot.

    Args:
        inner: what to limit; closed with this.
        slots: requests on the wire at once.
        patience: seconds to wait for a slot.
    """

    def __init__(self, inner: Engine, *, slots: int, patience: float = 30.0) -> None:
        self._inner = inner
        self._patience = patience
        self._slots = anyio.Semaphore(slots, fast_acquire=True)

    async def exchange(self, request: Request) -> Response:
        """Send *request* once there is a slot, and read its response.

        Raises:
            httpx.PoolTimeout: no slot within *patience* seconds.
        """
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait()
        try:
            return await self._inner.exchange(request)
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self._inner.aclose()

    async def _wait(self) -> None:
        try:
            with anyio.fail_after(self._patience):
                await self._slots.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no free slot") from None
