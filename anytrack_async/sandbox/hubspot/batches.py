"""Writing records in batches: upsert, create and update.

Source: HubSpot: CRM objects, batch upsert and batch create; error handling, multi-status errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from anytrack_async.sandbox.hubspot.errors import invalid
from anytrack_async.sandbox.hubspot.plans import Input, Mode, Plan, parse, plan
from anytrack_async.sandbox.hubspot.records import Record, Table
from anytrack_async.sandbox.hubspot.values import normalised

MAX_INPUTS = 100


@attrs.frozen(kw_only=True)
class Written:
    """One input that was written."""

    plan: Plan
    record: Record

    @property
    def new(self) -> bool:
        """Whether the record was created."""
        return self.plan.number is None

    def wire(self, *, echo: bool) -> dict[str, Any]:
        """Return the result; with *echo*, with the input's trace id."""
        trace = self.plan.input.trace
        result = {**self.record.wire(), "new": self.new}
        return {**result, "objectWriteTraceId": trace} if echo and trace else result


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a batch."""

    written: list[Written]
    refused: list[Plan]

    def errors(self) -> list[dict[str, Any]]:
        """Return the entries of the answer's `errors`."""
        return [
            p.error.item(**({"objectWriteTraceId": [p.input.trace]} if p.input.trace else {}))
            for p in self.refused
            if p.error
        ]


def inputs_of(data: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the inputs of a batch; leaving them out is as good as an empty list.

    Raises:
        HubSpotError: they are no list of objects, or too many.
    """
    inputs = data.get("inputs") or []
    if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
        raise invalid("Invalid input JSON: `inputs` must be an array of objects", reason="INPUTS")
    if len(inputs) > MAX_INPUTS:
        raise invalid(
            f"The maximum number of inputs supported in a batch request for '{kind}' is "
            f"{MAX_INPUTS}. Received {len(inputs)}.",
            reason="TOO_MANY_INPUTS",
        )
    return inputs


def write(table: Table, data: dict[str, Any], *, mode: Mode) -> Outcome:
    """Write a batch to *table*: all good inputs, if every input has a trace id; else all or none.

    Raises:
        HubSpotError: nothing was written.
    """
    given = [parse(item, mode=mode) for item in inputs_of(data, table.kind)]
    _check_keys(table, given)
    plans = [plan(table, item, mode=mode) for item in given]
    refused = [p for p in plans if p.error]
    if not all(p.input.trace for p in plans):
        for error in (p.error for p in refused if p.error):
            raise error
    return Outcome(written=[put(table, p) for p in plans if not p.error], refused=refused)


def put(table: Table, ready: Plan) -> Written:
    """Carry *ready* out."""
    return Written(plan=ready, record=table.put(ready.number, ready.values))


def _check_keys(table: Table, given: list[Input]) -> None:
    for item in given:
        key = item.id_property
        if key and key != "hs_object_id" and key not in table.schema.unique:
            raise invalid(
                f"Property '{key}' is not a unique identifier of {table.kind}",
                reason="ID_PROPERTY",
                propertyName=[key],
            )
    keys = Counter(normalised(item.id_property or "", item.id) for item in given if item.id)
    repeated = [key for key, times in keys.items() if times > 1]
    if repeated:
        raise invalid(
            f"Duplicate IDs found in batch input: [{', '.join(repeated)}]. IDs must be unique",
            reason="DUPLICATE_IDS",
            ids=repeated,
        )


def envelope(
    results: list[dict[str, Any]], errors: list[dict[str, Any]], now: Callable[[], str]
) -> dict[str, Any]:
    """Return the body of an answer to a batch."""
    body = {"status": "COMPLETE", "results": results, "startedAt": now(), "completedAt": now()}
    return body if not errors else {**body, "numErrors": len(errors), "errors": errors}
