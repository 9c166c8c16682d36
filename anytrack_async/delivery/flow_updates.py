"""The result of an attempt at a batch: how it changes its lane, and when the rest is retried."""

from __future__ import annotations

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.delivery.flow import FlowControl
from anytrack_async.delivery.retry_rules import BatchFailure
from anytrack_async.destinations.sink import (
    Inconclusive,
    NeedsOperator,
    SinkSignal,
    Throttled,
    Unfinished,
)
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Claim
from anytrack_async.settings.http import Retry

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
