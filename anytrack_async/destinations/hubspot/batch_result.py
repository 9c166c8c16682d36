"""What a batch response says about each input: matched by id, never by position. Without I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import orjson

from anytrack_async.destinations.hubspot.classify import read_item
from anytrack_async.destinations.hubspot.problem import Act, Problem, context_values, items

UNACCOUNTED = "UNACCOUNTED"
"""Our own code for an input that a response says nothing about."""

_ID = re.compile(".*", re.DOTALL)
_NUMBER = re.compile(r"[\d.:TZ-]*", re.ASCII)
_PLAIN = {
    "amount": _NUMBER,
    "anytrack_conversion_type": _ID,
    "closedate": _NUMBER,
    "deal_currency_code": re.compile("[A-Z]{3}"),
    "dealstage": _ID,
    "pipeline": _ID,
}
"""Properties whose values are no customer's, if they look it: the settings may say otherwise."""

_NAMES = ("objectwritetraceid", "objectwritetraceids", "id", "ids")


@attrs.define(kw_only=True)
class Accounts:
    """What became of each input, by its trace id.

    Attributes:
        ids: trace id → id of the record.
        problems: trace id → what went wrong.
    """

    ids: dict[str, str] = attrs.field(factory=dict)
    problems: dict[str, Problem] = attrs.field(factory=dict)

    def __contains__(self, trace: str) -> bool:
        return trace in self.ids or trace in self.problems


def account(inputs: Sequence[Mapping[str, Any]], body: Any) -> Accounts:
    """Return what *body* says about each of *inputs*.

    HubSpot answers in another order than asked, may lower-case keys, and to a body it does not
    understand says 200 with no results at all: an input that is in neither results nor errors has
    the problem that nothing is known about it.

    Source: HubSpot, CRM API, batch upsert, the answers 200 and 207.
    """
    known = _Index(inputs)
    accounts = Accounts()
    for result in items(body, "results"):
        trace = known.of_result(result)
        if trace is not None and result.get("id"):
            accounts.ids[trace] = str(result["id"])
    strays = _named(known, accounts, items(body, "errors"))
    traces = (one["objectWriteTraceId"] for one in inputs)
    lost = [trace for trace in traces if trace not in accounts]
    for trace in lost:
        accounts.problems[trace] = _unaccounted(inputs, lost, strays)
    return attrs.evolve(accounts, problems=_private(inputs, accounts.problems))


def blamed(inputs: Sequence[Mapping[str, Any]], problem: Problem, body: Any) -> dict[str, Problem]:
    """Return trace id → problem of those inputs that a refused batch failed for.

    Those that its errors name, or all that there are: a lone one, or every one of a locked batch.
    Empty where the problem is not an input's, or HubSpot does not say which one's.
    """
    problem = without_values(inputs, problem)
    if problem.act is Act.LATER:
        return {one["objectWriteTraceId"]: problem for one in inputs}
    if problem.act not in (Act.REJECT, Act.EXISTS, Act.SPLIT):
        return {}
    accounts = Accounts()
    _named(_Index(inputs), accounts, items(body, "errors"))
    if not accounts.problems and len(inputs) == 1:
        act = Act.REJECT if problem.act is Act.SPLIT else problem.act
        accounts.problems[inputs[0]["objectWriteTraceId"]] = attrs.evolve(problem, act=act)
    return _private(inputs, accounts.problems)


def without_values(inputs: Sequence[Mapping[str, Any]], problem: Problem) -> Problem:
    """Return *problem* without the values that *inputs* sent: they may be a customer's."""
    return problem.without(_values(*(one["properties"] for one in inputs)))


class _Index:
    """Finds the trace id of an input by what a response says of it."""

    def __init__(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        self.inputs = inputs
        self._traces = {one["objectWriteTraceId"] for one in inputs}
        self._keys = {one["id"]: one["objectWriteTraceId"] for one in inputs}
        self._property = inputs[0]["idProperty"] if inputs else ""

    def of_result(self, result: Mapping[str, Any]) -> str | None:
        trace = result.get("objectWriteTraceId")
        if isinstance(trace, str) and trace in self._traces:
            return trace
        properties = result.get("properties")
        key = properties.get(self._property) if isinstance(properties, Mapping) else None
        return self.of_key(key) if isinstance(key, str) else None

    def of_key(self, key: str) -> str | None:
        key = key.strip()
        return self._keys.get(key.lower() if self._property == "email" else key)

    def of_error(self, error: Mapping[str, Any]) -> list[str]:
        named = []
        for name in context_values(error, *_NAMES):
            trace = name if name in self._traces else self.of_key(name)
            if trace is not None:
                named.append(trace)
        return named


def _named(known: _Index, accounts: Accounts, errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Enter the errors that name an input, and return those that name none."""
    strays = []
    for error in errors:
        problem, traces = read_item(error), known.of_error(error)
        for trace in traces:
            if trace not in accounts:
                accounts.problems[trace] = problem
        if not traces:
            strays.append(without_values(known.inputs, problem))
    return strays


def _unaccounted(
    inputs: Sequence[Mapping[str, Any]], lost: list[str], strays: list[Problem]
) -> Problem:
    if strays and (len(lost) == 1 or strays[0].act is not Act.REJECT):
        return strays[0]
    if strays:
        return attrs.evolve(strays[0], act=Act.SPLIT)
    return Problem(
        act=Act.LATER,
        code=UNACCOUNTED,
        message=(
            f"HubSpot's response accounts for {len(inputs) - len(lost)} of {len(inputs)} inputs: "
            "this one is neither in its results nor in its errors"
        ),
    )


def _private(
    inputs: Sequence[Mapping[str, Any]], problems: Mapping[str, Problem]
) -> dict[str, Problem]:
    sent = {one["objectWriteTraceId"]: one["properties"] for one in inputs}
    return {trace: problem.without(_values(sent[trace])) for trace, problem in problems.items()}


def _values(*sent: Mapping[str, str]) -> Iterator[str]:
    given = (item for one in sent for item in one.items())
    return (value for name, value in given if not _is_plain(name, value))


def _is_plain(name: str, value: str) -> bool:
    return name in _PLAIN and _PLAIN[name].fullmatch(value) is not None


def json_of(content: bytes) -> Any:
    """Return *content* as JSON, None where it is not."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
