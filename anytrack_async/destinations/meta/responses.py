"""Meta's responses: the outcome of the events sent, errors, and how much of the quota is used.

Meta's own numbers decide, before the HTTP status: throttling comes as 400 or 403, and the texts
for users come in the language of the token's owner. Only the numbers 2804000 to 2804999 say that an
event is bad. No event is rejected for any other error, except after a split, by the lane.

Source: Meta: Graph API, error handling and rate limits; Conversions API, troubleshooting.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum, auto
from typing import Any, Self

import anyio
import attrs
import orjson

from anytrack_async.destinations.responses import confirms, noting_status
from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.errors import DecodeError
from anytrack_async.events import OperatorCause
from anytrack_async.models.outcome import DELIVERED, Outcome
from anytrack_async.transport.errors import quotable_texts, redact, safe_text
from anytrack_async.transport.message import Response

_log = logging.getLogger("anytrack_async")

# Graph API error codes
_FAILED = frozenset((1, 2, 99, 341, 368, 1200, 21009))
_THROTTLED = frozenset((4, 17, 32, 613, *range(80_000, 80_015)))
_CREDENTIALS = frozenset((3, 10, 102, 104, 190, *range(200, 300)))
# The address or version is wrong for every event alike: alias, old version, no usable token.
_SETUP = frozenset((12, 803, 2500, 2635))
_BAD_EVENT = range(2_804_000, 2_805_000)
_PERMISSION = re.compile(
    r"(?i)permission|access token|appsecret_proof|(?:not |un)(?:authori[sz]ed|authenticated)"
    r"|does not exist|unsupported (?:get|post) request"
)
_TEMPORARY = re.compile(
    r"(?i)temporar|try(?:ing)? (?:it |this )?again|retry|timed? ?out|(?:unknown|unexpected) error"
)
_NOT_FOLLOWED = "redirects are not followed; check MetaSettings.base_url"
_TRACE_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_MEANING = {
    2_804_003: "event_time is too old",
    2_804_009: "a Purchase needs a value",
    2_804_010: "a Purchase needs a currency",
    2_804_016: "customer data is not hashed",
    2_804_050: "too little customer data to match by",
}

# Of what Meta says beside a success. Far fewer characters are logged.
_MOST_MESSAGES, _MOST_CHARACTERS = 10, 8_192

_OWN_FIELDS = ("fbtrace_id",)

# Quota
_APP_USAGE = ("x-app-usage", "x-ad-account-usage")
_BUSINESS_USAGE = "x-business-use-case-usage"
_REGAIN_MINUTES = "estimated_time_to_regain_access"
_BUSY, _FULL = 90.0, 100.0  # percent
_PAUSE, _LONG_PAUSE = 5.0, 30.0  # seconds
_MINUTE, _DAY = 60.0, 86_400.0  # seconds


# Outcomes


@noting_status
def outcome_of_request(
    response: Response,
    sent: int,
    *,
    throttled: int = 0,
    report_unusual: Callable[[Response], None] = lambda _: None,
) -> Outcome:
    """Return the outcome that all events of a request share.

    Args:
        response: Meta's response.
        sent: how many events.
        throttled: how many responses in a row asked to wait before this one.
        report_unusual: called with a response that confirms the events without their number.

    Raises:
        Throttled: Meta asks to wait.
        BatchRejected: one of several events is bad, or perhaps the request as a whole.
        Inconclusive: the only event is bad, or perhaps the request as a whole.
        NeedsOperator: token, permission, account or pixel is wrong.
        Unavailable: the response is not Meta's, or says that Meta failed.
    """
    body = response.json_object() if response.success else {}
    received = _count(body.get("events_received"))
    if received is None:
        if response.success and "events_received" not in body and confirms(response, _OWN_FIELDS):
            report_unusual(response)
            return DELIVERED
        return _refused(response, sent, throttled)
    _log_messages(body, response.request_content)
    if received >= sent:
        return DELIVERED
    # Meta does not say which events are missing. It drops repeats of those it has.
    trace_id = trace_id_of(body) or "not given"
    problem = f"Meta received {received} of {sent} events (fbtrace_id {trace_id})"
    _log.error("%s; sending all of them again", problem)
    return Outcome.retry(problem)


def _refused(response: Response, sent: int, throttled: int) -> Outcome:
    error = GraphError.from_response(response)
    reason = f"Meta: {error}"
    action = error.action
    if action is Action.RETRY and response.status in _BUSY_STATUSES and response.retry_after:
        action = Action.WAIT  # the page of a gateway may ask to wait too
    match action:
        case Action.WAIT:
            raise Throttled(reason, after=_wait(response, throttled), code=error.id)
        case Action.NEEDS_OPERATOR:
            raise NeedsOperator(reason, cause=error.cause, code=error.id)
        case Action.RETRY:
            raise Unavailable(reason, code=error.id)
    if sent > 1:
        raise BatchRejected(reason, code=error.id)
    if action is Action.SPLIT:
        raise Inconclusive(reason, code=error.id)
    return Outcome.rejected(reason, code=error.id)


def _count(value: object) -> int | None:
    """Return *value*, a number or its digits, as a number of events; None if it is neither."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        count = int(value)
    except (ValueError, OverflowError):
        return None
    return count if count >= 0 else None


def _wait(response: Response, throttled: int) -> float:
    """Return the seconds to wait: as Meta says, else a minute.

    Meta counts in whole minutes, so its 0 means less than one. Then the wait doubles with each
    throttled response in a row: 1, 2, 4, 8, 16, 32, 60, 60 seconds.
    """
    regained_in = regain_seconds(response.headers)
    if wait := regained_in or response.retry_after:
        return wait
    return _MINUTE if regained_in is None else min(2.0 ** min(throttled, 6), _MINUTE)


def _log_messages(body: Mapping[str, Any], request_content: bytes) -> None:
    if messages := body.get("messages"):
        private = quotable_texts(request_content)
        for message in messages[:_MOST_MESSAGES] if isinstance(messages, list) else ():
            text = str(message)[:_MOST_CHARACTERS]
            _log.warning("Meta says: %s", safe_text(redact(text, private)))


# Errors


class Action(Enum):
    """How to react to an error."""

    RETRY = auto()
    """Meta failed: try again later."""
    WAIT = auto()
    """Too many requests: wait as long as Meta says."""
    NEEDS_OPERATOR = auto()
    """Token, permission, account or pixel is wrong: an operator has to act."""
    REJECT = auto()
    """An event is bad."""
    SPLIT = auto()
    """An event may be bad, or the request as a whole: only a split can tell."""


@attrs.frozen(kw_only=True)
class GraphError:
    """One error of the Graph API.

    Attributes:
        status: HTTP status.
        code: the number that decides; 0 without one.
        subcode: more precise than *code*; 0 without one.
        error_type: Meta's name of the class of error.
        transient: whether Meta says that trying again may help.
        is_json: whether the body was JSON; if not, it may be a proxy's.
        message: for developers, free of customers' data.
        user_message: for users, in the language of the token's owner, free of customers' data.
        trace_id: identifies the request to Meta's support.
    """

    status: int
    code: int = 0
    subcode: int = 0
    error_type: str = ""
    transient: bool = False
    is_json: bool = True
    message: str = ""
    user_message: str = ""
    trace_id: str = ""

    @classmethod
    def from_response(cls, response: Response) -> Self:
        """Return the error in *response*."""
        try:
            body = response.json()
        except DecodeError:
            redirects = 300 <= response.status < 400
            message = _NOT_FOLLOWED if redirects else "the response is not JSON"
            return cls(status=response.status, is_json=False, message=message)
        error = body.get("error") if isinstance(body, Mapping) else None
        if not isinstance(error, Mapping):
            return cls(status=response.status, message="the response names no error")
        private = quotable_texts(response.request_content)
        return cls(
            status=response.status,
            code=_number(error, "code"),
            subcode=_number(error, "error_subcode"),
            error_type=_text(error, "type", ()),
            transient=error.get("is_transient") is True,
            message=_text(error, "message", private),
            user_message=_text(error, "error_user_msg", private),
            trace_id=trace_id_of(error),
        )

    @property
    def id(self) -> str | None:
        """The subcode, or the code without one, or None."""
        return str(self.subcode or self.code or "") or None

    @property
    def action(self) -> Action:
        """How to react to it."""
        if self.code in _THROTTLED:
            return Action.WAIT
        if self.status == 413:  # also of a proxy, without JSON: half of the batch may be accepted
            return Action.SPLIT
        if self.transient or self.code in _FAILED or not self.is_json:
            return Action.RETRY
        if self._is_about_event():
            return Action.REJECT
        if self._is_about_access():
            return Action.NEEDS_OPERATOR
        if _TEMPORARY.search(self.message):
            return Action.RETRY
        return _BY_STATUS.get(self.status) or _by_class(self.status)

    @property
    def cause(self) -> OperatorCause:
        """The part that an operator has to replace, if the action is NEEDS_OPERATOR."""
        is_documented = self.code in _CREDENTIALS or self.code == 100
        wrong_address = self.code in _SETUP or (self.status in _NO_SUCH_PATH and not is_documented)
        return "configuration" if wrong_address else "credentials"

    def _is_about_event(self) -> bool:
        return self.subcode in _BAD_EVENT or self.code in _BAD_EVENT

    def _is_about_access(self) -> bool:
        if self.code in _CREDENTIALS or self.code in _SETUP:
            return True
        # This class of 100 is about the pixel or `appsecret_proof`.
        about_object = self.subcode == 33 or self.error_type == "GraphMethodException"
        return (self.code == 100 and about_object) or bool(_PERMISSION.search(self.message))

    def __str__(self) -> str:
        texts = (self.message, _MEANING.get(self.subcode), self.user_message)
        distinct = dict.fromkeys(text for text in texts if text)
        numbers = [("status", self.status), ("code", self.code), ("subcode", self.subcode)]
        details = [f"{name} {value}" for name, value in numbers if value]
        if self.trace_id:
            details.append(f"fbtrace_id {self.trace_id}")
        return f"{' — '.join(distinct) or 'no reason given'} ({', '.join(details)})"


_BUSY_STATUSES = (429, 503)
_NO_SUCH_PATH = frozenset((404, 405, 410))
_BY_STATUS = {
    **dict.fromkeys((401, 403, *_NO_SUCH_PATH), Action.NEEDS_OPERATOR),
    408: Action.RETRY,
    425: Action.RETRY,
    429: Action.WAIT,
}


def _by_class(status: int) -> Action:
    return Action.SPLIT if 400 <= status < 500 else Action.RETRY


def _number(error: Mapping[str, Any], name: str) -> int:
    try:
        return int(error.get(name) or 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def trace_id_of(body: Mapping[str, Any]) -> str:
    """Return the request's id for Meta's support, empty without one."""
    trace = body.get("fbtrace_id")
    # Not masked like other long texts: support needs all of it.
    return trace if isinstance(trace, str) and _TRACE_ID.fullmatch(trace) else ""


def _text(error: Mapping[str, Any], name: str, private: Collection[str]) -> str:
    value = error.get(name)
    return safe_text(redact(value, private)) if isinstance(value, str) else ""


# Quota


def usage_percent(headers: Mapping[str, str]) -> float:
    """Return how much of the quota is used: the highest figure in the headers, 0 without one.

    ``x-app-usage: {"call_count": 28, "total_time": 95}`` is 95: the first limit reached counts.
    """
    return max(
        (
            value
            for usage in _usages(headers)
            for name, number in usage.items()
            if name != _REGAIN_MINUTES and (value := _non_negative(number)) is not None
        ),
        default=0.0,
    )


def regain_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until Meta takes requests again, if the headers have them.

    Meta counts in whole minutes: 0 is less than one.
    """
    numbers = (_non_negative(usage.get(_REGAIN_MINUTES)) for usage in _usages(headers))
    minutes = max((number for number in numbers if number is not None), default=None)
    return None if minutes is None else min(minutes * _MINUTE, _DAY)


class QuotaPacer:
    """Delays requests while the quota is nearly used, so that it is never used up.

    At 90 % the next request waits until 5 s after the last response, at 100 % until 30 s after it.

    Attributes:
        used: how much of the quota the last response said is used, percent.
    """

    def __init__(self) -> None:
        self._free_at = self.used = 0.0

    def record(self, headers: Mapping[str, str]) -> None:
        """Read the usage from a response's headers."""
        self.used = used = usage_percent(headers)
        if used >= _BUSY:
            pause = _LONG_PAUSE if used >= _FULL else _PAUSE
            self._free_at = max(self._free_at, anyio.current_time() + pause)

    async def wait(self) -> None:
        """Wait until the next request may be sent."""
        if (seconds := self._free_at - anyio.current_time()) > 0:
            await anyio.sleep(seconds)


def _usages(headers: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    for name in _APP_USAGE:
        if isinstance(usage := _json(headers.get(name)), Mapping):
            yield usage
    # {"<business id>": [{"type": "…", "call_count": 28, …}, …]}
    by_business = _json(headers.get(_BUSINESS_USAGE))
    if isinstance(by_business, Mapping):
        for usages in by_business.values():
            if isinstance(usages, list):
                yield from (usage for usage in usages if isinstance(usage, Mapping))


def _json(text: str | None) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None


def _non_negative(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return max(float(value), 0.0)
