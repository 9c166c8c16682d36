"""What AnyTrack's answers mean for a conversion, and for its batch; without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from anytrack_async.destinations.sink import NeedsOperator, SinkSignal, Throttled
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.errors import read_error_body
from anytrack_async.transport.message import Response

_REFUSED = frozenset({400, 404, 409, 413, 422})
_PAUSE = 1.0  # seconds, when a 429 does not say


def outcome_of(response: Response) -> Outcome:
    """Return what *response* says about its conversion.

    Raises:
        NeedsOperator: 401 or 403.
        Throttled: 429.
    """
    if response.success:
        return _confirmed(response)
    if response.status == 409 and (remote_id := _remote_id(response.json_object())):
        return Outcome.delivered(remote_id)
    reason, code = _reason(response)
    if response.status in (401, 403):
        raise NeedsOperator(reason, code=code)
    if response.status == 429:
        wait = response.retry_after
        raise Throttled(reason, code=code, after=_PAUSE if wait is None else wait)
    if response.status in _REFUSED:
        return Outcome.rejected(reason, code=code)
    return Outcome.retry(reason, code=code, after=response.retry_after)


def weight(signal: SinkSignal) -> float:
    """Return how much *signal* counts against others of the same batch."""
    return signal.after if isinstance(signal, Throttled) else inf


def _confirmed(response: Response) -> Outcome:
    body = response.json_object()
    remote_id = _remote_id(body)
    if body.get("status", "success" if remote_id else None) == "success":
        return Outcome.delivered(remote_id)
    return Outcome.retry(f"answered {response.status} without confirming the conversion")


def _remote_id(body: Mapping[str, Any]) -> str | None:
    remote_id = body.get("conversion_id")
    return str(remote_id) if isinstance(remote_id, str | int) and remote_id else None


def _reason(response: Response) -> tuple[str, str]:
    error_body = read_error_body(response)
    return f"{error_body.message} (status {response.status})", error_body.code or str(
        response.status
    )
