"""Read HubSpot's responses: the problem of a whole request, the result of each of its inputs.

Without I/O. A batch response names inputs by trace id, in any order, so inputs are matched by id
and never by position.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeAlias

import attrs

from anytrack_async.destinations.hubspot.problem import (
    PROPERTY_MISSING,
    Problem,
    ProblemKind,
    context_values,
    describe_failure,
    objects_in,
)
from anytrack_async.destinations.hubspot.rate_limit import rate_limit_header
from anytrack_async.transport.message import parse_json, parse_retry_after

Inputs: TypeAlias = Sequence[Mapping[str, Any]]
"""Inputs of a batch upsert, with different ids and trace ids (``objectWriteTraceId``)."""

UNACCOUNTED = "UNACCOUNTED"
"""Our own code for an input that a response says nothing about."""

_HOUR = 3600.0
_DAY = 86_400.0
_RATE_INTERVAL = 10.0
_LOCK_SECONDS = 2.0
_WRONG_PATH = (404, 405, 410, 415)
_NEEDS_OPERATOR = (401, 402, 403)

_ABOUT_INPUTS = frozenset(
    {
        *("VALIDATION_ERROR", "MISSING_REQUIRED_PROPERTY", "MISSING_CONDITIONAL_REQUIRED_PROPERTY"),
        *("INVALID_OPTION", "INVALID_NUMBER", "INVALID_DATE", "INVALID_EMAIL", "INVALID_LONG"),
        *("OBJECT_NOT_FOUND", PROPERTY_MISSING),
    }
)
"""Categories that say that an input is bad; any other may be about the request as a whole."""

_names_access = re.compile(
    r"(?i)\bscopes?\b|permission|not authori[sz]ed|unauthori[sz]ed|forbidden|access token"
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
    """Return the problem that a response outside 2xx describes; its body may be anything.

    Args:
        status: HTTP status.
        headers: the response's headers.
        content: the response's body.
        zone: the portal's time zone; its midnight ends a daily limit.
        now: aware time; default: the present.

    Source: HubSpot, "Error handling" and "API usage guidelines and limits".
    """
    body = _json_object(content)
    problem = describe_failure(body or {}, status)
    if status in (423, 429, 477):
        policy = str((body or {}).get("policyName") or "").upper()
        return _wait(problem, headers, policy, zone, now or datetime.now(UTC))
    if body is None and status not in (*_NEEDS_OPERATOR, 413):
        # HubSpot answers in JSON, so this response comes from a proxy in between.
        return attrs.evolve(problem, kind=ProblemKind.UNAVAILABLE)
    if is_page(status, content):
        advice = "the answer is not HubSpot's: is HubSpotSettings.base_url right, and the proxy?"
        return _wrong_configuration(problem, advice)
    if status in _WRONG_PATH:
        # Our paths name no records, so no conversion is at fault: a setting is wrong.
        advice = "check HubSpotSettings(api_version=…, base_url=…)"
        return _wrong_configuration(problem, advice)
    return _check_setup(attrs.evolve(problem, kind=_kind(status, problem)))


def is_page(status: int, content: bytes) -> bool:
    """Return whether a response that refuses access is not HubSpot's, but that of a firewall.

    HubSpot answers in JSON. Only a 401 without a body needs no words.
    """
    if status not in _NEEDS_OPERATOR or (status == 401 and not content.strip()):
        return False
    return _json_object(content) is None


def read_item_error(error: Mapping[str, Any]) -> Problem:
    """Return the problem that one of the ``errors`` in a batch response describes."""
    problem = describe_failure(error, None)
    kind = _KIND_BY_CATEGORY.get(problem.code or "", ProblemKind.REJECTED)
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
        return parse_json(content)
    except ValueError:
        return None


def _kind(status: int, problem: Problem) -> ProblemKind:
    if status in _NEEDS_OPERATOR:
        return ProblemKind.NEEDS_OPERATOR
    if status == 409:
        return ProblemKind.EXISTS
    if status == 413:
        return ProblemKind.BATCH_REJECTED
    if status in (408, 425) or status >= 500 or status < 400:
        return ProblemKind.UNAVAILABLE
    return _kind_by_content(problem)


def _kind_by_content(problem: Problem) -> ProblemKind:
    category = problem.code or ""
    if category in _KIND_BY_CATEGORY:
        return _KIND_BY_CATEGORY[category]
    if category in _ABOUT_INPUTS or problem.property_name:
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
        body = parse_json(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else {}


# Each input of a batch upsert
#
# An example: HubSpot answers a batch of the inputs e1, e2, e3 and e4 with 207 and
#
# - a result with the trace id e1: e1 is written;
# - an error with {"context": {"objectWriteTraceId": ["e2"]}}: it is the problem of e2;
# - an error that names no input. It may be about e3 or e4, so both get it as BATCH_REJECTED, and
#   the lane halves the batch until the bad input is alone. If e3 were the only one without a result
#   or an error of its own, it would simply be the problem of e3. And if the error is a temporary
#   one, such as INTERNAL_ERROR, both are sent again and nothing is halved.
#
# Without the last error, e3 and e4 would be UNACCOUNTED, and sent again.


@attrs.define(kw_only=True)
class BatchResult:
    """The success or the problem of each input of a batch.

    Attributes:
        record_ids: trace id → id of the record that was written.
        problems: trace id → problem of an input that was not written.
    """

    record_ids: dict[str, str] = attrs.field(factory=dict)
    problems: dict[str, Problem] = attrs.field(factory=dict)

    def __contains__(self, trace_id: str) -> bool:
        return trace_id in self.record_ids or trace_id in self.problems


def read_batch_result(inputs: Inputs, body: Any) -> BatchResult:
    """Return the result of each of *inputs*, from the *body* of a 2xx response.

    HubSpot may answer a request that it does not understand with 200 and no results at all. So an
    input that is in neither results nor errors has not succeeded: its problem is `UNACCOUNTED`.

    Source: HubSpot, CRM API, batch upsert, the responses 200 and 207.
    """
    index = _InputIndex(inputs)
    result = BatchResult()
    for record in objects_in(body, "results"):
        trace_id = index.find_record(record)
        if trace_id is not None and record.get("id"):
            result.record_ids[trace_id] = str(record["id"])
    unattributed_errors = _attribute(index, result, objects_in(body, "errors"))
    trace_ids = (item["objectWriteTraceId"] for item in inputs)
    missing = [trace_id for trace_id in trace_ids if trace_id not in result]
    if missing:
        problem = _problem_of_missing(len(inputs), len(missing), unattributed_errors)
        result.problems |= dict.fromkeys(missing, problem)
    return attrs.evolve(result, problems=_mask_own_values(inputs, result.problems))


def failed_inputs(inputs: Inputs, problem: Problem, body: Any) -> dict[str, Problem]:
    """Return trace id → problem of the inputs that made HubSpot refuse a batch.

    These are the inputs that the errors in *body* name; or all inputs, if there is only one or the
    records are locked. Empty if the problem is not about an input, or HubSpot does not say which.
    The problem of a single input stays INCONCLUSIVE if it need not be about the input.
    """
    problem = mask_values(inputs, problem)
    if problem.kind is ProblemKind.RETRY_LATER:
        return {item["objectWriteTraceId"]: problem for item in inputs}
    if problem.kind not in (
        ProblemKind.REJECTED,
        ProblemKind.EXISTS,
        ProblemKind.INCONCLUSIVE,
        ProblemKind.BATCH_REJECTED,
    ):
        return {}
    result = BatchResult()
    _attribute(_InputIndex(inputs), result, objects_in(body, "errors"))
    if not result.problems and len(inputs) == 1:
        too_large = problem.kind is ProblemKind.BATCH_REJECTED  # and cannot be halved
        kind = ProblemKind.INCONCLUSIVE if too_large else problem.kind
        result.problems[inputs[0]["objectWriteTraceId"]] = attrs.evolve(problem, kind=kind)
    return _mask_own_values(inputs, result.problems)


class _InputIndex:
    """Finds the trace id of an input: a response may name it by trace id, key or property."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self._trace_ids = {item["objectWriteTraceId"] for item in inputs}
        self._trace_id_by_key = {item["id"]: item["objectWriteTraceId"] for item in inputs}
        self._key_property = inputs[0]["idProperty"] if inputs else ""

    def find_record(self, record: Mapping[str, Any]) -> str | None:
        trace_id = record.get("objectWriteTraceId")
        if isinstance(trace_id, str) and trace_id in self._trace_ids:
            return trace_id
        properties = record.get("properties")
        key = properties.get(self._key_property) if isinstance(properties, Mapping) else None
        return self._find_key(key) if isinstance(key, str) else None

    def find_error(self, error: Mapping[str, Any]) -> list[str]:
        names = context_values(error, "objectwritetraceid", "objectwritetraceids", "id", "ids")
        trace_ids = (name if name in self._trace_ids else self._find_key(name) for name in names)
        return [trace_id for trace_id in trace_ids if trace_id is not None]

    def _find_key(self, key: str) -> str | None:
        key = key.strip()
        # HubSpot stores e-mail addresses in lower case, which is how they are sent.
        return self._trace_id_by_key.get(key.lower() if self._key_property == "email" else key)


def _attribute(
    index: _InputIndex, result: BatchResult, errors: Iterable[Mapping[str, Any]]
) -> list[Problem]:
    """Record the errors that name an input, and return the others."""
    unattributed = []
    for error in errors:
        problem, trace_ids = read_item_error(error), index.find_error(error)
        for trace_id in trace_ids:
            if trace_id not in result:
                result.problems[trace_id] = problem
        if not trace_ids:
            unattributed.append(mask_values(index.inputs, problem))
    return unattributed


def _problem_of_missing(total: int, missing: int, unattributed: Sequence[Problem]) -> Problem:
    """Return the problem of each input that is in neither results nor errors."""
    if not unattributed:
        return Problem(
            kind=ProblemKind.RETRY_LATER,
            code=UNACCOUNTED,
            message=(
                f"HubSpot's response accounts for {total - missing} of {total} inputs: "
                "this input is in neither its results nor its errors"
            ),
        )
    problem = unattributed[0]
    if missing == 1 or problem.kind is not ProblemKind.REJECTED:
        return problem
    return attrs.evolve(problem, kind=ProblemKind.BATCH_REJECTED)


# Privacy: HubSpot quotes the values that it refuses

_ANY = re.compile(".*", re.DOTALL)
_NUMBER_OR_TIME = re.compile(r"[\d.:TZ-]*", re.ASCII)
_HARMLESS_VALUES = {
    "amount": _NUMBER_OR_TIME,
    "anytrack_conversion_type": _ANY,
    "closedate": _NUMBER_OR_TIME,
    "deal_currency_code": re.compile("[A-Z]{3}"),
    "dealstage": _ANY,
    "pipeline": _ANY,
}
"""Property → pattern of the values that identify no customer and may be quoted.

Any other value is masked, in these properties too: the settings can put a customer's name into any
property.
"""


def mask_values(inputs: Inputs, problem: Problem) -> Problem:
    """Return *problem* with the values of *inputs* masked: they may be customer data."""
    return problem.masked(_sensitive_values(*(item["properties"] for item in inputs)))


def _mask_own_values(inputs: Inputs, problems: Mapping[str, Problem]) -> dict[str, Problem]:
    properties = {item["objectWriteTraceId"]: item["properties"] for item in inputs}
    return {
        trace_id: problem.masked(_sensitive_values(properties[trace_id]))
        for trace_id, problem in problems.items()
    }


def _sensitive_values(*inputs_properties: Mapping[str, str]) -> Iterator[str]:
    for properties in inputs_properties:
        for name, value in properties.items():
            harmless = _HARMLESS_VALUES.get(name)
            if harmless is None or not harmless.fullmatch(value):
                yield value
