"""What a response of Meta's means for the events that were sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from anytrack_async.destinations.meta.quota import regain
from anytrack_async.destinations.meta.responses import Action, GraphError, trace_of
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.models.outcome import DELIVERED, Outcome
from anytrack_async.transport.errors import hide, quotable, safe_text
from anytrack_async.transport.message import Response

_MINUTE = 60.0  # seconds; also the wait where Meta does not say how long

_log = logging.getLogger("anytrack_async")


def settle(response: Response, sent: int, *, throttled: int = 0) -> Outcome:
    """Return the one outcome of all *sent* events.

    Args:
        response: Meta's.
        sent: how many events.
        throttled: how many answers before this one asked to wait, without a success between.

    Raises:
        Throttled: Meta asks to wait.
        BatchRejected: one of several events is bad.
        NeedsOperator: token, permission, account or pixel.
        Unavailable: the response is none of Meta's, or says that Meta failed.
    """
    body = response.json_object() if response.success else {}
    received = body.get("events_received")
    if not isinstance(received, int):
        return _refused(response, sent, throttled)
    _tell(body, response.request_content)
    if received >= sent:
        return DELIVERED
    # Meta does not say which are missing; sent again, it drops the ones it has.
    trace = trace_of(body) or "not given"
    lost = f"Meta received {received} of {sent} events (fbtrace_id {trace})"
    _log.error("%s; sending all of them again", lost)
    return Outcome.retry(lost)


def _refused(response: Response, sent: int, throttled: int) -> Outcome:
    error = GraphError.read(response)
    reason = f"Meta: {error}"
    match error.action:
        case Action.WAIT:
            raise Throttled(reason, after=_wait(response, throttled), code=error.id)
        case Action.HOLD:
            raise NeedsOperator(reason, code=error.id)
        case Action.RETRY:
            raise Unavailable(reason, code=error.id)
    if sent > 1:
        raise BatchRejected(reason, code=error.id)
    return Outcome.rejected(reason, code=error.id)


def _wait(response: Response, throttled: int) -> float:
    told = regain(response.headers)
    if wait := told or response.retry_after:
        return wait
    # "0 minutes" is less than one: grow towards it from a second.
    return _MINUTE if told is None else min(2.0 ** min(throttled, 6), _MINUTE)


def _tell(body: Mapping[str, Any], sent: bytes) -> None:
    if messages := body.get("messages"):
        hidden = quotable(sent)
        for message in messages if isinstance(messages, list) else ():
            _log.warning("Meta says: %s", safe_text(hide(str(message), hidden)))
