"""What HubSpot's answers ask for: from status, headers and body to a `Problem`, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import attrs
import orjson

from anytrack_async.destinations.hubspot.problem import MISSING, RESUME, Act, Problem, described
from anytrack_async.destinations.hubspot.rate_limit import count
from anytrack_async.transport.message import parse_retry_after

_HOUR = 3600.0
_DAY = 86_400.0
_WINDOW = 10.0
_LOCKED = 2.0
_NOWHERE = (404, 405, 410, 415)


def read_problem(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    zone: tzinfo | None = None,
    now: datetime | None = None,
) -> Problem:
    """Return what a response outside 2xx asks for, whatever its body is.

    Args:
        status: HTTP status.
        headers: of the response.
        content: its body.
        zone: the portal's; its midnight ends a daily limit.
        now: for tests.

    Source: HubSpot, "Error handling" and "API usage guidelines and limits".
    """
    body = _mapping(content)
    problem = described(body or {}, status)
    if status == 429:
        return _throttled(problem, headers, body or {}, zone, now or datetime.now(UTC))
    if status == 477:  # the portal is being moved to another data centre
        return attrs.evolve(
            problem, act=Act.WAIT, after=min(parse_retry_after(headers) or _HOUR, _DAY)
        )
    if status == 423:
        after = max(parse_retry_after(headers) or 0.0, _LOCKED)
        return attrs.evolve(problem, act=Act.LATER, after=after)
    if body is None and status not in (401, 402, 403, 413):
        return attrs.evolve(problem, act=Act.DOWN)  # not HubSpot speaking, but something before it
    if status in _NOWHERE:
        # Nothing we send addresses a record by a path: a setting is wrong, for all conversions.
        advice = f"check HubSpotSettings(api_version=…, base_url=…); {RESUME}"
        return attrs.evolve(problem, act=Act.HOLD, cause="configuration", advice=advice)
    return _not_set_up(attrs.evolve(problem, act=_act(status, problem.code)))


def _act(status: int, code: str | None) -> Act:
    if status in (401, 402, 403):
        return Act.HOLD
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
    """Return what one entry of a batch response's ``errors`` asks for."""
    problem = described(error, None)
    act = _ITEM_ACTS.get(problem.code or "", Act.REJECT)
    after = _LOCKED if act is Act.LATER else None
    return _not_set_up(attrs.evolve(problem, act=act, after=after))


def _not_set_up(problem: Problem) -> Problem:
    """Return a hold where the portal lacks what `HubSpotSink.setup` creates.

    It lacks it for every conversion: giving them up would help nobody.
    """
    ours = (problem.property or "").lower().startswith("anytrack_")
    if problem.act is not Act.REJECT or not ours or problem.reason != MISSING:
        return problem
    advice = f"create the deal property {problem.property} with `anytrack setup hubspot`; {RESUME}"
    return attrs.evolve(problem, act=Act.HOLD, cause="configuration", advice=advice)


def _throttled(
    problem: Problem,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    zone: tzinfo | None,
    now: datetime,
) -> Problem:
    policy = str(body.get("policyName") or "").upper()
    daily = policy == "DAILY" or (not policy and count(headers, "Daily-Remaining") == 0)
    asked = parse_retry_after(headers)
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


def _mapping(content: bytes) -> Mapping[str, Any] | None:
    """Return the body, None where it is not JSON."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else {}
