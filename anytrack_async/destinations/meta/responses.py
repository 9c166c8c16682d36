"""What Meta's errors mean: read from a response, and what to do about each.

The user's texts come in the language of the token's owner, and throttling comes as HTTP 400 or 403:
so `code` decides before the HTTP status.

Source: Meta: Graph API, error handling; Conversions API, troubleshooting.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import Enum, auto
from typing import Any, Self

import attrs

from anytrack_async.errors import DecodeError
from anytrack_async.transport.errors import hide, quotable, safe_text
from anytrack_async.transport.message import Response

_FAILED = frozenset((1, 2, 341, 368))
_THROTTLED = frozenset((4, 17, 32, 613, *range(80_000, 80_015)))
_CREDENTIALS = frozenset((3, 10, 102, 104, 190, *range(200, 300)))
# The address or version is wrong for every event alike: alias, old version, no usable token.
_SETUP = frozenset((12, 803, 2500, 2635))
_TRACE = re.compile(r"[\w-]{1,64}", re.ASCII)
_BAD_EVENT = range(2_804_000, 2_805_000)
_MEANING = {
    2_804_003: "event_time is too old",
    2_804_009: "a Purchase needs a value",
    2_804_010: "a Purchase needs a currency",
    2_804_016: "customer data is not hashed",
    2_804_050: "too little customer data to match by",
}


class Action(Enum):
    """What to do about an error."""

    RETRY = auto()
    """Meta failed: try again later."""
    WAIT = auto()
    """Too many calls: wait as long as Meta says."""
    HOLD = auto()
    """Token, permission, account or pixel: an operator has to act."""
    REJECT = auto()
    """An event is bad."""


@attrs.frozen(kw_only=True)
class GraphError:
    """One error of the Graph API.

    Attributes:
        status: HTTP status.
        code: what to decide on; 0 if there is none.
        subcode: which of the errors behind *code*; 0 if there is none.
        kind: Meta's name of the class of error.
        transient: whether Meta says that trying again may help.
        readable: whether the body was JSON.
        message: for developers, free of customers' data.
        advice: for users, in some language, free of customers' data.
        trace: what to quote to Meta's support.
    """

    status: int
    code: int = 0
    subcode: int = 0
    kind: str = ""
    transient: bool = False
    readable: bool = True
    message: str = ""
    advice: str = ""
    trace: str = ""

    @classmethod
    def read(cls, response: Response) -> Self:
        """Return the error in *response*."""
        try:
            body = response.json()
        except DecodeError:
            return cls(status=response.status, readable=False, message="the response is not JSON")
        error = body.get("error") if isinstance(body, Mapping) else None
        if not isinstance(error, Mapping):
            return cls(status=response.status, message="the response names no error")
        sent = quotable(response.request_content)
        return cls(
            status=response.status,
            code=_number(error, "code"),
            subcode=_number(error, "error_subcode"),
            kind=_text(error, "type", ()),
            transient=error.get("is_transient") is True,
            message=_text(error, "message", sent),
            advice=_text(error, "error_user_msg", sent),
            trace=trace_of(error),
        )

    @property
    def id(self) -> str | None:
        """The subcode, else the code, else None."""
        return str(self.subcode or self.code or "") or None

    @property
    def action(self) -> Action:
        """What to do about it."""
        if self.code in _THROTTLED:
            return Action.WAIT
        if self.transient or self.code in _FAILED or not self.readable:
            return Action.RETRY
        if self.code == 100:
            return self._action_on_parameter()
        if self.code in _CREDENTIALS or self.code in _SETUP:
            return Action.HOLD
        return _BY_STATUS.get(self.status) or _by_class(self.status)

    def _action_on_parameter(self) -> Action:
        if self.subcode in _BAD_EVENT:
            return Action.REJECT
        # Without an event's subcode, this class of 100 is about the pixel or `appsecret_proof`.
        hold = self.subcode == 33 or self.kind == "GraphMethodException"
        return Action.HOLD if hold else Action.REJECT

    def __str__(self) -> str:
        said = (self.message, _MEANING.get(self.subcode), self.advice)
        told = dict.fromkeys(part for part in said if part)
        parts = [("status", self.status), ("code", self.code), ("subcode", self.subcode)]
        details = [f"{name} {value}" for name, value in parts if value]
        if self.trace:
            details.append(f"fbtrace_id {self.trace}")
        return f"{' — '.join(told) or 'no reason given'} ({', '.join(details)})"


_BY_STATUS = {
    401: Action.HOLD,
    403: Action.HOLD,
    404: Action.HOLD,
    408: Action.RETRY,
    425: Action.RETRY,
    429: Action.WAIT,
}


def _by_class(status: int) -> Action:
    return Action.REJECT if 400 <= status < 500 else Action.RETRY


def _number(error: Mapping[str, Any], name: str) -> int:
    try:
        return int(error.get(name) or 0)
    except (TypeError, ValueError):
        return 0


def trace_of(said: Mapping[str, Any]) -> str:
    """Return what to quote to Meta's support, empty without one."""
    trace = said.get("fbtrace_id")
    # Not masked, long as it is: without it, support finds nothing.
    return trace if isinstance(trace, str) and _TRACE.fullmatch(trace) else ""


def _text(error: Mapping[str, Any], name: str, sent: Collection[str]) -> str:
    value = error.get(name)
    return safe_text(hide(value, sent)) if isinstance(value, str) else ""
