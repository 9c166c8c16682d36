"""What AnyTrack's answers mean for a conversion, and for its batch; without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from anytrack_async.destinations.sink import NeedsOperator, SinkSignal, Throttled
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.answer import Answer
from anytrack_async.transport.errors import read_fault

_REFUSED = frozenset({400, 404, 409, 413, 422})
_PAUSE = 1.0  # seconds, when a 429 does not say


def outcome_of(answer: Answer) -> Outcome:
    """Return what *answer* says about its conversion.

    Raises:
        NeedsOperator: 401 or 403.
        Throttled: 429.
    """
    if answer.success:
        return _confirmed(answer)
    if answer.status == 409 and (remote_id := _remote_id(answer.object())):
        return Outcome.delivered(remote_id)
    reason, code = _reason(answer)
    if answer.status in (401, 403):
        raise NeedsOperator(reason, code=code)
    if answer.status == 429:
        wait = answer.retry_after
        raise Throttled(reason, code=code, after=_PAUSE if wait is None else wait)
    if answer.status in _REFUSED:
        return Outcome.rejected(reason, code=code)
    return Outcome.retry(reason, code=code, after=answer.retry_after)


def weight(signal: SinkSignal) -> float:
    """Return how much *signal* counts against others of the same batch."""
    return signal.after if isinstance(signal, Throttled) else inf


def _confirmed(answer: Answer) -> Outcome:
    body = answer.object()
    remote_id = _remote_id(body)
    if body.get("status", "success" if remote_id else None) == "success":
        return Outcome.delivered(remote_id)
    return Outcome.retry(f"answered {answer.status} without confirming the conversion")


def _remote_id(body: Mapping[str, Any]) -> str | None:
    remote_id = body.get("conversion_id")
    return str(remote_id) if isinstance(remote_id, str | int) and remote_id else None


def _reason(answer: Answer) -> tuple[str, str]:
    fault = read_fault(answer)
    return f"{fault.message} (status {answer.status})", fault.code or str(answer.status)
