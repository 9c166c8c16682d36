"""`Lane`: one destination's way out of the outbox."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import anyio

from anytrack_async.delivery.attempt import Attempt, attempt
from anytrack_async.delivery.gate import Gate, LaneState
from anytrack_async.delivery.verdict import Pause, exhausted, left_open, outcome_of, setback
from anytrack_async.errors import AnyTrackError
from anytrack_async.events import DeadLettered, Delivered, Event, Retried, logger
from anytrack_async.models import Outcome
from anytrack_async.outbox.base import Claim, Entry, Outbox, Setback
from anytrack_async.settings import DeliverySettings
from anytrack_async.sinks.base import CredentialsRejected, Sink, SinkSignal, Throttled, Unavailable

Settled = Callable[[Sequence[Entry], Callable[[int], Outcome]], None]
"""Is told, per batch: its entries, and how to get the outcome of the one at an index."""

_SPLIT_AFTER = 2
"""Failed attempts after which a batch that alone fails is halved to find what breaks it."""

_LEASE_USED = 0.8
"""Share of the lease that one request may take, so that no second worker takes over meanwhile."""


class Lane:
    """Claims, sends and settles for one destination, with as many workers as its sink allows.

    A worker never sleeps on a failed batch: it goes back to the outbox with a due time. One worker
    at a time looks for work, the others wait for their turn; while the destination does not
    answer, it also delivers before it passes the turn on, so there is one probe at a time.
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
        self._outbox = outbox
        self._settings = settings
        self._notify = notify
        self._settled = settled
        self._clock = clock
        self._limits = sink.limits
        self._gate = Gate(
            sink.name,
            probe=settings.probe,
            hint_cap=settings.retry.hint_cap,
            hold_probe=settings.hold_probe,
            rate=self._limits.rate,
            clock=clock,
            notify=notify,
        )
        self._turn = anyio.Lock()
        self._news = anyio.Event()
        self._close_by: float | None = None
        self._owes_until = 0.0

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

    def close(self, by: float) -> None:
        """Deliver what can be delivered until *by*, unix seconds, then end."""
        self._close_by = by
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
                self._gate.sent()
                if self._gate.probing:
                    await self._handle(claim)
                    continue
            await self._handle(claim)

    # Finding work

    async def _next(self) -> Claim | None:
        while True:
            self._news = anyio.Event()
            if self._gate.opens_in:
                due: float | None = self._clock() + self._gate.opens_in
            else:
                claim = await self._claim()
                if claim.entries:
                    return claim
                due = claim.next_due
            if self._close_by is not None and not self._worth_waiting(due, self._close_by):
                return None
            await self._idle(due)

    async def _claim(self) -> Claim:
        limit = 1 if self._gate.probing else self._limits.batch
        try:
            return await self._outbox.claim(self.name, limit, self._settings.lease)
        except AnyTrackError as exc:
            logger.error("%s: cannot read the outbox, trying again: %s", self.name, exc)
            return Claim(destination=self.name, next_due=self._clock() + self._settings.poll)

    def _worth_waiting(self, due: float | None, close_by: float) -> bool:
        if due is None or due > close_by or self._gate.state is LaneState.HELD:
            return False
        # What other processes hold is theirs to finish.
        return not self._outbox.shared or self._owes_until > self._clock()

    async def _idle(self, due: float | None) -> None:
        waits = [max(0.0, due - self._clock())] if due is not None else []
        if self._outbox.shared and not self._gate.opens_in:
            waits.append(self._settings.poll)
        with anyio.move_on_after(min(waits, default=None)):
            await self._news.wait()
            if self._settings.linger and self._close_by is None:
                await anyio.sleep(self._settings.linger)

    # Delivering

    async def _handle(self, claim: Claim) -> None:
        started = self._clock()
        try:
            tried = await self._try(claim)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(1, shield=True):
                await self._outbox.release(claim, due=self._clock(), tried=False)
            raise
        pause = self._learn(tried)
        with anyio.CancelScope(shield=True):
            await self._settle(claim, tried, pause, self._clock() - started)
        if self._close_by is not None:
            self.wake()

    async def _try(self, claim: Claim) -> Attempt:
        async def between() -> None:
            deadline.deadline = anyio.current_time() + longest
            await self._outbox.renew(claim, self._settings.lease)

        longest = self._settings.lease * _LEASE_USED
        batch = [entry.conversion for entry in claim.entries]
        alone = not self._gate.failing and claim.entries[0].attempts >= _SPLIT_AFTER
        with anyio.move_on_after(longest) as deadline:
            return await attempt(self._sink, batch, split_unavailable=alone, between=between)
        return Attempt([None] * len(batch), Unavailable(f"no answer within {longest:g} s"))

    def _learn(self, tried: Attempt) -> Pause:
        signal = tried.signal
        if signal is None:
            self._gate.succeed()
            return Pause(reason="", code=None, seconds=0.0, blame=True)
        blame = isinstance(signal, Unavailable) and not self._gate.probing
        return Pause(
            reason=signal.reason, code=signal.code, seconds=self._pause(signal), blame=blame
        )

    def _pause(self, signal: SinkSignal) -> float:
        if isinstance(signal, Throttled):
            return self._gate.throttle(signal.reason, signal.after)
        if isinstance(signal, CredentialsRejected):
            return self._gate.hold(signal.reason)
        return self._gate.fail(signal.reason)

    # Settling

    async def _settle(self, claim: Claim, tried: Attempt, pause: Pause, seconds: float) -> None:
        now = self._clock()
        try:
            if self._all_open(claim, tried, pause, now):
                await self._give_back(claim, pause, now)
            else:
                await self._keep(claim, tried, pause, now, seconds)
        except AnyTrackError as exc:
            # The lease ends by itself, and what was delivered is delivered once more.
            logger.error("%s: cannot settle in the outbox: %s", self.name, exc)

    def _all_open(self, claim: Claim, tried: Attempt, pause: Pause, now: float) -> bool:
        if tried.signal is None or any(tried.outcomes):
            return False
        settings = self._settings
        return not any(exhausted(e, e.attempts + pause.blame, settings, now) for e in claim.entries)

    async def _give_back(self, claim: Claim, pause: Pause, now: float) -> None:
        due = now + pause.seconds
        self._owes_until = max(self._owes_until, due)
        await self._outbox.release(claim, due=due, tried=pause.blame)
        self._settled(claim.entries, lambda at: left_open(claim.entries[at], pause, self.name))
        ids = [entry.conversion.event_id for entry in claim.entries]
        self._retried(ids, pause.reason, pause.seconds)

    async def _keep(
        self, claim: Claim, tried: Attempt, pause: Pause, now: float, seconds: float
    ) -> None:
        entries, answers = claim.entries, tried.outcomes
        kept = {
            entry.seq: one
            for entry, answer in zip(entries, answers, strict=True)
            if (one := setback(entry, answer, pause, self._settings, now))
        }
        await self._outbox.settle(claim, list(kept.values()))

        def outcome(at: int) -> Outcome:
            return outcome_of(entries[at], answers[at], kept.get(entries[at].seq), self.name)

        self._settled(entries, outcome)
        self._tell(claim, kept, now, seconds)

    def _tell(self, claim: Claim, kept: Mapping[int, Setback], now: float, seconds: float) -> None:
        delivered: list[str] = []
        for entry in claim.entries:
            event_id = entry.conversion.event_id
            one = kept.get(entry.seq)
            if one is None:
                delivered.append(event_id)
            elif one.due is None:
                self._buried(event_id, one)
            else:
                self._owes_until = max(self._owes_until, one.due)
                self._retried([event_id], one.error, one.due - now)
        if delivered:
            self._notify(Delivered(destination=self.name, event_ids=delivered, seconds=seconds))

    def _buried(self, event_id: str, kept: Setback) -> None:
        self._notify(
            DeadLettered(
                destination=self.name, event_id=event_id, reason=kept.error, code=kept.code
            )
        )

    def _retried(self, event_ids: Sequence[str], reason: str, seconds: float) -> None:
        self._notify(
            Retried(
                destination=self.name,
                event_ids=event_ids,
                reason=reason,
                seconds=max(0.0, seconds),
            )
        )
