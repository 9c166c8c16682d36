"""Calls to the outbox that no error of it may end: of a lane, and in the background."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio

from anytrack_async.delivery.open_deliveries import (
    OpenDeliveries,
)
from anytrack_async.descriptions import safe_description
from anytrack_async.errors import DamagedOutboxError, MissingKeyError, OutcomeUnknownError
from anytrack_async.events import DeadLettersExpired, Dropped, Event, OperatorCause, logger
from anytrack_async.outbox.base import Claim, Depth, FailedEntry, Outbox
from anytrack_async.outbox.capabilities import BoundsDeadLetters, KeepsRemoteIds
from anytrack_async.outbox.dead_letters import DeadLetterFilter
from anytrack_async.outbox.history import KeepsHistory, ReleaseReason
from anytrack_async.settings.delivery import DeliverySettings

_T = TypeVar("_T")

_GRACE = 2.0
"""Seconds after the drain in which workers may still settle their claims."""

_UNKNOWN_PAUSES = (0.05, 0.5, 2.0)
"""Seconds until settling or releasing a claim is repeated after the outbox's answer was lost."""

PRUNE_AFTER = 5_000
"""Settled entries after which the outbox is pruned before `DeliverySettings.prune_every` ends."""

_PUSHED_OUT = (
    "they were the oldest of more dead letters than the outbox has room for: replay, export or "
    "discard dead letters in time, or raise its capacity_bytes"
)

_EXPIRE_EVERY = 3_600.0
"""Seconds between two searches for dead letters that have expired."""


class GuardedOutbox:
    """The outbox as one lane uses it.

    If the outbox raises an error, it is logged and a fallback is returned, so that the lane tries
    again. A call that has begun is finished even if the worker is cancelled: a claim made by a
    cancelled call would stay leased with no worker. Closing puts a deadline on such calls.

    Args:
        destination: the lane's destination.
        outbox: the outbox.
        lease: seconds.
        on_damage: called with the reason and its cause if the outbox is damaged, or encrypted with
            a key that the program does not have.
    """

    def __init__(
        self,
        destination: str,
        outbox: Outbox,
        *,
        lease: float,
        on_damage: Callable[[str, OperatorCause], None] = lambda *_: None,
    ) -> None:
        self._on_damage = on_damage
        self._destination = destination
        self._outbox = outbox
        self._keeps_ids = outbox if isinstance(outbox, KeepsRemoteIds) else None
        self._keeps_history = outbox if isinstance(outbox, KeepsHistory) else None
        self._lease = lease
        self._calls: set[anyio.CancelScope] = set()
        self._deadline = math.inf

    def close_in(self, drain: float) -> None:
        """Abandon calls that have not ended two seconds after a drain of *drain* seconds."""
        # With drain=10 a batch may end at 10.0 s, and its outcomes be settled until 12.0 s.
        self._deadline = anyio.current_time() + drain + _GRACE
        for call in self._calls:
            call.deadline = self._deadline

    async def claim(self, limit: int, *, fallback: Claim) -> Claim:
        """Lease up to *limit* conversions; return *fallback* if the outbox fails."""
        return await self._call(
            "claim from",
            lambda: self._outbox.claim(self._destination, limit, self._lease),
            fallback,
        )

    async def renew(self, claim: Claim) -> bool:
        """Extend the lease of *claim*; return whether it is still this worker's."""
        return await self._call(
            "renew a lease in", lambda: self._outbox.renew(claim, self._lease), False
        )

    async def settle(
        self, claim: Claim, failed: Sequence[FailedEntry], remote_ids: Sequence[str | None] = ()
    ) -> bool:
        """Settle *claim*; return whether the outbox has recorded it.

        If not, the lease ends by itself, and delivered conversions are delivered once more. The
        *remote_ids*, if there are any, are lost in an outbox that is no `KeepsRemoteIds`.
        """

        def settle() -> Awaitable[bool]:
            if remote_ids and self._keeps_ids is not None:
                return self._keeps_ids.settle_with_ids(claim, failed, remote_ids)
            return self._outbox.settle(claim, failed)

        settled, was_unknown = await self._end("settle a claim in", settle)
        if was_unknown and settled is False and not failed:
            # Very likely the first try had settled the claim. If not, the lease has ended, but the
            # conversions were delivered all the same, and callers that wait should be told so.
            return True
        if settled is False and not was_unknown:
            self._report_loss(claim)
        return bool(settled)

    async def discard(self, event_ids: Sequence[str]) -> None:
        """Give up the dead letters of *event_ids* for good; if that fails, they stay."""
        discard = partial(self._outbox.discard, self._destination, event_ids)
        await self._call("discard in", discard, 0)

    async def release(
        self,
        claim: Claim,
        *,
        due: float,
        counts_as_attempt: bool,
        reason: ReleaseReason | None = None,
    ) -> bool:
        """Return the whole *claim* undelivered; return whether the outbox has recorded that.

        The *reason*, if there is one, is lost in an outbox that is no `KeepsHistory`.
        """

        def release() -> Awaitable[bool]:
            if reason is not None and self._keeps_history is not None:
                return self._keeps_history.release_with_reason(
                    claim, due=due, counts_as_attempt=counts_as_attempt, reason=reason
                )
            return self._outbox.release(claim, due=due, counts_as_attempt=counts_as_attempt)

        released, was_unknown = await self._end("release a claim in", release)
        if released is False and not was_unknown:
            self._report_loss(claim)
        return bool(released)

    async def has_unclaimed(self) -> bool:
        """Return whether the destination's backlog has entries that no worker has claimed."""
        depths = await self._call("count the backlog in", self._outbox.depths, None)
        if depths is None:
            return True
        depth = depths.get(self._destination, Depth())
        return depth.waiting > depth.in_flight

    async def _end(
        self, verb: str, function: Callable[[], Awaitable[bool]]
    ) -> tuple[bool | None, bool]:
        """End a claim, more than once if the answer is lost.

        Returns:
            The last answer of the outbox, or None if the outbox failed, which is logged; and
            whether the result of an earlier try is unknown, in which case an answer of False may
            mean that the earlier try ended the claim.
        """
        was_unknown = False

        async def end() -> bool:
            nonlocal was_unknown
            for pause in _UNKNOWN_PAUSES:
                try:
                    return await function()
                except OutcomeUnknownError:
                    was_unknown = True
                    await anyio.sleep(pause)
            return await function()

        return await self._call(verb, end, None), was_unknown

    def _report_loss(self, claim: Claim) -> None:
        # E.g. because the batch took longer than the lease.
        logger.warning(
            "%s: another worker took over %d conversions before they were settled here; "
            "they may be delivered twice; increase DeliverySettings.lease",
            self._destination,
            len(claim.entries),
        )

    async def _call(self, verb: str, function: Callable[[], Awaitable[_T]], fallback: _T) -> _T:
        with anyio.CancelScope(shield=True, deadline=self._deadline) as scope:
            self._calls.add(scope)
            try:
                return await function()
            except DamagedOutboxError as exc:
                self._on_damage(str(exc), "outbox")
            except MissingKeyError as exc:
                self._on_damage(str(exc), "encryption")
            except Exception as exc:
                # Outboxes may be third-party code: no exception of theirs may end a worker.
                logger.error(
                    "%s: cannot %s the outbox, will retry: %s",
                    self._destination,
                    verb,
                    safe_description(exc),
                )
            finally:
                self._calls.discard(scope)
        if scope.cancelled_caught:
            logger.error("%s: could not %s the outbox before closing", self._destination, verb)
        return fallback


class Maintenance:
    """Prunes the outbox, discards expired dead letters, and polls a shared outbox for callers.

    It runs beside the lanes while a dispatcher is open. Nothing of it is urgent, and nothing that
    fails stops a lane: it is tried again.

    Args:
        outbox: the outbox.
        settings: the intervals, and how long ids are remembered.
        open_deliveries: the deliveries of waiting callers.
        notify: called with events.
        tick: called in each round, every `DeliverySettings.prune_every` seconds or more often.

    Attributes:
        settled: entries settled since the outbox was pruned; from `PRUNE_AFTER` on, call
            `prune_soon`.
    """

    def __init__(
        self,
        outbox: Outbox,
        settings: DeliverySettings,
        open_deliveries: OpenDeliveries,
        *,
        notify: Callable[[Event], None],
        tick: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._open_deliveries = open_deliveries
        self._notify = notify
        self._tick = tick
        self._next_expiry = -math.inf
        self.settled = 0
        self._prune_now: anyio.Event  # of the event loop in which it runs

    def prune_soon(self) -> None:
        """Prune before the interval ends."""
        self._prune_now.set()

    async def run(self) -> None:
        """Prune, and poll a shared outbox, until cancelled."""
        self._prune_now = anyio.Event()
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._prune)
            if self._outbox.shared:
                tg.start_soon(self._poll)

    async def _prune(self) -> None:
        while True:
            with anyio.move_on_after(self._settings.prune_every):
                await self._prune_now.wait()
            self._prune_now, self.settled = anyio.Event(), 0
            self._tick()
            self.tell_pushed_out()
            try:
                await self._expire_dead_letters()
                await self._outbox.prune(remember=self._settings.remember)
            except Exception as exc:
                logger.error("cannot prune the outbox, will retry: %s", safe_description(exc))

    def tell_pushed_out(self) -> None:
        """Notify observers of dead letters that the outbox had no more room for."""
        if isinstance(self._outbox, BoundsDeadLetters):
            for name, event_ids in self._outbox.take_pushed_out().items():
                self._notify(Dropped(destination=name, event_ids=event_ids, reason=_PUSHED_OUT))

    async def _expire_dead_letters(self) -> None:
        seconds, now = self._settings.keep_dead_letters, anyio.current_time()
        if seconds is None or now < self._next_expiry:
            return
        where = DeadLetterFilter(min_age=seconds)
        for name in await self._outbox.destinations():
            if count := await self._outbox.discard(name, where=where):
                self._notify(DeadLettersExpired(destination=name, count=count, kept_for=seconds))
        self._next_expiry = now + min(seconds, _EXPIRE_EVERY)

    async def _poll(self) -> None:
        while True:
            await anyio.sleep(self._settings.poll)
            try:
                await self._open_deliveries.poll_awaited()
            except Exception as exc:
                logger.error("cannot read the outbox, will retry: %s", safe_description(exc))
