"""`Settlement`: settles a claim by the outcomes of its attempt, and publishes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from anyio.lowlevel import cancel_shielded_checkpoint

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.delivery.guarded_outbox import GuardedOutbox
from anytrack_async.delivery.retry_rules import (
    BatchFailure,
    failed_entry,
    is_exhausted,
    released_outcome,
    settled_outcome,
    usable_status,
)
from anytrack_async.events import DeadLettered, Delivered, Event, Retried, Skipped
from anytrack_async.models.outcome import SKIPPED_CODE, Outcome, Status, reason_text
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.history import ReleaseReason
from anytrack_async.settings.delivery import DeliverySettings

OnSettled: TypeAlias = Callable[[Sequence[str], Callable[[int], Outcome]], None]
"""Called for each slice of a settled batch with its event ids and a function index → `Outcome`, so
that outcomes without a waiting caller are never built."""

_MAX_ID_LENGTH = 255
"""Characters of the longest id of a destination that the outbox is to keep."""

_SLICE = 100
"""Conversions to notify callers of before the event loop may run other tasks."""


class Settlement:
    """Settles claims in the outbox, then notifies callers and observers.

    Attributes:
        retries_due_by: when the last of all retries of this process is due, on the outbox's clock.
    """

    def __init__(
        self,
        destination: str,
        outbox: GuardedOutbox,
        settings: DeliverySettings,
        *,
        notify: Callable[[Event], None],
        on_settled: OnSettled,
        make_room: Callable[[str, int], None],
        clock: Callable[[], float],
    ) -> None:
        self.retries_due_by = 0.0
        self._destination, self._outbox, self._settings = destination, outbox, settings
        self._notify, self._on_settled = notify, on_settled
        self._make_room = make_room
        self._clock = clock

    async def settle(
        self, claim: Claim, attempt: Attempt, failure: BatchFailure, seconds: float
    ) -> bool:
        """Settle *claim* by the outcomes of *attempt*.

        Args:
            claim: the batch.
            attempt: the attempt to deliver it.
            failure: applies to the conversions without an outcome.
            seconds: how long the attempt took.

        Returns:
            Whether some of its conversions are still to be delivered.
        """
        now = self._clock()
        # Releasing a claim is one update, whatever its size; settling writes a row for every
        # conversion that was not delivered.
        if self._can_release(claim, attempt, failure, now):
            return await self._release(claim, attempt, failure, now)
        return await self._settle(claim, attempt, failure, now, seconds)

    def _can_release(
        self, claim: Claim, attempt: Attempt, failure: BatchFailure, now: float
    ) -> bool:
        if any(attempt.outcomes):
            return False
        return failure.never_expires or not any(
            is_exhausted(entry, entry.attempts + failure.counts_as_attempt, self._settings, now)
            for entry in claim.entries
        )

    async def _release(
        self, claim: Claim, attempt: Attempt, failure: BatchFailure, now: float
    ) -> bool:
        due, ids, attempts = now + failure.retry_in, claim.entries.event_ids, claim.entries.attempts
        counts, probe = failure.counts_as_attempt, attempt.probe_index
        reason = ReleaseReason(
            error=failure.reason,
            code=failure.code,
            sent=probe,
            http_status=usable_status(failure.http_status),
        )
        if await self._outbox.release(claim, due=due, counts_as_attempt=counts, reason=reason):
            await self._resolve(
                ids, lambda index: released_outcome(attempts[index], failure, self._destination)
            )
            sent = ids if probe is None else [ids[probe]]
            self._notify_retried(sent, failure.reason, [due], failure, now)
        return True

    async def _settle(
        self, claim: Claim, attempt: Attempt, failure: BatchFailure, now: float, seconds: float
    ) -> bool:
        failed = self._failed_entries(claim, attempt, failure, now)
        remote_ids = delivered_ids(attempt.outcomes, failed)
        if not await self._outbox.settle(claim, list(failed.values()), remote_ids):
            return True
        retries = sum(entry.due is not None for entry in failed.values())
        self._make_room(self._destination, len(claim.entries.seqs) - retries)

        ids, attempts = claim.entries.event_ids, claim.entries.attempts

        def outcome_at(index: int) -> Outcome:
            return settled_outcome(
                attempts[index], attempt.outcomes[index], failed.get(index), self._destination
            )

        # Nearly every batch is delivered whole, and then this costs nothing per conversion.
        skipped = _skipped(attempt.outcomes, ids) if failed else {}
        for skipped_ids in skipped.values():
            await self._outbox.discard(skipped_ids)
        # Callers first: a request that waits for its delivery is answered before events are logged.
        await self._resolve(ids, outcome_at)
        for reason, skipped_ids in skipped.items():
            self._notify(
                Skipped(destination=self._destination, event_ids=skipped_ids, reason=reason)
            )
        delivered = _delivered(ids, failed) if failed else ids
        if delivered:
            self._notify(
                Delivered(destination=self._destination, event_ids=delivered, seconds=seconds)
            )
        return bool(failed) and self._notify_failed(ids, failed, failure, now)

    def _failed_entries(
        self, claim: Claim, attempt: Attempt, failure: BatchFailure, now: float
    ) -> dict[int, FailedEntry]:
        if attempt.all_delivered:  # nearly always
            return {}
        return {
            index: failed_entry(
                claim.entries[index],
                outcome,
                failure,
                self._settings,
                now,
                lost_leases=claim.lost_leases.get(claim.entries.seqs[index], 0),
            )
            for index, outcome in enumerate(attempt.outcomes)
            if outcome is None or outcome.status is not Status.DELIVERED
        }

    async def _resolve(self, ids: Sequence[str], outcome_at: Callable[[int], Outcome]) -> None:
        for start in range(0, len(ids), _SLICE):
            if start:
                await cancel_shielded_checkpoint()
            self._on_settled(ids[start : start + _SLICE], partial(_shifted, start, outcome_at))

    def _notify_failed(
        self,
        ids: Sequence[str],
        failed: Mapping[int, FailedEntry],
        failure: BatchFailure,
        now: float,
    ) -> bool:
        # One event for all retries with the same reason, one for each dead letter.
        retried: dict[str, dict[str, float]] = {}
        for index, entry in failed.items():
            if entry.due is not None:
                retried.setdefault(entry.error, {})[ids[index]] = entry.due
            elif entry.code != SKIPPED_CODE:
                self._notify_dead(ids[index], entry)
        for reason, dues in retried.items():
            self._notify_retried(list(dues), reason, dues.values(), failure, now)
        return bool(retried)

    def _notify_dead(self, event_id: str, entry: FailedEntry) -> None:
        self._notify(
            DeadLettered(
                destination=self._destination,
                event_id=event_id,
                reason=entry.error,
                code=entry.code,
            )
        )

    def _notify_retried(
        self,
        ids: Sequence[str],
        reason: str,
        dues: Collection[float],
        failure: BatchFailure,
        now: float,
    ) -> None:
        self.retries_due_by = max(self.retries_due_by, now + failure.lane_paused_for, *dues)
        # Entries due in 1 s, of a lane paused for 60 s, are retried in 60 s at the earliest.
        seconds = max(min(dues) - now, failure.lane_paused_for)
        self._notify(
            Retried(destination=self._destination, event_ids=ids, reason=reason, seconds=seconds)
        )


def delivered_ids(
    outcomes: Sequence[Outcome | None], failed: Collection[int]
) -> Sequence[str | None]:
    """Return the destination's id of each conversion for the outbox; empty if it gave none.

    Args:
        outcomes: the outcome of each conversion.
        failed: the indexes of those that were not delivered, which have no id.
    """
    remote_ids = [outcome.remote_id if outcome else None for outcome in outcomes]
    for index in failed:
        remote_ids[index] = None
    if not any(remote_ids):
        return ()
    try:  # all at once, because checking each would take longer than the rest
        usable = max(map(len, filter(None, remote_ids))) <= _MAX_ID_LENGTH
        usable = usable and "".join(filter(None, remote_ids)).isprintable()
    except TypeError:  # a third-party sink returned an integer
        usable = False
    return remote_ids if usable else list(map(_usable_id, remote_ids))


def _usable_id(remote_id: object) -> str | None:
    if isinstance(remote_id, str) and len(remote_id) <= _MAX_ID_LENGTH and remote_id.isprintable():
        return remote_id
    return None


def _delivered(event_ids: Sequence[str], failed: Container[int]) -> list[str]:
    return [event_id for index, event_id in enumerate(event_ids) if index not in failed]


def _skipped(
    outcomes: Sequence[Outcome | None], event_ids: Sequence[str]
) -> Mapping[str, list[str]]:
    """Return reason → event ids of the conversions that are not for this destination."""
    skipped: dict[str, list[str]] = {}
    for event_id, outcome in zip(event_ids, outcomes, strict=True):
        if outcome is not None and outcome.status is Status.SKIPPED:
            skipped.setdefault(reason_text(outcome.error or ""), []).append(event_id)
    return skipped


def _shifted(start: int, outcome_at: Callable[[int], Outcome], index: int) -> Outcome:
    return outcome_at(start + index)
