"""`Lane`: delivers one destination's backlog from the outbox through its sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Container
from random import randrange

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.delivery.flow import FlowControl, LaneCondition, LaneState
from anytrack_async.delivery.guarded_outbox import GuardedOutbox
from anytrack_async.delivery.retry_rules import (
    NOT_SENT,
    BatchFailure,
    exhausted_indexes,
    update_flow,
)
from anytrack_async.delivery.settlement import OnSettled, Settlement
from anytrack_async.destinations.sink import Sink
from anytrack_async.events import Event, OperatorCause
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Claim, Outbox
from anytrack_async.outbox.capabilities import KeepsTime
from anytrack_async.outbox.checks import MAX_CLAIM_BYTES
from anytrack_async.settings.delivery import DeliverySettings

_SPLIT_AFTER = 2
"""Failed attempts after which a batch is halved to find the conversion that makes it fail, as long
as other batches are delivered."""

_YIELDS_BEFORE_CLAIM = 3
"""Event-loop iterations an idle lane yields before claiming, so that the submitting request can
return first, and conversions that other requests submit meanwhile join the batch."""

_MIN_WAIT = 0.001
"""Seconds between claims while entries are due that cannot be claimed, as clocks may differ."""


class Lane:
    """Claims, sends and settles for one destination, with as many workers as its sink allows.

    A worker never sleeps on a failed batch: the batch goes back to the outbox with a due time. One
    worker at a time, the one with the turn, looks for work. While the destination is down or held,
    that worker also delivers before it passes the turn on, and sends one conversion first, so that
    there is one small probe at a time.

    Args:
        sink: the destination's sink.
        outbox: has its backlog.
        settings: how it delivers.
        notify: called with events.
        on_settled: called with the outcomes of a settled batch.
        make_room: called with the destination's name and how many conversions of a batch do not
            wait any more.
        crowded: contains the destination's name while callers wait for its room.
        clock: returns unix seconds.
    """

    # Three workers of a sink with concurrency 3, four batches waiting:
    #
    #   worker 1   turn: claims batch 1 │ sends, settles …                │ waits for the turn
    #   worker 2   waits for the turn   │ turn: claims batch 2 │ sends, settles …
    #   worker 3   waits for the turn                          │ turn: claims batch 3 │ sends …
    #
    # If batch 1 fails, worker 1 releases it, due in a few seconds, and claims batch 4.

    def __init__(
        self,
        sink: Sink,
        outbox: Outbox,
        settings: DeliverySettings,
        *,
        notify: Callable[[Event], None],
        on_settled: OnSettled,
        make_room: Callable[[str, int], None],
        crowded: Container[str] = (),
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name, self._sink = sink.name, sink
        self._shared, self._settings = outbox.shared, settings
        # Waits of the lane are on the monotonic clock; times in the outbox are on the outbox's own.
        self._clock = clock or time.monotonic
        self._outbox_clock = clock or (outbox.now if isinstance(outbox, KeepsTime) else time.time)
        self._limits, self._batch_timeout = sink.limits, settings.batch_timeout
        self._flow = FlowControl.for_sink(
            sink.name, self._limits, settings, clock=self._clock, notify=notify
        )
        self._outbox = GuardedOutbox(
            sink.name, outbox, lease=settings.lease, on_damage=self._hold_for_outbox
        )
        self._settlement = Settlement(
            sink.name,
            self._outbox,
            settings,
            notify=notify,
            on_settled=on_settled,
            make_room=make_room,
            clock=self._outbox_clock,
        )
        self._turn, self._woken, self._closing = anyio.Lock(), anyio.Event(), anyio.Event()
        self._is_woken = False  # whether `_woken` is set; asking it would take four calls
        self._drain_deadline = self._last_claim_at = 0.0
        self._last_claim_was_full, self._is_collecting = True, False
        # Batches in flight, conversions since the last claim, bytes of large batches in flight.
        self._sending = self._accepted = self._large_bytes = 0
        self._crowded, self._claims = crowded, True

    @property
    def state(self) -> LaneState:
        """The lane's state."""
        return self._flow.state

    @property
    def reason(self) -> str:
        """The destination's explanation of the state; empty while the lane is running."""
        return self._flow.reason

    @property
    def condition(self) -> LaneCondition:
        """The state of the lane, its reason, and the part to replace while it is held."""
        return LaneCondition(self._flow.state, self._flow.reason, self._flow.cause)

    @property
    def paused_for(self) -> float:
        """Seconds for which nothing may be sent, whatever paused the lane."""
        return self._flow.paused_for

    @property
    def state_for(self) -> float:
        """Seconds since the lane entered its state."""
        return self._flow.state_for

    def wake(self, accepted: int = 0) -> None:
        """Look for work: *accepted* conversions are new, or others became due."""
        self._accepted += accepted
        if not self._is_woken:
            self._is_woken = True
            self._woken.set()

    def resume(self) -> None:
        """Send at once, whatever paused the lane; see `FlowControl.resume`."""
        self._flow.resume()
        self.wake()

    def pause(self, reason: str) -> None:
        """Send nothing until `resume`; see `FlowControl.pause`."""
        self._flow.pause(reason)

    def replace_credentials(self) -> None:
        """Record that the sink has new credentials: if the lane is held, it sends at once."""
        self._flow.replace_credentials()
        self.wake()

    def close(self, drain: float, *, claims: bool = True) -> None:
        """Deliver for up to *drain* seconds more, then end.

        Args:
            drain: seconds.
            claims: False sends nothing new and only finishes the batches in flight.
        """
        self._claims = claims
        self._drain_deadline = self._clock() + drain
        self._outbox.close_in(drain)
        self._closing.set()
        self.wake()

    async def run(self) -> None:
        """Run the workers until the lane is closed."""
        async with anyio.create_task_group() as tg:
            for _ in range(self._limits.concurrency):
                tg.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            async with self._turn:
                claim = await self._next_claim()
                if claim is None:
                    return
                generation = self._flow.record_send()
                if self._flow.probing:
                    await self._deliver(claim, generation)
                    continue
            await self._deliver(claim, generation)

    # Finding work

    async def _next_claim(self) -> Claim | None:
        while self._claims:
            self._woken, self._is_woken = anyio.Event(), False
            if self._sending and (self._collects_batch() or self._is_loaded()):
                due = None
            elif self._may_send():
                await self._linger()
                claim = await self._claim()
                if claim.entries.conversions:
                    return claim
                due = self._on_own_clock(claim.next_due)
            else:
                due = self._flow.may_send_at
            if self._closing.is_set() and not await self._has_work_before_close(due):
                return None
            await self._wait_until(due)
        return None

    def _on_own_clock(self, due: float | None) -> float | None:
        """Return a time of the outbox on the lane's clock."""
        return None if due is None else self._clock() + due - self._outbox_clock()

    def _collects_batch(self) -> bool:
        """Return whether to wait for a fuller batch, until a batch in flight comes back.

        Nagle's rule, for a full destination: callers are waiting, so more conversions come as soon
        as a batch in flight has made room for them. With nothing in flight, or with a full batch,
        the lane does not wait.
        """
        self._is_collecting = (
            self.name in self._crowded
            and not self._last_claim_was_full
            and self._accepted < self._limits.batch
            and not self._closing.is_set()
        )
        return self._is_collecting

    def _is_loaded(self) -> bool:
        """Return whether a batch in flight has to come back first, to bound the memory in use."""
        return self._large_bytes >= self._settings.in_flight_bytes and not self._closing.is_set()

    def _may_send(self) -> bool:
        return self._flow.may_send_at <= self._clock()

    async def _linger(self) -> None:
        # Not after a full batch: there is probably another full one, which need not wait.
        if self._last_claim_was_full or not self._flow.may_linger:
            return
        if seconds := self._flow.lingers_for:
            with anyio.move_on_after(seconds):
                await self._closing.wait()

    async def _claim(self) -> Claim:
        self._last_claim_at, self._accepted = self._outbox_clock(), 0
        fallback = Claim(destination=self.name, next_due=self._last_claim_at + self._settings.poll)
        claim = await self._outbox.claim(self._limits.batch, fallback=fallback)
        count = len(claim.entries.conversions)
        # An isolated conversion is alone in its claim, and probably not the only one; and a claim
        # of large ones ends before its bytes are too many.
        self._last_claim_was_full = (
            count == self._limits.batch
            or bool(claim.lost_leases)
            or 2 * claim.large_bytes > MAX_CLAIM_BYTES
        )
        if count and not self._may_send():
            # Another worker's response arrived during the claim and paused the lane.
            now = self._outbox_clock()
            await self._outbox.release(claim, due=now, counts_as_attempt=False)
            return Claim(destination=self.name, next_due=now)
        return claim

    async def _has_work_before_close(self, due: float | None) -> bool:
        """Return whether a closing lane can deliver more before its drain ends."""
        if due is None or due > self._drain_deadline or self._flow.waits_for_operator:
            return False
        if self._shared and self._may_send():
            # The last claim was empty: all remaining entries are leased or due later. Leases of
            # other processes are theirs to finish, retries of this process are worth waiting for.
            # Released at 10 s, due at 14 s: a claim at 12 s was too early for them.
            return self._settlement.retries_due_by >= self._last_claim_at
        return await self._outbox.has_unclaimed()

    async def _wait_until(self, due: float | None) -> None:
        waits = [max(_MIN_WAIT, due - self._clock())] if due is not None else []
        if self._shared and self._may_send():
            waits.append(self._settings.poll)
        with anyio.move_on_after(min(waits, default=None)):
            await self._woken.wait()
            for _ in range(_YIELDS_BEFORE_CLAIM):
                await checkpoint()

    # Delivering

    async def _deliver(self, claim: Claim, generation: int) -> None:
        started = self._clock()
        attempt = self._attempt(claim)
        self._sending += 1
        self._large_bytes += claim.large_bytes
        try:
            await checkpoint_if_cancelled()
            while await attempt.send_next() and await self._may_send_next(claim):
                pass
        except anyio.get_cancelled_exc_class():
            failure = BatchFailure(
                reason="the client closed before the batch was delivered", never_expires=True
            )
            await self._settlement.settle(claim, attempt, failure, self._clock() - started)
            raise
        previous_state = self._flow.state
        if attempt.signal is None and attempt.has_outcome(Status.DELIVERED):
            self._flow.record_success(generation, delivered=True)
            failure = BatchFailure(reason=NOT_SENT)
        else:
            failure = update_flow(self._flow, self._settings.retry, claim, attempt, generation)
        unfinished = await self._settlement.settle(claim, attempt, failure, self._clock() - started)
        self._sending -= 1
        self._large_bytes -= claim.large_bytes
        has_changed = unfinished or claim.large_bytes or self._flow.state is not previous_state
        if has_changed or self._closing.is_set() or self._is_collecting:
            self.wake()  # the worker with the turn waits for a moment that may have changed

    def _hold_for_outbox(self, reason: str, cause: OperatorCause) -> None:
        # What a damaged file says of its conversions cannot be relied on: sending more of them
        # would repeat some and pass over others.
        self._flow.hold(reason, cause, self._flow.generation)

    def _attempt(self, claim: Claim) -> Attempt:
        attempts = claim.entries.attempts
        skipped: Collection[int] = ()
        if (most_attempts := max(attempts)) >= self._settings.retry.attempts:
            skipped = exhausted_indexes(attempts, self._settings)
        count = len(attempts) - len(skipped)
        probe_index = None
        split_failures = False
        if self._flow.probing and count:
            # Random, because a fixed choice could be the conversion that makes the service fail.
            sent = [index for index in range(len(attempts)) if index not in skipped]
            probe_index = sent[randrange(count)]
        elif count > 1 and not self._flow.failures:
            split_failures = most_attempts >= _SPLIT_AFTER
        return Attempt(
            self._sink,
            claim.entries.conversions,
            timeout=self._batch_timeout,
            probe_index=probe_index,
            split_failures=split_failures,
            skipped=skipped,
        )

    async def _may_send_next(self, claim: Claim) -> bool:
        await anyio.sleep(self._flow.rate_allows_in)
        if self._flow.paused_for:
            return False
        self._flow.record_send()
        return await self._outbox.renew(claim)
