"""Read HubSpot's responses: the problem of a whole request, the result of each of its inputs.

Without I/O. A batch response names inputs by trace id, in any order, so inputs are matched by id
and never by position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import attrs

from anytrack_async.destinations.hubspot.problem import (
    PROPERTY_MISSING,
    Problem,
    ProblemKind,
    describe_failure,
)
from anytrack_async.destinations.hubspot.rate_limit import rate_limit_header
from anytrack_async.transport.message import parse_reply, parse_retry_after

_HOUR = 3600.0
_DAY = 86_400.0
_RATE_INTERVAL = 10.0
_LOCK_SECONDS = 2.0
_WRONG_PATH = (404, 405, 410, 415)
_NEEDS_OPERATOR = (401, 402, 403)

_OWN_FIELDS = frozenset({"category", "subCategory", "message", "correlationId", "context"})
"""Fields of HubSpot's failures; one has at least a message."""

_ABOUT_INPUTS = frozenset(
    {
        *("VALIDATION_ERROR", "MISSING_REQUIRED_PROPERTY", "MISSING_CONDITIONAL_REQUIRED_PROPERTY"),
        *("INVALID_OPTION", "INVALID_NUMBER", "INVALID_DATE", "INVALID_EMAIL", "INVALID_LONG"),
        *("OBJECT_NOT_FOUND", PROPERTY_MISSING),
    }
)
"""Categories that say that an input is bad; any other may be about the request as a whole."""

_names_access = re.compile(
    r"(?i)\bscopes?\b|permission|(?:not |un)(?:authori[sz]ed|authenticated)|forbidden|access token"
).search

_names_record = re.compile(r"(?i)exist|duplicate|conflict").search

# A record that another request writes at the same moment, or a portal that is moved.
_names_moment = re.compile(
    r"(?i)concurren|in progress|\block|migrat|\bmerg|simultaneous|temporar|\btry\b|retry"
    r"|timed? ?out"
).search

# A request that is wrong for every input: the path, the form, the body as a whole.
_names_request = re.compile(
    r"(?i)infer object type|object type.{0,30}(?:unknown|not|invalid)|\bjson\b|api version"
    r"|content.?type|\bheaders?\b|deseriali[sz]e|request body|internal error|unexpected error"
    r"|service.{0,20}unavailable"
).search

_names_portal_limit = re.compile(
    r"(?i)\b(?:account|hub|plan|portal|subscription)\b.{0,40}\b(?:limit|expired|suspended)"
    r"|\blimit.{0,40}\b(?:account|hub|plan|portal|subscription)\b"
).search

_KIND_BY_CATEGORY: Mapping[str, ProblemKind] = {
    "CONFLICT": ProblemKind.EXISTS,
    "OBJECT_ALREADY_EXISTS": ProblemKind.EXISTS,
    "MISSING_SCOPES": ProblemKind.NEEDS_OPERATOR,
    "INVALID_AUTHENTICATION": ProblemKind.NEEDS_OPERATOR,
    "EXPIRED_AUTHENTICATION": ProblemKind.NEEDS_OPERATOR,
    "BANNED": ProblemKind.NEEDS_OPERATOR,
    "RATE_LIMIT": ProblemKind.RETRY_LATER,
    "RATE_LIMITS": ProblemKind.RETRY_LATER,
    "LOCKED": ProblemKind.RETRY_LATER,
    "TIMEOUT": ProblemKind.RETRY_LATER,
    "GATEWAY_TIMEOUT": ProblemKind.RETRY_LATER,
    "SERVICE_UNAVAILABLE": ProblemKind.RETRY_LATER,
    "INTERNAL_ERROR": ProblemKind.RETRY_LATER,
}


# The request as a whole


def read_problem(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    zone: tzinfo | None = None,
    now: datetime | None = None,
) -> Problem:
    """Return the problem that a response outside 2xx describes, whatever its body is.

    Args:
        status: HTTP status.
        headers: the response's headers.
        content: the response's body.
        zone: the portal's time zone; its midnight ends a daily limit.
        now: aware time; default: the present.

    Source: HubSpot, "Error handling" and "API usage guidelines and limits".
    """
    body = _json_object(content)
    fields = body or {}
    problem = describe_failure(fields, status)
    if status in (423, 429, 477):
        policy = str(fields.get("policyName") or "").upper()
        return _wait(problem, headers, policy, zone, now or datetime.now(UTC))
    if body is None and status not in (*_NEEDS_OPERATOR, 413):
        # HubSpot answers in JSON, so this response comes from a proxy in between.
        return attrs.evolve(problem, kind=ProblemKind.UNAVAILABLE)
    if advice := _configuration_advice(status, content):
        return _wrong_configuration(problem, advice)
    kind = _kind(status, problem)
    if kind is ProblemKind.EXISTS and (_is_momentary(problem) or _is_foreign(content)):
        kind = ProblemKind.UNAVAILABLE
    return _check_setup(attrs.evolve(problem, kind=kind))


def _configuration_advice(status: int, content: bytes) -> str | None:
    """Return which settings to check, if a response says that one of them is wrong."""
    if is_page(status, content):
        return "the answer is not HubSpot's: is HubSpotSettings.base_url right, and the proxy?"
    if status in _WRONG_PATH:
        # Our paths name no records, so no conversion is at fault.
        return "check HubSpotSettings(api_version=…, base_url=…)"
    return None


def is_page(status: int, content: bytes) -> bool:
    """Return whether a refusal of access comes from a firewall instead of HubSpot.

    HubSpot answers in JSON. Only a 401 without a body needs no words.
    """
    if status not in _NEEDS_OPERATOR or (status == 401 and not content.strip()):
        return False
    return _json_object(content) is None


def read_item_error(error: Mapping[str, Any], *, names_input: bool = True) -> Problem:
    """Return the problem that one of the ``errors`` in a batch response describes.

    Args:
        error: the error.
        names_input: whether it names an input. If it does not, an unknown category may be about
            the request as a whole.
    """
    problem = describe_failure(error, None)
    kind = _kind_by_content(problem)
    if kind is ProblemKind.EXISTS and _is_momentary(problem):
        kind = ProblemKind.RETRY_LATER
    if kind is ProblemKind.INCONCLUSIVE and names_input:
        kind = ProblemKind.REJECTED
    retry_after = _LOCK_SECONDS if kind is ProblemKind.RETRY_LATER else None
    return _check_setup(attrs.evolve(problem, kind=kind, retry_after=retry_after))


def seconds_until_midnight(now: datetime, zone: tzinfo | None) -> float:
    """Return the seconds until the next midnight in *zone*; an hour if the zone is not known."""
    if zone is None:
        return _HOUR
    local = now.astimezone(zone)
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    # Through UTC: on the day of a clock change, local times are not 24 hours apart.
    return (midnight.astimezone(UTC) - now).total_seconds() + 1.0


def json_or_none(content: bytes) -> Any:
    """Return *content* parsed as JSON; None if it is not JSON."""
    try:
        return parse_reply(content)
    except ValueError:
        return None


def _kind(status: int, problem: Problem) -> ProblemKind:
    if status in _NEEDS_OPERATOR:
        return ProblemKind.NEEDS_OPERATOR
    if status == 409 and _says_that_it_exists(problem):
        return ProblemKind.EXISTS
    if status == 413:
        return ProblemKind.BATCH_REJECTED
    if status in (408, 409, 425) or status >= 500 or status < 400:
        return ProblemKind.UNAVAILABLE
    return _kind_by_content(problem)


def _says_that_it_exists(problem: Problem) -> bool:
    """Return whether a 409 names a record, or nothing else, such as a portal that is moved."""
    words = f"{problem.code or ''} {problem.unmasked}".strip()
    return not words or problem.record_id is not None or _names_record(words) is not None


def _is_momentary(problem: Problem) -> bool:
    """Return whether a conflict is one with another request, such as "conflict, please retry"."""
    return problem.record_id is None and _names_moment(problem.unmasked) is not None


def _is_foreign(content: bytes) -> bool:
    """Return whether *content* has none of HubSpot's fields, like the 409 of a gateway."""
    body = json_or_none(content)
    return not isinstance(body, dict) or bool(body and not _OWN_FIELDS.intersection(body))


def _kind_by_content(problem: Problem) -> ProblemKind:
    category = problem.code or ""
    if category in _KIND_BY_CATEGORY:
        return _KIND_BY_CATEGORY[category]
    if problem.property_name:
        return ProblemKind.REJECTED
    if _names_portal_limit(problem.message):
        return ProblemKind.NEEDS_OPERATOR
    if category in _ABOUT_INPUTS and not _names_request(problem.message):
        return ProblemKind.REJECTED
    about_access = _names_access(problem.message)
    return ProblemKind.NEEDS_OPERATOR if about_access else ProblemKind.INCONCLUSIVE


def _check_setup(problem: Problem) -> Problem:
    """Ask for an operator if the portal lacks a property that `HubSpotSink.setup` creates.

    Without it every conversion would be rejected.
    """
    name = problem.property_name or ""
    missing = problem.property_fault == PROPERTY_MISSING
    created_by_setup = name.lower().startswith("anytrack_")
    if problem.kind is not ProblemKind.REJECTED or not (missing and created_by_setup):
        return problem
    advice = f"create the deal property {name} with `anytrack setup hubspot`"
    return _wrong_configuration(problem, advice)


def _wrong_configuration(problem: Problem, advice: str) -> Problem:
    return attrs.evolve(
        problem, kind=ProblemKind.NEEDS_OPERATOR, cause="configuration", advice=advice
    )


def _wait(
    problem: Problem, headers: Mapping[str, str], policy: str, zone: tzinfo | None, now: datetime
) -> Problem:
    """Return *problem* with the seconds to wait: those that HubSpot asks for, within limits."""
    requested = parse_retry_after(headers)
    if problem.status == 423:  # another request has locked the records
        seconds = max(requested or 0.0, _LOCK_SECONDS)
        return attrs.evolve(problem, kind=ProblemKind.RETRY_LATER, retry_after=seconds)
    if problem.status == 477:  # the portal is being moved to another data centre
        seconds = min(requested or _HOUR, _DAY)
        return attrs.evolve(problem, kind=ProblemKind.THROTTLED, retry_after=seconds)
    if _is_daily(policy, headers):
        seconds = max(requested or 0.0, seconds_until_midnight(now, zone))
    else:
        seconds = requested or _rate_interval(headers)  # 0 would pause none of the token's requests
    return attrs.evolve(
        problem,
        kind=ProblemKind.THROTTLED,
        retry_after=min(seconds, _DAY),
        code=policy or problem.code,
    )


def _is_daily(policy: str, headers: Mapping[str, str]) -> bool:
    if policy:
        return policy == "DAILY"
    return rate_limit_header(headers, "Daily-Remaining") == 0


def _rate_interval(headers: Mapping[str, str]) -> float:
    milliseconds = rate_limit_header(headers, "Interval-Milliseconds")
    return milliseconds / 1000 if milliseconds else _RATE_INTERVAL


def _json_object(content: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object in *content*; None if it is not JSON, empty if it is no object."""
    try:
        body = parse_reply(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else {}
