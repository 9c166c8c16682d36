"""What an answer of Meta's means for the events that were sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from anytrack_async.errors import DecodeError
from anytrack_async.models import DELIVERED, Outcome
from anytrack_async.sinks.base import BatchRejected, CredentialsRejected, Throttled, Unavailable
from anytrack_async.sinks.meta.errors import Action, GraphError
from anytrack_async.sinks.meta.usage import regain
from anytrack_async.transport import Answer, safe_text

_WAIT = 60.0  # seconds, where Meta says "too many calls" and not how long

_log = logging.getLogger("anytrack_async")


def settle(answer: Answer, sent: int) -> Outcome:
    """Return the one outcome of all *sent* events.

    Raises:
        Throttled: Meta asks to wait.
        BatchRejected: one of several events is bad.
        CredentialsRejected: token, permission, account or pixel.
        Unavailable: the answer is none of Meta's, or says that Meta failed.
    """
    body = _body(answer) if answer.success else {}
    received = body.get("events_received")
    if not isinstance(received, int):
        return _refused(answer, sent)
    _tell(body)
    if received >= sent:
        return DELIVERED
    # Meta does not say which are missing; sent again, it drops the ones it has.
    lost = (
        f"Meta received {received} of {sent} events (fbtrace_id {_shown(body.get('fbtrace_id'))})"
    )
    _log.error("%s; sending all of them again", lost)
    return Outcome.retry(lost)


def _refused(answer: Answer, sent: int) -> Outcome:
    error = GraphError.read(answer)
    reason = f"Meta: {error}"
    match error.action:
        case Action.WAIT:
            after = regain(answer.headers) or answer.retry_after or _WAIT
            raise Throttled(reason, after=after, code=error.id)
        case Action.HOLD:
            raise CredentialsRejected(reason, code=error.id)
        case Action.RETRY:
            raise Unavailable(reason, code=error.id)
    if sent > 1:
        raise BatchRejected(reason, code=error.id)
    return Outcome.rejected(reason, code=error.id)


def _body(answer: Answer) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except DecodeError:
        return {}
    return body if isinstance(body, Mapping) else {}


def _tell(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        _log.warning("Meta says: %s", _shown(message))


def _shown(value: object) -> str:
    return safe_text(str(value))
