"""`Settler`: writes down what came of a claim, and tells who wants to know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from anyio.lowlevel import cancel_shielded_checkpoint

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.delivery.ledger import Ledger
from anytrack_async.delivery.verdict import Pause, exhausted, left_open, outcome_of, setback
from anytrack_async.events import DeadLettered, Delivered, Event, Retried
from anytrack_async.models import Outcome
from anytrack_async.outbox.base import Claim, Entry, Setback
from anytrack_async.settings import DeliverySettings

Settled = Callable[[Sequence[Entry], Callable[[int], Outcome]], None]
"""Is told, per part of a batch: its entries, and how to get the outcome of the one at an index."""

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
        due, sent = now + pause.seconds, claim.entries
        if tried.probe is not None:
            sent = sent[tried.probe : tried.probe + 1]
        if await self._ledger.release(claim, due=due, tried=pause.blame):
            await self._tell_callers(
                claim, lambda at: left_open(claim.entries[at], pause, self._name)
            )
            self._retried([_id(entry) for entry in sent], pause.reason, [due], pause, now)
        return True

    async def _keep(
        self, claim: Claim, tried: Attempt, pause: Pause, now: float, took: float
    ) -> bool:
        kept = {
            entry.seq: one
            for entry, answer in zip(claim.entries, tried.outcomes, strict=True)
            if (one := setback(entry, answer, pause, self._settings, now))
        }
        if not await self._ledger.settle(claim, list(kept.values())):
            return True

        def outcome(at: int) -> Outcome:
            entry = claim.entries[at]
            return outcome_of(entry, tried.outcomes[at], kept.get(entry.seq), self._name)

        await self._tell_callers(claim, outcome)
        if delivered := [_id(entry) for entry in claim.entries if entry.seq not in kept]:
            self._notify(Delivered(destination=self._name, event_ids=delivered, seconds=took))
        return bool(kept) and self._tell_rest(claim, kept, pause, now)

    async def _tell_callers(self, claim: Claim, outcome: Callable[[int], Outcome]) -> None:
        for start in range(0, len(claim.entries), _SLICE):
            if start:
                await cancel_shielded_checkpoint()
            self._settled(claim.entries[start : start + _SLICE], partial(_from, start, outcome))

    def _tell_rest(
        self, claim: Claim, kept: Mapping[int, Setback], pause: Pause, now: float
    ) -> bool:
        again: dict[str, dict[str, float]] = {}
        for entry in claim.entries:
            one = kept.get(entry.seq)
            if one is not None and one.due is not None:
                again.setdefault(one.error, {})[_id(entry)] = one.due
            elif one is not None:
                self._buried(_id(entry), one)
        for reason, dues in again.items():
            self._retried(list(dues), reason, dues.values(), pause, now)
        return bool(again)

    def _buried(self, event_id: str, kept: Setback) -> None:
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


def _id(entry: Entry) -> str:
    return entry.conversion.event_id


def _from(start: int, outcome: Callable[[int], Outcome], at: int) -> Outcome:
    return outcome(start + at)
