"""What HubSpot's answers ask for: from status, headers and body to a `Problem`, without I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum
from http import HTTPStatus
from typing import Any

import attrs
import orjson

from anytrack_async.sinks.hubspot.limiter import count
from anytrack_async.transport import retry_after, safe_text
from anytrack_async.transport.text import MASK

_HOUR = 3600.0
_DAY = 86_400.0
_WINDOW = 10.0
_LOCKED = 2.0

_SCOPES = re.compile(r"[A-Za-z][\w.-]+")
_EXISTING_ID = re.compile(r"(?i)\bexisting (?:\w+ )?id:?\s*(\d+)")
_QUOTED_PROPERTY = re.compile(r'"name"\s*:\s*"(\w+)"')
_QUOTED_REASON = re.compile(r'"error"\s*:\s*"([A-Z_]+)"')
_OURS = re.compile(r"(?i)\b(anytrack_\w+)\b.*\b(?:exist|unique)")


_MISSING = "PROPERTY_DOESNT_EXIST"


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
    """The service failed or there was no answer."""
    SPLIT = "split"
    """At least one input is bad, and HubSpot does not say which."""


@attrs.frozen(kw_only=True)
class Problem:
    """What went wrong and what to do about it.

    Attributes:
        act: what to do.
        message: HubSpot's own words, masked.
        code: HubSpot's category or policy.
        after: seconds to wait.
        status: HTTP status.
        request_id: HubSpot's correlation id.
        remote_id: id of the record that exists already.
        property: the deal or contact property it is about, if it names one.
        reason: HubSpot's code for what is wrong with that property.
    """

    act: Act
    message: str
    code: str | None = None
    after: float | None = None
    status: int | None = None
    request_id: str | None = None
    remote_id: str | None = None
    property: str | None = None
    reason: str | None = None


def read_problem(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    zone: tzinfo | None = None,
    now: datetime | None = None,
) -> Problem:
    """Return what an answer outside 2xx asks for, whatever its body is.

    Args:
        status: HTTP status.
        headers: of the answer.
        content: its body.
        zone: the portal's; its midnight ends a daily limit.
        now: for tests.

    Source: HubSpot, "Error handling" and "API usage guidelines and limits".
    """
    body = _mapping(content)
    problem = _described(body or {}, status)
    if status == 429:
        return _throttled(problem, headers, body or {}, zone, now or datetime.now(UTC))
    if status == 477:  # the portal is being moved to another data centre
        return attrs.evolve(problem, act=Act.WAIT, after=min(retry_after(headers) or _HOUR, _DAY))
    if status == 423:
        after = max(retry_after(headers) or 0.0, _LOCKED)
        return attrs.evolve(problem, act=Act.LATER, after=after)
    if body is None and status not in (401, 402, 403, 413):
        return attrs.evolve(problem, act=Act.DOWN)  # not HubSpot speaking, but something before it
    return _not_set_up(attrs.evolve(problem, act=_act(status, problem.code)))


def _act(status: int, code: str | None) -> Act:
    if status in (401, 402, 403):
        return Act.HOLD
    if status in (404, 405, 410, 415):
        # Nothing we address by id is missing here: the path is not there, so a setting is wrong.
        return Act.REJECT if code == "OBJECT_NOT_FOUND" else Act.HOLD
    if status == 409:
        return Act.EXISTS
    if status == 413:
        return Act.SPLIT
    if status in (408, 425) or status >= 500 or status < 400:
        return Act.DOWN
    return _ITEM_ACTS.get(code or "", Act.REJECT)


_ITEM_ACTS: Mapping[str, Act] = {
    "CONFLICT": Act.EXISTS,
    "OBJECT_ALREADY_EXISTS": Act.EXISTS,
    "MISSING_SCOPES": Act.HOLD,
    "INVALID_AUTHENTICATION": Act.HOLD,
    "EXPIRED_AUTHENTICATION": Act.HOLD,
    "BANNED": Act.HOLD,
    "RATE_LIMIT": Act.LATER,
    "RATE_LIMITS": Act.LATER,
    "LOCKED": Act.LATER,
    "TIMEOUT": Act.LATER,
    "GATEWAY_TIMEOUT": Act.LATER,
    "SERVICE_UNAVAILABLE": Act.LATER,
    "INTERNAL_ERROR": Act.LATER,
}


def read_item(error: Mapping[str, Any]) -> Problem:
    """Return what one entry of a batch answer's ``errors`` asks for."""
    problem = _described(error, None)
    act = _ITEM_ACTS.get(problem.code or "", Act.REJECT)
    after = _LOCKED if act is Act.LATER else None
    return _not_set_up(attrs.evolve(problem, act=act, after=after))


def _not_set_up(problem: Problem) -> Problem:
    """Return a hold where the portal lacks what `HubSpotSink.setup` creates.

    It lacks it for every conversion: giving them up would help nobody.
    """
    ours = (problem.property or "").lower().startswith("anytrack_")
    if problem.act is not Act.REJECT or not ours or problem.reason != _MISSING:
        return problem
    message = f"{problem.message}; HubSpotSink.setup() creates the property {problem.property}"
    return attrs.evolve(problem, act=Act.HOLD, message=message)


def _throttled(
    problem: Problem,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    zone: tzinfo | None,
    now: datetime,
) -> Problem:
    policy = str(body.get("policyName") or "").upper()
    daily = policy == "DAILY" or (not policy and count(headers, "Daily-Remaining") == 0)
    asked = retry_after(headers)
    if daily:
        after = max(asked or 0.0, until_midnight(now, zone))
    elif asked is not None:
        after = asked
    else:
        after = (count(headers, "Interval-Milliseconds") or _WINDOW * 1000) / 1000
    return attrs.evolve(
        problem, act=Act.WAIT, after=min(after, _DAY + _HOUR), code=policy or problem.code
    )


def until_midnight(now: datetime, zone: tzinfo | None) -> float:
    """Return the seconds until the next midnight in *zone*; an hour when it is not known."""
    if zone is None:
        return _HOUR
    local = now.astimezone(zone)
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight.astimezone(UTC) - now).total_seconds() + 1.0


def _described(body: Mapping[str, Any], status: int | None) -> Problem:
    """Return HubSpot's words about a failure; what to do about it is not decided yet."""
    details = [one for one in _list(body.get("errors")) if isinstance(one, Mapping)]
    own = _str(body.get("message"))
    code = _str(body.get("category")) or _str(body.get("subCategory"))
    reasons = [reason for one in details if (reason := _str(one.get("code")))]
    return Problem(
        act=Act.REJECT,
        message=_message(own, body, details, status),
        code=safe_text(code or (reasons[0] if reasons else "")) or None,
        status=status,
        request_id=_str(body.get("correlationId")) or None,
        remote_id=_existing(own, body),
        property=next(context_values(body, "propertyname", "property"), None)
        or _first(own, _QUOTED_PROPERTY, _OURS),
        reason=reasons[0] if reasons else _first(own, _QUOTED_REASON) or _absence(own),
    )


def _absence(own: str) -> str | None:
    return _MISSING if _OURS.search(own) else None


def _first(text: str, *patterns: re.Pattern[str]) -> str | None:
    return next((found[1] for one in patterns if (found := one.search(text))), None)


def _message(
    own: str, body: Mapping[str, Any], details: list[Mapping[str, Any]], status: int | None
) -> str:
    parts = [own] if own else []
    for one in details[:3]:
        words = _str(one.get("message"))
        if words and words not in own:
            parts.append(words)
        if (code := _str(one.get("code"))) and code not in own:
            parts.append(f"[{code}]")
    if scopes := sorted(set(_scopes(body))):
        parts.append("scopes: " + ", ".join(scopes[:8]))
    return safe_text(" ".join(parts), longest=400) or _phrase(status)


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
    for one in _list(body.get("errors")):
        if isinstance(one, Mapping):
            yield one.get("context")


def _existing(message: str, body: Mapping[str, Any]) -> str | None:
    found = _EXISTING_ID.search(message)
    return found[1] if found else next(context_values(body, "existingid", "existingobjectid"), None)


def hide(message: str, values: Iterable[str]) -> str:
    """Return *message* without any of *values*."""
    longest_first = sorted({one for one in values if one.strip()}, key=len, reverse=True)
    if not longest_first:
        return message
    any_of_them = "|".join(map(re.escape, longest_first))
    return re.sub(rf"(?<!\w)(?:{any_of_them})(?!\w)", MASK, message, flags=re.IGNORECASE)


def _phrase(status: int | None) -> str:
    if status is None:
        return "refused without a reason"
    try:
        return f"answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"answered {status}"


def _mapping(content: bytes) -> Mapping[str, Any] | None:
    """Return the body, None where it is not JSON."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else {}


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""
