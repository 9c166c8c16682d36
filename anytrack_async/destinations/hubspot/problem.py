"""`Problem`: HubSpot's own words about a failure, safe to show, and what they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from http import HTTPStatus
from itertools import chain
from typing import Any

import attrs
import orjson

from anytrack_async.events import OperatorCause
from anytrack_async.transport.errors import hide, safe_text

MISSING = "PROPERTY_DOESNT_EXIST"

RESUME = "then client.resume('hubspot')"
"""How every advice to an operator ends."""

_SCOPES = re.compile(r"[A-Za-z][\w.-]+")
_EXISTING_ID = re.compile(r"(?i)\bexisting (?:\w+ )?id:?\s*(\d+)")
_ID = re.compile(r"[\w-]{1,64}")
_OURS = re.compile(r"(?i)\b(anytrack_\w+)\b.*\b(?:exist|unique)")


class Act(Enum):
    """What to do about a problem."""

    REJECT = "reject"
    """Permanent: asking again will not help."""
    EXISTS = "exists"
    """The record is there already."""
    HOLD = "hold"
    """Token, permission or configuration: an operator has to act, nothing is given up."""
    WAIT = "wait"
    """Throttled: pause for `Problem.after` seconds."""
    LATER = "later"
    """Try these inputs again, not before `Problem.after` seconds."""
    DOWN = "down"
    """The service failed or there was no response."""
    SPLIT = "split"
    """At least one input is bad, and HubSpot does not say which."""


@attrs.frozen(kw_only=True)
class Problem:
    """What went wrong and what to do about it.

    Attributes:
        act: what to do.
        cause: what an operator has to put right, where one has to.
        message: HubSpot's own words, masked.
        words: the same before masking; for `without`, never to be shown.
        advice: what an operator can do about it.
        code: HubSpot's category or policy.
        after: seconds to wait.
        status: HTTP status.
        request_id: HubSpot's correlation id.
        remote_id: id of the record that exists already.
        property: the deal or contact property it is about, if it names one.
        reason: HubSpot's code for what is wrong with that property.
    """

    act: Act
    cause: OperatorCause = "credentials"
    message: str
    words: str = attrs.field(default="", repr=False)
    advice: str = ""
    code: str | None = None
    after: float | None = None
    status: int | None = None
    request_id: str | None = None
    remote_id: str | None = None
    property: str | None = None
    reason: str | None = None

    def without(self, values: Iterable[str]) -> Problem:
        """Return the problem with *values* masked too: those that were sent, and may be quoted."""
        if not self.words:  # told by us
            return self
        # Before the general masking: that could cut a value in two, and neither half be known.
        return attrs.evolve(self, message=_shown(hide(self.words, values), self.status))

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        request_id = f" (correlation id {self.request_id})" if self.request_id else ""
        return f"{self.message}{advice}{request_id}"


def _shown(words: str, status: int | None) -> str:
    return safe_text(words, longest=400) or _phrase(status)


def described(body: Mapping[str, Any], status: int | None) -> Problem:
    """Return HubSpot's words about a failure; what to do about it is not decided yet."""
    own, faults = _taken_apart(_str(body.get("message")))
    details = [*faults, *items(body, "errors")]
    words = _words(own, details, body)
    reason = next((code for one in details if (code := _str(one.get("code")))), "")
    code = _str(body.get("category")) or _str(body.get("subCategory")) or reason
    ours = _OURS.search(own)
    named = (name for one in faults if (name := _str(one.get("name"))))
    return Problem(
        act=Act.REJECT,
        message=_shown(words, status),
        words=words,
        code=safe_text(code) or None,
        status=status,
        request_id=_request_id(body),
        remote_id=_existing(own, body),
        property=next(chain(context_values(body, "propertyname"), named), ours and ours[1]),
        reason=reason or (MISSING if ours else None),
    )


def _taken_apart(message: str) -> tuple[str, list[dict[str, str]]]:
    """Return *message* and the faults it holds as JSON: ``Property values were not valid: [{…}]``.

    Each fault as `errors` of a body has them, with `message`, `code` and, besides, `name`.
    """
    head, bracket, rest = message.partition("[{")
    try:
        faults = orjson.loads(bracket + rest)
    except orjson.JSONDecodeError:
        return message, []
    return head.rstrip(" :"), [
        {
            "name": (name := _str(one.get("name"))),
            "message": f"{name}: {_str(one.get('message'))}",
            "code": _str(one.get("error")),
        }
        for one in faults
        if isinstance(one, dict)
    ]


def _words(own: str, details: list[Mapping[str, Any]], body: Mapping[str, Any]) -> str:
    words = own
    for one in details[:6]:
        message, code = _str(one.get("message")), _str(one.get("code"))
        if message not in words:
            words += f" {message}"
        if code not in words:
            words += f" [{code}]"
    if scopes := sorted(set(_scopes(body))):
        words += " scopes: " + ", ".join(scopes[:8])
    return words.strip()


def _request_id(body: Mapping[str, Any]) -> str | None:
    given = _str(body.get("correlationId"))
    return given if _ID.fullmatch(given) else None


def _scopes(body: Mapping[str, Any]) -> Iterator[str]:
    for context in _contexts(body):
        if isinstance(context, str):  # "{missingScopes=[one, two]}" also occurs
            names = context.partition("[")[2].partition("]")[0]
            yield from _SCOPES.findall(names if "cope" in context else "")
    yield from context_values(
        body, "requiredgranularscopes", "requiredscopes", "missingscopes", "scopes"
    )


def context_values(body: Mapping[str, Any], *keys: str) -> Iterator[str]:
    """Yield every text that *body* or its inner errors hold under a `context` key of *keys*."""
    for context in _contexts(body):
        if isinstance(context, Mapping):
            for key, value in context.items():
                if str(key).lower() in keys:
                    yield from (str(one) for one in _list(value) if isinstance(one, str | int))


def _contexts(body: Mapping[str, Any]) -> Iterator[Any]:
    yield body.get("context")
    for one in items(body, "errors"):
        yield one.get("context")


def _existing(message: str, body: Mapping[str, Any]) -> str | None:
    found = _EXISTING_ID.search(message)
    return found[1] if found else next(context_values(body, "existingid", "existingobjectid"), None)


def _phrase(status: int | None) -> str:
    if status is None:
        return "refused without a reason"
    try:
        return f"answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"answered {status}"


def items(body: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list *name* of *body*, none where there is no such list."""
    given = body.get(name) if isinstance(body, Mapping) else None
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""
