"""`Lane`: one destination's way out of the outbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import randrange

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from anytrack_async.delivery.attempt import Attempt, attempt
from anytrack_async.delivery.flow import Gate, LaneState
from anytrack_async.delivery.guarded_outbox import Ledger
from anytrack_async.delivery.retry_policy import Pause
from anytrack_async.delivery.settlement import Settled, Settler
from anytrack_async.destinations.sink import (
    NeedsOperator,
    Sink,
    SinkSignal,
    Throttled,
    Unfinished,
)
from anytrack_async.events import Event
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Claim, Outbox
from anytrack_async.settings.delivery import DeliverySettings

_SPLIT_AFTER = 2
"""Failed attempts after which a batch that alone fails is halved to find what breaks it."""

_STOPPED = "not sent: the lane was stopped, or the lease lost"

_COURTESY = 3
"""Turns of the event loop that an idle lane leaves to others first: a web request that submitted
is answered before its delivery begins, and what others submit meanwhile comes along."""

_SHORTEST = 0.001
"""Seconds between looks at what is due already and cannot be claimed, as clocks may differ."""


class Lane:
    """Claims, sends and settles for one destination, with as many workers as its sink allows.

    A worker never sleeps on a failed batch: it goes back to the outbox with a due time. One worker
    at a time looks for work, the others wait for their turn; while the destination does not
    answer, it also delivers before it passes the turn on, and sends one conversion first, so there
    is one small probe at a time.
    """

    def __init__(
        self,
        sink: Sink,
        outbox: Outbox,
        settings: DeliverySettings,
        *,
        notify: Callable[[Event], None],
        settled: Settled,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = sink.name
        self._sink = sink
        self._shared = outbox.shared
        self._settings = settings
        self._clock = clock
        self._limits = sink.limits
        self._gate = Gate.to(sink.name, self._limits, settings, clock=clock, notify=notify)
        self._ledger = Ledger(sink.name, outbox, lease=settings.lease)
        self._settler = Settler(
            sink.name, self._ledger, settings, notify=notify, settled=settled, clock=clock
        )
        self._turn = anyio.Lock()
        self._news = anyio.Event()
        self._closing = anyio.Event()
        self._close_by = 0.0
        self._full = True
        self._asked = 0.0

    @property
    def state(self) -> LaneState:
        """How the lane is."""
        return self._gate.state

    def wake(self) -> None:
        """Look for work: something was accepted or became due."""
        self._news.set()

    def resume(self) -> None:
        """Go on at once, whatever stopped the lane."""
        self._gate.reopen()
        self.wake()

    def close(self, drain: float) -> None:
        """Deliver what can be delivered within *drain* seconds, then end."""
        self._close_by = self._clock() + drain
        self._ledger.close_in(drain)
        self._closing.set()
        self.wake()

    async def run(self) -> None:
        """Work until closed."""
        async with anyio.create_task_group() as tg:
            for _ in range(self._limits.concurrency):
                tg.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            async with self._turn:
                claim = await self._next()
                if claim is None:
                    return
                mark = self._gate.sent()
                if self._gate.probing:
                    await self._handle(claim, mark)
                    continue
            await self._handle(claim, mark)

    # Finding work

    async def _next(self) -> Claim | None:
        while True:
            self._news = anyio.Event()
            if stopped := self._gate.opens_in:
                due: float | None = self._clock() + stopped
            else:
                await self._linger()
                claim = await self._claim()
                if claim.entries:
                    return claim
                due = claim.next_due
            if self._closing.is_set() and not await self._worth_waiting(due):
                return None
            await self._idle(due)

    async def _claim(self) -> Claim:
        self._asked = self._clock()
        later = Claim(destination=self.name, next_due=self._asked + self._settings.poll)
        claim = await self._ledger.claim(self._limits.batch, otherwise=later)
        self._full = len(claim.entries) == self._limits.batch
        if claim.entries and self._gate.opens_in:
            # An answer to another request came meanwhile, and stopped the lane.
            await self._ledger.release(claim, due=self._clock(), counts_as_attempt=False)
            return Claim(destination=self.name, next_due=self._clock())
        return claim

    async def _worth_waiting(self, due: float | None) -> bool:
        if due is None or due > self._close_by or self._gate.state is LaneState.HELD:
            return False
        if self._shared and not self._gate.opens_in:
            # What other processes hold is theirs to finish.
            return self._settler.owes_until >= self._asked
        return await self._ledger.left()

    async def _idle(self, due: float | None) -> None:
        waits = [max(_SHORTEST, due - self._clock())] if due is not None else []
        if self._shared and not self._gate.opens_in:
            waits.append(self._settings.poll)
        with anyio.move_on_after(min(waits, default=None)):
            await self._news.wait()
            for _ in range(_COURTESY):
                await checkpoint()

    async def _linger(self) -> None:
        # The last batch was full, so there may be another at once.
        if not self._full and (seconds := max(self._settings.linger, self._gate.spaced_for)):
            with anyio.move_on_after(seconds):
                await self._closing.wait()

    # Delivering

    async def _handle(self, claim: Claim, mark: int) -> None:
        started = self._clock()
        tried = Attempt([None] * len(claim.entries))
        try:
            await checkpoint_if_cancelled()
            await self._try(claim, tried)
        except anyio.get_cancelled_exc_class():
            cut = Pause(reason="the client closed before it was sent", patient=True)
            await self._settler.settle(claim, tried, cut, self._clock() - started)
            raise
        before = self.state
        pause = self._learn(claim, tried, mark)
        left = await self._settler.settle(claim, tried, pause, self._clock() - started)
        if left or self.state is not before or self._closing.is_set():
            self.wake()  # whoever waits for work knew of a later moment, or of none

    async def _try(self, claim: Claim, tried: Attempt) -> None:
        async def between() -> bool:
            await anyio.sleep(self._gate.paced_for)
            if self._gate.stopped_for:
                return False
            self._gate.sent()
            return await self._ledger.renew(claim)

        count = len(claim.entries)
        if self._gate.probing:
            # Any of them, or it would for ever be the one that breaks the service.
            tried.probe = randrange(count)
        elif count > 1 and not self._gate.failing:
            tried.split = _most(claim) >= _SPLIT_AFTER
        await attempt(
            self._sink,
            claim.entries.conversions,
            tried,
            within=self._settings.batch_timeout,
            between=between,
        )

    def _learn(self, claim: Claim, tried: Attempt, mark: int) -> Pause:
        signal = tried.signal or tried.refusal()
        if signal is None or isinstance(signal, Unfinished):
            delivered = tried.answered(Status.DELIVERED)
            if delivered or tried.answered(Status.REJECTED):
                self._gate.succeed(mark, delivered=delivered)
            return Pause(reason=signal.reason if signal else _STOPPED)
        if isinstance(signal, Throttled):
            self._gate.throttle(signal.reason, signal.after)
        elif isinstance(signal, NeedsOperator):
            self._gate.hold(signal.reason, signal.cause, mark)
        else:
            return self._learn_failure(claim, tried, signal, mark)
        return Pause(
            reason=signal.reason,
            code=signal.code,
            stopped=self._gate.stopped_for,
            patient=isinstance(signal, NeedsOperator),
        )

    def _learn_failure(self, claim: Claim, tried: Attempt, signal: SinkSignal, mark: int) -> Pause:
        blame = not (self._gate.probing or tried.split)
        if tried.answered(Status.DELIVERED):
            self._gate.succeed(mark, delivered=True)
        else:
            self._gate.fail(signal.reason)
        return Pause(
            reason=signal.reason,
            code=signal.code,
            seconds=0.0 if self._gate.probing else self._settings.retry.wait(_most(claim) + 1),
            stopped=self._gate.stopped_for,
            blame=blame,
        )


def _most(claim: Claim) -> int:
    return max(claim.entries.attempts)
