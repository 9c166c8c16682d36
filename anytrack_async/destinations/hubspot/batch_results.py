"""Reads HubSpot's answer to a batch upsert: success or problem of each input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from anytrack_async.destinations.hubspot.problem import (
    Problem,
    ProblemKind,
    context_values,
    objects_in,
)
from anytrack_async.destinations.hubspot.responses import read_item_error

Inputs: TypeAlias = Sequence[Mapping[str, Any]]
"""Inputs of a batch upsert, with different ids and trace ids (``objectWriteTraceId``)."""

UNACCOUNTED = "UNACCOUNTED"
"""Our own code for an input that a response says nothing about."""

_FOREIGN = Problem(
    kind=ProblemKind.UNAVAILABLE, code=UNACCOUNTED, message="the response has no 'results'"
)

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

    HubSpot may answer a request that it does not understand with 200 and without results. So an
    input that is in neither results nor errors has not succeeded: its problem is `UNACCOUNTED`.

    Source: HubSpot, CRM API, batch upsert, the responses 200 and 207.
    """
    index = _InputIndex(inputs)
    result = BatchResult(record_ids=_record_ids(index, body))
    unattributed_errors = _attribute(index, result, objects_in(body, "errors"))
    if len(result.record_ids) == len(inputs) and not result.problems:  # nearly always
        return result
    trace_ids = (item["objectWriteTraceId"] for item in inputs)
    if missing := [trace_id for trace_id in trace_ids if trace_id not in result]:
        problem = _FOREIGN  # of a proxy's login page, for example: then no attempt counts
        if _is_batch_response(body):
            problem = _problem_of_missing(len(inputs), len(missing), unattributed_errors)
        result.problems |= dict.fromkeys(missing, problem)
    return attrs.evolve(result, problems=_mask_own_values(inputs, result.problems))


def _record_ids(index: _InputIndex, body: Any) -> dict[str, str]:
    """Return trace id → id of each record in the results of *body*."""
    record_ids = {}
    for record in objects_in(body, "results"):
        trace_id = index.find_record(record)
        if trace_id is not None and (record_id := record.get("id")):
            record_ids[trace_id] = str(record_id)
    return record_ids


def _is_batch_response(body: Any) -> bool:
    return isinstance(body, Mapping) and ("results" in body or "errors" in body)


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
        trace_ids = index.find_error(error)
        problem = read_item_error(error, names_input=bool(trace_ids))
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
    is_about_input = problem.kind in (ProblemKind.REJECTED, ProblemKind.INCONCLUSIVE)
    if not is_about_input or total == missing == 1:
        return problem  # of a single input, no other shows that only this one is refused
    kind = ProblemKind.REJECTED if missing == 1 else ProblemKind.BATCH_REJECTED
    return attrs.evolve(problem, kind=kind)


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
