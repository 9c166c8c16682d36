"""What to write into the outbox after a try: pure, so that it can be read and tested alone."""

from __future__ import annotations

import attrs

from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.base import Entry, FailedEntry
from anytrack_async.settings.delivery import DeliverySettings


@attrs.frozen(kw_only=True)
class Pause:
    """Why conversions are left open, and for how long.

    Attributes:
        reason: for reports.
        code: the destination's error code.
        seconds: how long to leave them alone; 0 where stopping the lane does that.
        stopped: how long the lane itself is stopped, seconds.
        blame: whether the try counts as an attempt.
        patient: whether none is given up, however old: they are not to blame.
    """

    reason: str
    code: str | None = None
    seconds: float = 0.0
    stopped: float = 0.0
    blame: bool = False
    patient: bool = False


def failure(
    entry: Entry, outcome: Outcome | None, pause: Pause, settings: DeliverySettings, now: float
) -> FailedEntry:
    """Return what to keep of *entry*, which is not delivered; no *outcome* leaves it open."""
    if outcome is None:
        return _left_open(entry, pause, settings, now)
    attempts = entry.attempts + 1
    due, error = None, outcome.error or "no reason given"
    if outcome.status is Status.RETRY:
        if exhausted(entry, attempts, settings, now):
            error = _given_up(entry, attempts, error, now)
        else:
            due = now + settings.retry.wait(attempts, outcome.retry_after)
    return FailedEntry(seq=entry.seq, attempts=attempts, error=error, code=outcome.code, due=due)


def _left_open(entry: Entry, pause: Pause, settings: DeliverySettings, now: float) -> FailedEntry:
    attempts = entry.attempts + pause.blame
    due, error = now + pause.seconds, pause.reason
    if lost := not pause.patient and exhausted(entry, attempts, settings, now):
        error = _given_up(entry, attempts, error, now)
    return FailedEntry(
        seq=entry.seq,
        attempts=attempts,
        error=error,
        code=pause.code,
        due=None if lost else due,
    )


def exhausted(entry: Entry, attempts: int, settings: DeliverySettings, now: float) -> bool:
    """Tell whether *entry* was tried often or long enough."""
    return attempts >= settings.retry.attempts or now - entry.accepted_at > settings.max_age


def _given_up(entry: Entry, attempts: int, error: str, now: float) -> str:
    hours = (now - entry.accepted_at) / 3600
    return f"given up after {attempts} attempts and {hours:.1f} h: {error}"


def outcome_of(
    attempts: int, answer: Outcome | None, kept: FailedEntry | None, name: str
) -> Outcome:
    """Return how an entry tried *attempts* times before now stands at destination *name*."""
    if kept is None:
        remote_id = answer.remote_id if answer else None
        return Outcome(
            status=Status.DELIVERED,
            destination=name,
            remote_id=remote_id,
            attempts=attempts + 1,
        )
    return Outcome(
        status=Status.DEAD if kept.due is None else Status.WAITING,
        destination=name,
        attempts=kept.attempts,
        error=kept.error,
        code=kept.code,
    )


def left_open(attempts: int, pause: Pause, name: str) -> Outcome:
    """Return how an entry tried *attempts* times before stands after its batch was given back."""
    return Outcome(
        status=Status.WAITING,
        destination=name,
        attempts=attempts + pause.blame,
        error=pause.reason,
        code=pause.code,
    )
