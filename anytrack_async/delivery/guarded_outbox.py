"""`Ledger`: one lane's side of the outbox."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from anytrack_async.errors import safe_description
from anytrack_async.events import logger
from anytrack_async.outbox.base import Claim, Depth, FailedEntry, Outbox

_T = TypeVar("_T")

_GRACE = 2.0
"""Seconds after the drain in which workers may still write down what they know."""


class Ledger:
    """One destination's claims: survives the outbox's errors and its worker's cancellation.

    A step that has begun is finished even if the worker is cancelled, or a lease would be taken
    that nobody knows of. Closing sets an end to that.
    """

    def __init__(self, name: str, outbox: Outbox, *, lease: float) -> None:
        self._name = name
        self._outbox = outbox
        self._lease = lease
        self._steps: set[anyio.CancelScope] = set()
        self._end = math.inf

    def close_in(self, seconds: float) -> None:
        """Give up steps that the outbox has not finished a little after *seconds*."""
        self._end = anyio.current_time() + seconds + _GRACE
        for step in self._steps:
            step.deadline = self._end

    async def claim(self, limit: int, *, otherwise: Claim) -> Claim:
        """Lease up to *limit* conversions; if the outbox fails, return *otherwise*."""
        return await self._step(
            "read", lambda: self._outbox.claim(self._name, limit, self._lease), otherwise
        )

    async def renew(self, claim: Claim) -> bool:
        """Extend the lease; False if it is lost."""
        return await self._step(
            "renew a lease in", lambda: self._outbox.renew(claim, self._lease), False
        )

    async def settle(self, claim: Claim, failed: Sequence[FailedEntry]) -> bool:
        """End *claim*; False if it could not be written down.

        Then the lease ends by itself, and what was delivered is delivered once more.
        """
        done = await self._step("settle in", lambda: self._outbox.settle(claim, failed), None)
        return self._held(done, claim)

    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Give *claim* back; False if it could not be written down."""
        done = await self._step(
            "give back to",
            lambda: self._outbox.release(claim, due=due, counts_as_attempt=counts_as_attempt),
            None,
        )
        return self._held(done, claim)

    async def left(self) -> bool:
        """Tell whether anything waits that nobody works on."""
        depths = await self._step("count", self._outbox.depths, None)
        if depths is None:
            return True
        depth = depths.get(self._name, Depth())
        return depth.waiting > depth.in_flight

    def _held(self, done: bool | None, claim: Claim) -> bool:
        if done is False:
            count = len(claim.entries)
            logger.warning(
                "%s: another worker took over %d conversions before they were settled here; "
                "they may be delivered twice: a longer lease prevents it",
                self._name,
                count,
            )
        return bool(done)

    async def _step(self, what: str, step: Callable[[], Awaitable[_T]], otherwise: _T) -> _T:
        with anyio.CancelScope(shield=True, deadline=self._end) as scope:
            self._steps.add(scope)
            try:
                return await step()
            except Exception as exc:  # an outbox may be anybody's
                logger.error(
                    "%s: cannot %s the outbox, trying again: %s",
                    self._name,
                    what,
                    safe_description(exc),
                )
            finally:
                self._steps.discard(scope)
        if scope.cancelled_caught:
            logger.error("%s: gave up waiting to %s the outbox", self._name, what)
        return otherwise
