"""What to write into the outbox after a try: pure, so that it can be read and tested alone."""

from __future__ import annotations

import attrs

from anytrack_async.models import Outcome, Status
from anytrack_async.outbox.base import Entry, Setback
from anytrack_async.settings import DeliverySettings


@attrs.frozen(kw_only=True)
class Pause:
    """Why conversions are left open, and for how long.

    Attributes:
        reason: for reports.
        code: the destination's error code.
        seconds: how long to leave them alone.
        blame: whether the try counts as an attempt.
    """

    reason: str
    code: str | None
    seconds: float
    blame: bool


def setback(
    entry: Entry, outcome: Outcome | None, pause: Pause, settings: DeliverySettings, now: float
) -> Setback | None:
    """Return what to keep of *entry*, None if it is delivered."""
    if outcome is None:
        outcome = Outcome.retry(pause.reason, code=pause.code, after=pause.seconds)
        attempts = entry.attempts + pause.blame
    else:
        attempts = entry.attempts + 1
    if outcome.status is Status.DELIVERED:
        return None
    return Setback(
        seq=entry.seq,
        attempts=attempts,
        error=_reason(entry, outcome, attempts, settings, now),
        code=outcome.code,
        due=_due(entry, outcome, attempts, settings, now),
    )


def _due(
    entry: Entry, outcome: Outcome, attempts: int, settings: DeliverySettings, now: float
) -> float | None:
    if outcome.status is not Status.RETRY or exhausted(entry, attempts, settings, now):
        return None
    return now + settings.retry.wait(max(attempts, 1), outcome.retry_after)


def exhausted(entry: Entry, attempts: int, settings: DeliverySettings, now: float) -> bool:
    """Tell whether *entry* was tried often or long enough."""
    return attempts >= settings.retry.attempts or now - entry.accepted_at > settings.max_age


def _reason(
    entry: Entry, outcome: Outcome, attempts: int, settings: DeliverySettings, now: float
) -> str:
    error = outcome.error or "no reason given"
    if outcome.status is Status.RETRY and exhausted(entry, attempts, settings, now):
        hours = (now - entry.accepted_at) / 3600
        return f"given up after {attempts} attempts and {hours:.1f} h: {error}"
    return error


def outcome_of(entry: Entry, answer: Outcome | None, kept: Setback | None, name: str) -> Outcome:
    """Return how *entry* now stands at destination *name*."""
    if kept is None:
        remote_id = answer.remote_id if answer else None
        return Outcome(
            status=Status.DELIVERED,
            destination=name,
            remote_id=remote_id,
            attempts=entry.attempts + 1,
        )
    return Outcome(
        status=Status.DEAD if kept.due is None else Status.WAITING,
        destination=name,
        attempts=kept.attempts,
        error=kept.error,
        code=kept.code,
    )


def left_open(entry: Entry, pause: Pause, name: str) -> Outcome:
    """Return how *entry* stands at destination *name* after its batch was given back."""
    return Outcome(
        status=Status.WAITING,
        destination=name,
        attempts=entry.attempts + pause.blame,
        error=pause.reason,
        code=pause.code,
    )
