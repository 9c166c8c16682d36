"""`Settler`: writes down what came of a claim, and tells who wants to know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from anyio.lowlevel import cancel_shielded_checkpoint

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.delivery.guarded_outbox import Ledger
from anytrack_async.delivery.retry_policy import Pause, exhausted, failure, left_open, outcome_of
from anytrack_async.events import DeadLettered, Delivered, Event, Retried
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.settings.delivery import DeliverySettings

Settled = Callable[[Sequence[str], Callable[[int], Outcome]], None]
"""Is told, per part of a batch: event ids, and how to get the outcome of the one at an index."""

_SLICE = 100
"""Conversions whose callers are told before the event loop may do something else."""


class Settler:
    """Writes down what came of a claim, and tells who wants to know.

    Attributes:
        owes_until: when the last of what was given back is due, unix seconds.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        settings: DeliverySettings,
        *,
        notify: Callable[[Event], None],
        settled: Settled,
        clock: Callable[[], float],
    ) -> None:
        self.owes_until = 0.0
        self._name = name
        self._ledger = ledger
        self._settings = settings
        self._notify = notify
        self._settled = settled
        self._clock = clock

    async def settle(self, claim: Claim, tried: Attempt, pause: Pause, took: float) -> bool:
        """Write down what came of *claim*.

        Args:
            claim: what was tried.
            tried: what the sink said.
            pause: what to do with what it left open.
            took: seconds.

        Returns:
            Whether something of it is left to do.
        """
        now = self._clock()
        if self._all_open(claim, tried, pause, now):
            return await self._give_back(claim, tried, pause, now)
        return await self._keep(claim, tried, pause, now, took)

    def _all_open(self, claim: Claim, tried: Attempt, pause: Pause, now: float) -> bool:
        if any(tried.outcomes):
            return False
        return pause.patient or not any(
            exhausted(entry, entry.attempts + pause.blame, self._settings, now)
            for entry in claim.entries
        )

    async def _give_back(self, claim: Claim, tried: Attempt, pause: Pause, now: float) -> bool:
        due, ids, tries = now + pause.seconds, claim.entries.event_ids, claim.entries.attempts
        if await self._ledger.release(claim, due=due, counts_as_attempt=pause.blame):
            await self._tell_callers(ids, lambda at: left_open(tries[at], pause, self._name))
            sent = ids if tried.probe is None else [ids[tried.probe]]
            self._retried(sent, pause.reason, [due], pause, now)
        return True

    async def _keep(
        self, claim: Claim, tried: Attempt, pause: Pause, now: float, took: float
    ) -> bool:
        kept = {
            at: failure(claim.entries[at], answer, pause, self._settings, now)
            for at, answer in enumerate(tried.outcomes)
            if answer is None or answer.status is not Status.DELIVERED
        }
        if not await self._ledger.settle(claim, list(kept.values())):
            return True

        ids, tries = claim.entries.event_ids, claim.entries.attempts

        def outcome(at: int) -> Outcome:
            return outcome_of(tries[at], tried.outcomes[at], kept.get(at), self._name)

        await self._tell_callers(ids, outcome)
        delivered = [one for at, one in enumerate(ids) if at not in kept] if kept else ids
        if delivered:
            self._notify(Delivered(destination=self._name, event_ids=delivered, seconds=took))
        return bool(kept) and self._tell_rest(ids, kept, pause, now)

    async def _tell_callers(self, ids: Sequence[str], outcome: Callable[[int], Outcome]) -> None:
        for start in range(0, len(ids), _SLICE):
            if start:
                await cancel_shielded_checkpoint()
            self._settled(ids[start : start + _SLICE], partial(_from, start, outcome))

    def _tell_rest(
        self, ids: Sequence[str], kept: Mapping[int, FailedEntry], pause: Pause, now: float
    ) -> bool:
        again: dict[str, dict[str, float]] = {}
        for at, one in kept.items():
            if one.due is not None:
                again.setdefault(one.error, {})[ids[at]] = one.due
            else:
                self._buried(ids[at], one)
        for reason, dues in again.items():
            self._retried(list(dues), reason, dues.values(), pause, now)
        return bool(again)

    def _buried(self, event_id: str, kept: FailedEntry) -> None:
        self._notify(
            DeadLettered(
                destination=self._name, event_id=event_id, reason=kept.error, code=kept.code
            )
        )

    def _retried(
        self, ids: Sequence[str], reason: str, dues: Collection[float], pause: Pause, now: float
    ) -> None:
        self.owes_until = max(self.owes_until, now + pause.stopped, *dues)
        seconds = max(min(dues) - now, pause.stopped)
        self._notify(Retried(destination=self._name, event_ids=ids, reason=reason, seconds=seconds))


def _from(start: int, outcome: Callable[[int], Outcome], at: int) -> Outcome:
    return outcome(start + at)
