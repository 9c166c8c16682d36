"""The rules for retries: when a conversion is due again, and when it becomes a dead letter.

`update_flow` also records the result of an attempt in the flow control of its lane. All other
functions are pure; they also return the outcome of a conversion, for callers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.delivery.flow import FlowControl
from anytrack_async.destinations.sink import (
    Inconclusive,
    NeedsOperator,
    SinkSignal,
    Throttled,
    Unfinished,
)
from anytrack_async.models.outcome import Outcome, Status, code_text, reason_text
from anytrack_async.outbox.base import Claim, Entry, FailedEntry
from anytrack_async.settings.delivery import DeliverySettings, credible_wait
from anytrack_async.settings.http import Retry


@attrs.frozen(kw_only=True)
class BatchFailure:
    """Why some conversions of a batch have no outcome, and when they are retried.

    Attributes:
        reason: for reports.
        code: the destination's error code.
        http_status: the status of the destination's response.
        retry_in: seconds until they are due; 0 if only the pause of the lane delays them.
        lane_paused_for: seconds for which the lane itself is paused.
        counts_as_attempt: whether it counts towards `Retry.attempts` of each conversion.
        never_expires: whether conversions older than `DeliverySettings.max_age` are kept too,
            because the failure is not theirs.
    """

    reason: str
    code: str | None = None
    http_status: int | None = None
    retry_in: float = 0.0
    lane_paused_for: float = 0.0
    counts_as_attempt: bool = False
    never_expires: bool = False


NOT_SENT = "not sent: the lane was paused or the lease was lost"


def update_flow(
    flow: FlowControl, retry: Retry, claim: Claim, attempt: Attempt, generation: int
) -> BatchFailure:
    """Record in *flow* how an attempt ended.

    Args:
        flow: the flow control of the lane.
        retry: how long conversions wait after a failure, and how many attempts they have.
        claim: the batch.
        attempt: the attempt, with its outcomes.
        generation: of the flow control, when the batch was sent.

    Returns:
        The failure of the conversions without an outcome.
    """
    signal = attempt.failure()
    if signal is None or isinstance(signal, Unfinished):
        delivered = attempt.has_outcome(Status.DELIVERED)
        if delivered or attempt.has_outcome(Status.REJECTED):
            flow.record_success(generation, delivered=delivered)
        return BatchFailure(reason=signal.reason if signal else NOT_SENT)
    if isinstance(signal, Throttled):
        delivered = attempt.has_outcome(Status.DELIVERED)
        flow.throttle(signal.reason, signal.after, delivered=delivered)
    elif isinstance(signal, NeedsOperator):
        flow.hold(signal.reason, signal.cause, generation)
    else:
        return _update_unavailable(flow, retry, claim, attempt, signal, generation)
    return BatchFailure(
        reason=signal.reason,
        code=signal.code,
        http_status=signal.http_status,
        lane_paused_for=flow.known_pause,
        never_expires=isinstance(signal, NeedsOperator),
    )


def _update_unavailable(
    flow: FlowControl,
    retry: Retry,
    claim: Claim,
    attempt: Attempt,
    signal: SinkSignal,
    generation: int,
) -> BatchFailure:
    # Neither counts an attempt for the batch: a failed probe says that the service is down, and
    # a split counts attempts itself, for the conversions that fail alone.
    counts_as_attempt = not (flow.probing or attempt.split_failures)
    inconclusive = isinstance(signal, Inconclusive)
    if inconclusive and _max_attempts(claim) + 1 >= retry.attempts:
        counts_as_attempt = False  # the last attempt is not used up by an inconclusive refusal
    if attempt.has_outcome(Status.DELIVERED):
        flow.record_success(generation, delivered=True)
    else:
        flow.record_failure(signal.reason)
    retry_in = 0.0
    if not flow.probing:
        retry_in = retry.wait_after(_max_attempts(claim) + 1)
    elif len(claim.entries.conversions) == 1:
        # A lone probe gives way: with the lane paused for 2 s, it is due in 2.3 s, so that the
        # next probe is another conversion. Due at once, it would be claimed before all new
        # ones, and with batches of one, a conversion that makes the service fail would be
        # every probe.
        retry_in = flow.known_pause + retry.wait_after(1)
    return BatchFailure(
        reason=signal.reason,
        code=signal.code,
        http_status=signal.http_status,
        retry_in=retry_in,
        lane_paused_for=flow.known_pause,
        counts_as_attempt=counts_as_attempt,
        never_expires=inconclusive,
    )


def _max_attempts(claim: Claim) -> int:
    return max(claim.entries.attempts)


def failed_entry(
    entry: Entry,
    outcome: Outcome | None,
    failure: BatchFailure,
    settings: DeliverySettings,
    now: float,
    *,
    lost_leases: int = 0,
) -> FailedEntry:
    """Return the record of *entry*, which was not delivered, for the outbox.

    Args:
        entry: the entry.
        outcome: returned by the sink: ``retry`` or ``rejected``; None if there is none.
        failure: applies if there is no outcome.
        settings: the limits of attempts and age, and the waits.
        now: unix seconds.
        lost_leases: how many workers ended while they had it.
    """
    if outcome is None:
        if entry.attempts >= settings.retry.attempts and not failure.never_expires:
            return _unsent_entry(entry, settings, lost_leases)
        return _entry_without_outcome(entry, failure, settings, now)
    attempts = entry.attempts + 1
    due, error = None, reason_text(outcome.error or "no reason given")
    if outcome.status is Status.RETRY:
        if is_exhausted(entry, attempts, settings, now):
            error = _exhausted_error(entry, attempts, error, now)
        else:
            due = now + _retry_wait(attempts, outcome.retry_after, settings)
    return FailedEntry(
        seq=entry.seq,
        attempts=attempts,
        error=error,
        code=code_text(outcome.code),
        due=due,
        http_status=usable_status(outcome.http_status),
    )


def usable_status(status: object) -> int | None:
    """Return *status*, which a sink gave, if it is one of HTTP; else None."""
    return int(status) if isinstance(status, int) and 100 <= status <= 599 else None


def _retry_wait(attempts: int, hint: float | None, settings: DeliverySettings) -> float:
    if hint is not None:
        limits = {"hint_cap": settings.retry.hint_cap, "hold_probe": settings.hold_probe}
        hint = credible_wait(hint, **limits)
    return settings.retry.wait_after(attempts, hint)


def exhausted_indexes(attempts: Sequence[int], settings: DeliverySettings) -> Collection[int]:
    """Return the indexes of conversions that have used up their attempts before they are sent.

    The last attempt ended with the process that made it, or the limit was lowered since.
    """
    return {index for index, count in enumerate(attempts) if count >= settings.retry.attempts}


def _unsent_entry(entry: Entry, settings: DeliverySettings, lost_leases: int) -> FailedEntry:
    error = f"given up after {entry.attempts} attempts of at most {settings.retry.attempts}"
    if lost_leases:
        error += (
            f": its worker died or was too late {lost_leases} times while sending it; find out "
            "what ends the process before replaying it"
        )
    return FailedEntry(seq=entry.seq, attempts=entry.attempts, error=error, code=None)


def _entry_without_outcome(
    entry: Entry, failure: BatchFailure, settings: DeliverySettings, now: float
) -> FailedEntry:
    attempts = entry.attempts + failure.counts_as_attempt
    due, error = now + failure.retry_in, failure.reason
    expired = not failure.never_expires and is_exhausted(entry, attempts, settings, now)
    if expired:
        error = _exhausted_error(entry, attempts, error, now)
    return FailedEntry(
        seq=entry.seq,
        attempts=attempts,
        error=error,
        code=failure.code,
        due=None if expired else due,
        http_status=usable_status(failure.http_status),
    )


def is_exhausted(entry: Entry, attempts: int, settings: DeliverySettings, now: float) -> bool:
    """Return whether *entry* has used up its attempts or its time."""
    # *attempts* includes the one that has just failed: with 8 allowed, the eighth was the last. Age
    # alone never ends a conversion without an attempt, because this is asked after a failure only.
    return attempts >= settings.retry.attempts or now - entry.accepted_at > settings.max_age


def _exhausted_error(entry: Entry, attempts: int, error: str, now: float) -> str:
    hours = (now - entry.accepted_at) / 3600
    return f"given up after {attempts} attempts and {hours:.1f} h: {error}"


def settled_outcome(
    attempts: int, sink_outcome: Outcome | None, failed: FailedEntry | None, destination: str
) -> Outcome:
    """Return the outcome of an entry that was settled.

    Args:
        attempts: number of failed deliveries before this one.
        sink_outcome: the outcome that the sink returned, if any.
        failed: its record in the outbox; None if it was delivered.
        destination: the destination's name.
    """
    if failed is None:
        return Outcome(
            status=Status.DELIVERED,
            destination=destination,
            remote_id=sink_outcome.remote_id if sink_outcome else None,
            attempts=attempts + 1,
        )
    skipped = sink_outcome is not None and sink_outcome.status is Status.SKIPPED
    dead = Status.SKIPPED if skipped else Status.DEAD
    return Outcome(
        status=dead if failed.due is None else Status.WAITING,
        destination=destination,
        attempts=failed.attempts,
        error=failed.error,
        code=failed.code,
    )


def released_outcome(attempts: int, failure: BatchFailure, destination: str) -> Outcome:
    """Return the outcome of an entry in a claim that was released.

    Args:
        attempts: number of failed deliveries before this one.
        failure: why the claim was released.
        destination: the destination's name.
    """
    return Outcome(
        status=Status.WAITING,
        destination=destination,
        attempts=attempts + failure.counts_as_attempt,
        error=failure.reason,
        code=failure.code,
    )
