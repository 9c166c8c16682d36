"""`Problem`: a failure as HubSpot describes it, safe to show, and its consequence.

A problem becomes the outcome of one conversion, the signal for a batch, or the error that setup and
check raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any

import attrs
import orjson

from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    SinkSignal,
    Throttled,
    Unavailable,
)
from anytrack_async.errors import (
    CredentialsError,
    RateLimitedError,
    RejectedError,
    ServerError,
    ServiceError,
)
from anytrack_async.events import OperatorCause
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.errors import redact, safe_text

SERVICE = "hubspot"

PROPERTY_MISSING = "PROPERTY_DOESNT_EXIST"
"""HubSpot's code for a property that the portal does not have."""

_SCOPE = re.compile(r"[A-Za-z][\w.-]+")
_EXISTING_ID = re.compile(r"(?i)\bexisting (?:\w+ )?id:?\s*(\d+)")
_CORRELATION_ID = re.compile(r"[\w-]{1,64}")
_OUR_PROPERTY_IS_MISSING = re.compile(r"(?i)\b(anytrack_\w+)\b.*\b(?:exist|unique)")
_MOST_DETAILS = 6
_MOST_SCOPES = 8
_MOST_OBJECTS = 500  # that are looked at in a list: a request has at most 100 inputs
_LONGEST_MESSAGE = 400


class ProblemKind(Enum):
    """The consequence of a problem for the conversions that met it."""

    REJECTED = "rejected"
    """Permanent: sending them again will not help."""
    EXISTS = "exists"
    """HubSpot already has the record."""
    NEEDS_OPERATOR = "needs operator"
    """Credentials or configuration are wrong, see `Problem.cause`; no conversion is given up."""
    THROTTLED = "throttled"
    """A limit is reached: the lane pauses for `Problem.retry_after` seconds."""
    RETRY_LATER = "retry later"
    """These inputs may succeed after `Problem.retry_after` seconds; others are not affected."""
    UNAVAILABLE = "unavailable"
    """HubSpot failed or did not answer."""
    INCONCLUSIVE = "inconclusive"
    """An input may be bad, or HubSpot may refuse every input: only a split can tell."""
    BATCH_REJECTED = "batch rejected"
    """The batch is too large, or one input is bad and HubSpot does not say which."""


@attrs.frozen(kw_only=True)
class Problem:
    """A failure as HubSpot describes it, and its consequence.

    Attributes:
        kind: its consequence for the conversions.
        cause: credentials or configuration, if `kind` is NEEDS_OPERATOR.
        message: HubSpot's message, with customer data masked.
        unmasked: the message before masking, for `masked`; never to be shown.
        advice: the action for the operator.
        code: HubSpot's category or policy.
        retry_after: seconds to wait.
        status: HTTP status.
        request_id: HubSpot's correlation id.
        record_id: id of the record that exists already.
        property_name: the deal or contact property that the problem is about, if it names one.
        property_fault: HubSpot's code for that property's fault, e.g. `PROPERTY_MISSING`.
    """

    kind: ProblemKind
    cause: OperatorCause = "credentials"
    message: str
    unmasked: str = attrs.field(default="", repr=False)
    advice: str = ""
    code: str | None = None
    retry_after: float | None = None
    status: int | None = None
    request_id: str | None = None
    record_id: str | None = None
    property_name: str | None = None
    property_fault: str | None = None

    def masked(self, values: Iterable[str]) -> Problem:
        """Return the problem with *values* masked too: HubSpot may quote the values it was sent."""
        if not self.unmasked:  # the message is this library's own
            return self
        # Mask these before the general patterns do. Those could cut "Jane 12345678 Doe" in two by
        # masking the number, and neither half would be recognised as a value that was sent.
        return attrs.evolve(self, message=_safe_message(redact(self.unmasked, values), self.status))

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        request_id = f" (correlation id {self.request_id})" if self.request_id else ""
        return f"{self.message}{advice}{request_id}"


class HubSpotError(Exception):
    """A request was refused, or got no usable response. Internal: it never leaves this folder.

    Attributes:
        problem: the reason.
        content: the response's body; empty without a response.
    """

    def __init__(self, problem: Problem, content: bytes = b"") -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.content = content


# From a problem to an outcome, a signal or an error


def to_outcome(problem: Problem) -> Outcome:
    """Return the outcome of one conversion that met *problem*."""
    reason, code, status = str(problem), problem.code, problem.status
    match problem.kind:
        case ProblemKind.EXISTS:
            return Outcome.delivered(problem.record_id)
        case ProblemKind.REJECTED | ProblemKind.BATCH_REJECTED:
            return Outcome.rejected(reason, code=code, http_status=status)
        case _:
            after = problem.retry_after
            return Outcome.retry(reason, code=code, after=after, http_status=status)


def to_signal(problem: Problem, *, alone: bool = False) -> SinkSignal:
    """Return the signal for a batch that met *problem*.

    Args:
        problem: the problem.
        alone: whether a single conversion met it, so that the batch cannot be split.
    """
    signal = _signal_of(problem, alone=alone)
    signal.http_status = problem.status
    return signal


def _signal_of(problem: Problem, *, alone: bool) -> SinkSignal:
    reason, code = str(problem), problem.code
    match problem.kind:
        case ProblemKind.THROTTLED:
            return Throttled(reason, after=problem.retry_after or 0.0, code=code)
        case ProblemKind.NEEDS_OPERATOR:
            return NeedsOperator(reason, cause=problem.cause, code=code)
        case ProblemKind.INCONCLUSIVE | ProblemKind.BATCH_REJECTED if alone:
            return Inconclusive(reason, code=code)
        case ProblemKind.RETRY_LATER | ProblemKind.UNAVAILABLE:
            return Unavailable(reason, code=code)
    return BatchRejected(reason, code=code)


_ERRORS: Mapping[ProblemKind, type[ServiceError]] = {
    ProblemKind.NEEDS_OPERATOR: CredentialsError,
    ProblemKind.THROTTLED: RateLimitedError,
    ProblemKind.RETRY_LATER: ServerError,
    ProblemKind.UNAVAILABLE: ServerError,
}


def to_error(problem: Problem) -> ServiceError:
    """Return the error that setup and check raise for *problem*."""
    error = _ERRORS.get(problem.kind, RejectedError)
    if problem.cause == "configuration":
        error = RejectedError
    return error(
        f"{problem.message}; {problem.advice}" if problem.advice else problem.message,
        service=SERVICE,
        status=problem.status,
        code=problem.code,
        request_id=problem.request_id,
        retry_after=problem.retry_after,
    )


_FOR_THE_LANE = frozenset(
    {
        ProblemKind.NEEDS_OPERATOR,
        ProblemKind.BATCH_REJECTED,
        ProblemKind.INCONCLUSIVE,
        ProblemKind.THROTTLED,
        ProblemKind.UNAVAILABLE,
    }
)
"""Problems that decide nothing about a conversion: the lane gets a signal and decides."""


@attrs.define(kw_only=True)
class BatchOutcomes:
    """Collects one outcome for every conversion of a batch.

    Attributes:
        conversions: the batch.
        by_event_id: event id → outcome.
        for_lane: problems that the lane has to decide about.
    """

    conversions: Sequence[Conversion]
    by_event_id: dict[str, Outcome] = attrs.field(factory=dict)
    for_lane: list[Problem] = attrs.field(factory=list)

    def record_problem(self, event_id: str, problem: Problem) -> None:
        """Record that a conversion met *problem*."""
        if problem.kind in _FOR_THE_LANE:
            self.by_event_id.pop(event_id, None)
            self.for_lane.append(problem)
        else:
            self.by_event_id[event_id] = to_outcome(problem)

    def record_mapping_failure(self, event_id: str, exc: Exception) -> None:
        """Record that a function of the settings raised *exc* for a conversion."""
        # The exception's type only: its message may quote the conversion.
        reason = f"a function of the settings failed ({type(exc).__name__})"
        self.by_event_id[event_id] = Outcome.rejected(reason, code="MAPPING_FAILED")

    def signal(self, problem: Problem) -> SinkSignal:
        """Return the signal for *problem*, with the outcomes recorded so far.

        `BatchRejected` goes without them: the lane sends both halves in full, and repeating a write
        changes nothing.
        """
        outcomes = [self.by_event_id.get(conversion.event_id) for conversion in self.conversions]
        signal = to_signal(problem, alone=outcomes.count(None) == 1)
        if any(outcomes) and not isinstance(signal, BatchRejected):
            signal.outcomes = outcomes
        return signal

    def in_order(self) -> list[Outcome]:
        """Return one outcome per conversion, in the batch's order.

        Raises:
            SinkSignal: the lane has to decide about some. A problem that needs an operator comes
                first: halving the batch would not help.
        """
        if self.for_lane:
            needs_operator = ProblemKind.NEEDS_OPERATOR
            urgent = (problem for problem in self.for_lane if problem.kind is needs_operator)
            raise self.signal(next(urgent, self.for_lane[0]))
        return [self.by_event_id[conversion.event_id] for conversion in self.conversions]


# Reading HubSpot's messages


def describe_failure(body: Mapping[str, Any], status: int | None) -> Problem:
    """Return the failure that *body* describes, as REJECTED: the caller decides its kind.

    Args:
        body: a response's body, or one of the ``errors`` in a batch response.
        status: HTTP status, None for one of the ``errors``.
    """
    message, faults = _split_faults(_text(body.get("message")))
    details = [*faults, *objects_in(body, "errors")]
    detail_code = _first_text(details, "code")
    code = _first_text([body], "category", "subCategory") or detail_code
    # If a property that identifies records is missing, only the message says so.
    missing = _OUR_PROPERTY_IS_MISSING.search(message)
    property_name = next(context_values(body, "propertyname"), None) or _first_text(faults, "name")
    unmasked = _join_messages(message, details, body)
    return Problem(
        kind=ProblemKind.REJECTED,
        message=_safe_message(unmasked, status),
        unmasked=unmasked,
        code=safe_text(code) or None,
        status=status,
        request_id=_correlation_id(body),
        record_id=_existing_id(message, body),
        property_name=property_name or (missing and missing[1]),
        property_fault=detail_code or (missing and PROPERTY_MISSING),
    )


def context_values(body: Mapping[str, Any], *keys: str) -> Iterator[str]:
    """Yield every value under one of *keys* in the ``context`` of *body* or of its errors."""
    for context in _contexts(body):
        if isinstance(context, Mapping):
            for key, value in context.items():
                if str(key).lower() in keys:
                    values = value if isinstance(value, list) else [value]
                    yield from (str(item) for item in values if isinstance(item, str | int))


def objects_in(body: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list *name* of *body*; empty if there is no such list."""
    values = body.get(name) if isinstance(body, Mapping) else None
    if not isinstance(values, list):
        return []
    return [item for item in values[:_MOST_OBJECTS] if isinstance(item, dict)]


def _split_faults(message: str) -> tuple[str, list[dict[str, str]]]:
    """Return the text of *message* and the faults that it contains as JSON.

    ``Property values were not valid: [{"name": "amount", "error": "INVALID_NUMBER", …}]`` becomes
    ``Property values were not valid`` and ``[{"name": "amount", "code": "INVALID_NUMBER", …}]``:
    faults in the form of the ``errors`` in a body, with a ``name`` in addition.
    """
    text, bracket, json = message.partition("[{")
    try:
        faults = orjson.loads(bracket + json)
    except orjson.JSONDecodeError:
        return message, []
    return text.rstrip(" :"), [
        {
            "name": (name := _text(fault.get("name"))),
            "message": f"{name}: {_text(fault.get('message'))}",
            "code": _text(fault.get("error")),
        }
        for fault in faults
        if isinstance(fault, dict)
    ]


def _join_messages(message: str, details: list[Mapping[str, Any]], body: Mapping[str, Any]) -> str:
    # The details often repeat the message: only new ones are added.
    for detail in details[:_MOST_DETAILS]:
        reason, code = _text(detail.get("message")), _text(detail.get("code"))
        if reason not in message:
            message += f" {reason}"
        if code not in message:
            message += f" [{code}]"
    if scopes := sorted(set(_scopes(body))):
        message += " scopes: " + ", ".join(scopes[:_MOST_SCOPES])
    return message.strip()


def _safe_message(unmasked: str, status: int | None) -> str:
    return safe_text(unmasked, max_length=_LONGEST_MESSAGE) or _status_phrase(status)


def _status_phrase(status: int | None) -> str:
    if status is None:
        return "refused without a reason"
    try:
        advice = "; redirects are not followed, check base_url" if 300 <= status < 400 else ""
        return f"answered {status} {HTTPStatus(status).phrase}{advice}"
    except ValueError:
        return f"answered {status}"


def _correlation_id(body: Mapping[str, Any]) -> str | None:
    value = _text(body.get("correlationId"))
    return value if _CORRELATION_ID.fullmatch(value) else None


def _existing_id(message: str, body: Mapping[str, Any]) -> str | None:
    match = _EXISTING_ID.search(message)
    return match[1] if match else next(context_values(body, "existingid", "existingobjectid"), None)


def _scopes(body: Mapping[str, Any]) -> Iterator[str]:
    for context in _contexts(body):
        # HubSpot also sends the text "{missingScopes=[one, two]}".
        if isinstance(context, str) and "cope" in context:
            yield from _SCOPE.findall(context.partition("[")[2].partition("]")[0])
    yield from context_values(
        body, "requiredgranularscopes", "requiredscopes", "missingscopes", "scopes"
    )


def _contexts(body: Mapping[str, Any]) -> Iterator[Any]:
    yield body.get("context")
    for error in objects_in(body, "errors"):
        yield error.get("context")


def _first_text(objects: Iterable[Mapping[str, Any]], *keys: str) -> str:
    """Return the first non-empty text under one of *keys*; ``""`` if there is none."""
    texts = (_text(item.get(key)) for item in objects for key in keys)
    return next(filter(None, texts), "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
