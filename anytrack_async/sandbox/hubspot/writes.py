"""Writing deals and contacts, one by one and in batches, and accepting custom events.

Source: HubSpot: CRM objects, deals and contacts; batch upsert and batch create; send event
completions.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import attrs

from anytrack_async.sandbox.hubspot.messages import (
    Call,
    HubSpotError,
    Problem,
    batch_body,
    batch_inputs,
    invalid,
    invalid_values,
    objects_in,
)
from anytrack_async.sandbox.hubspot.portal import (
    ASSOCIATION_TYPE_IDS,
    OTHER_KIND,
    SINGULAR,
    Portal,
    Record,
    Table,
)
from anytrack_async.sandbox.hubspot.validation import find_problems, normalise
from anytrack_async.sandbox.request import NO_CONTENT, Reply, json_reply

Mode = Literal["upsert", "create", "update"]

EVENT_ID = "anytrack_event_id"
MAX_EVENTS = 500


@attrs.frozen(kw_only=True)
class Input:
    """One input of a write; its id is empty for a create."""

    id: str
    id_property: str | None
    values: dict[str, str]
    trace_id: str | None
    associations: list[dict[str, Any]]


@attrs.frozen(kw_only=True)
class Plan:
    """The planned write of one input.

    Attributes:
        input: the input.
        number: the record to change, or None to create one.
        values: property values to write.
        error: the reason why it may not be written, if any.
    """

    input: Input
    number: int | None = None
    values: dict[str, str] = attrs.field(factory=dict)
    error: HubSpotError | None = None


@attrs.frozen(kw_only=True)
class WrittenRecord:
    """The record that a plan wrote."""

    plan: Plan
    record: Record

    @property
    def new(self) -> bool:
        """Whether the record was created."""
        return self.plan.number is None

    def as_json(self, *, echo: bool) -> dict[str, Any]:
        """Return the result; with *echo* it repeats the input's trace id."""
        trace_id = self.plan.input.trace_id
        result = {**self.record.as_json(), "new": self.new}
        return {**result, "objectWriteTraceId": trace_id} if echo and trace_id else result


# Requests


def write_batch(portal: Portal, call: Call, table: Table, mode: Mode) -> Reply:
    """`POST …/batch/{upsert,create,update}`."""
    plans = _plan_batch(table, call.data, mode=mode)
    written = [_write(table, plan) for plan in plans if not plan.error]
    errors = _batch_errors(portal, plans)
    # An update cannot add a deal or contact, so the ledger does not count it.
    if mode != "update":
        for result in written:
            _record_in_ledger(portal, table, result)
    echo = portal.echoes_trace_ids()
    results = portal.shuffle([result.as_json(echo=echo) for result in written])
    status = 207 if errors else 201 if mode == "create" else 200
    return json_reply(status, batch_body(results, errors, portal.now))


def _batch_errors(portal: Portal, plans: list[Plan]) -> list[dict[str, Any]]:
    errors = []
    for plan in plans:
        if plan.error:
            portal.count_rejection(plan.error)
            trace_id = plan.input.trace_id
            context = {"objectWriteTraceId": [trace_id]} if trace_id else {}
            errors.append(plan.error.as_batch_error(**context))
    return errors


def create(portal: Portal, call: Call, table: Table) -> Reply:
    """`POST /crm/objects/{type}`."""
    plan = _plan(table, _parse_input(call.data, mode="create"), mode="create")
    written = _write(table, plan)
    _record_in_ledger(portal, table, written)
    return json_reply(201, written.record.as_json())


def update(call: Call, table: Table, id_: str) -> Reply:
    """`PATCH /crm/objects/{type}/{id}`."""
    data = {**call.data, "id": id_, "idProperty": call.param("idProperty")}
    plan = _plan(table, _parse_input(data, mode="update"), mode="update")
    return json_reply(200, _write(table, plan).record.as_json())


def send_events(portal: Portal, call: Call, *, batch: bool) -> Reply:
    """`POST /events/…/send` and `…/send/batch`: custom (behavioural) events.

    A reply has no body. An event with a `uuid` that was accepted before is dropped.

    Raises:
        HubSpotError: an event has no name or no contact; none was accepted.
    """
    events = call.data.get("inputs") if batch else [call.data]
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise invalid(f"`inputs` must be an array of at most {MAX_EVENTS} events", reason="INPUTS")
    # All are checked first: one invalid event rejects the whole request.
    for event in events:
        _check_event(event)
    for event in events:
        uuid = str(event.get("uuid") or "")
        if uuid not in portal.event_uuids:
            portal.ledger.extra["events"] += 1
        if uuid:
            portal.event_uuids.add(uuid)
    return Reply(NO_CONTENT)


def _check_event(event: Any) -> None:
    if not isinstance(event, dict) or not event.get("eventName"):
        raise invalid("Some required fields were not set: [eventName]", reason="EVENT_NAME")
    if not any(event.get(name) for name in ("email", "utk", "objectId")):
        raise invalid("One of email, utk or objectId is required", reason="EVENT_OBJECT")


def _record_in_ledger(portal: Portal, table: Table, written: WrittenRecord) -> None:
    if table.kind == "contacts":
        portal.ledger.extra["contacts"] = len(table)
    else:
        portal.ledger.accept(written.record.values.get(EVENT_ID), new=written.new)
    for association in written.plan.input.associations:
        _associate(portal, table, written.record.number, association)


def _associate(portal: Portal, table: Table, number: int, association: dict[str, Any]) -> None:
    """Associate a new record as its input asks; an unknown record or type is ignored."""
    other = portal.tables[OTHER_KIND[table.kind]]
    type_ids = [type_.get("associationTypeId") for type_ in objects_in(association.get("types"))]
    target = association.get("to")
    target_number = other.find(str(target.get("id")), None) if isinstance(target, dict) else None
    if ASSOCIATION_TYPE_IDS[table.kind, other.kind] in type_ids and target_number is not None:
        portal.associate(table.kind, number, target_number)


# Plans


def _plan_batch(table: Table, data: dict[str, Any], *, mode: Mode) -> list[Plan]:
    """Return a plan for each input of a batch.

    With a trace id on every input, HubSpot writes the valid inputs and names the others. Without
    it, one invalid input rejects the whole batch.

    Raises:
        HubSpotError: nothing may be written.
    """
    inputs = [_parse_input(item, mode=mode) for item in batch_inputs(data, table.kind)]
    _check_id_properties(table, inputs)
    _check_no_duplicates(inputs)
    plans = [_plan(table, input_, mode=mode) for input_ in inputs]
    if not all(input_.trace_id for input_ in inputs):
        for plan in plans:
            if plan.error:
                raise plan.error
    return plans


def _check_id_properties(table: Table, inputs: list[Input]) -> None:
    for input_ in inputs:
        name = input_.id_property
        if name and name != "hs_object_id" and name not in table.schema.unique:
            raise invalid(
                f"Property '{name}' is not a unique identifier of {table.kind}",
                reason="ID_PROPERTY",
                propertyName=[name],
            )


def _check_no_duplicates(inputs: list[Input]) -> None:
    # Normalised first: A@example.com and a@example.com are the same contact.
    keys = Counter(normalise(item.id_property or "", item.id) for item in inputs if item.id)
    repeated = [key for key, times in keys.items() if times > 1]
    if repeated:
        raise invalid(
            f"Duplicate IDs found in batch input: [{', '.join(repeated)}]. IDs must be unique",
            reason="DUPLICATE_IDS",
            ids=repeated,
        )


def _parse_input(data: dict[str, Any], *, mode: Mode) -> Input:
    """Return one input.

    Raises:
        HubSpotError: its form is wrong, which rejects the whole request.
    """
    values, id_ = data.get("properties"), data.get("id")
    if not isinstance(values, dict):
        raise invalid("Invalid input JSON: `properties` must be an object", reason="PROPERTIES")
    for name, value in values.items():
        if not isinstance(value, str):
            raise invalid(
                f"Invalid input JSON: the value of property '{name}' must be a string",
                reason="VALUE_NOT_A_STRING",
                propertyName=[name],
            )
    if mode != "create" and (not isinstance(id_, str) or not id_):
        raise invalid("Invalid input JSON: `id` is required", reason="ID")
    return Input(
        id="" if mode == "create" else str(id_),
        id_property=data.get("idProperty"),
        values={name: normalise(name, value) for name, value in values.items()},
        trace_id=data.get("objectWriteTraceId"),
        # An upsert has no such field: HubSpot ignores it without an error.
        associations=objects_in(data.get("associations")) if mode == "create" else [],
    )


def _plan(table: Table, input_: Input, *, mode: Mode) -> Plan:
    by_record_id = input_.id_property in (None, "", "hs_object_id")
    number = None if mode == "create" else table.find(input_.id, input_.id_property)
    # An upsert by record id cannot create a record: HubSpot chooses the ids.
    if number is None and (mode == "update" or (mode == "upsert" and by_record_id)):
        message = f"Could not find the {SINGULAR[table.kind]} {input_.id}"
        missing = HubSpotError(status=404, category="OBJECT_NOT_FOUND", message=message)
        return Plan(input=input_, error=missing)
    values = input_.values
    # The key of an upsert is a property as well: a new deal gets its `anytrack_event_id` from it.
    if mode == "upsert" and not by_record_id:
        key = str(input_.id_property)
        values = {key: normalise(key, input_.id), **values}
    problems = _problems(table, number, values)
    error = invalid_values(problems, SINGULAR[table.kind]) if problems else None
    return Plan(input=input_, number=number, values=values, error=error)


def _problems(table: Table, number: int | None, values: dict[str, str]) -> list[Problem]:
    old = None if number is None else table.get(number)
    # A record too old to be kept still exists: its values are unknown, not missing.
    stored = None if number is None else (old.values if old else {})
    problems = find_problems(table.schema, table.kind, values, stored)
    return [*_conflicts(table, number, values), *problems]


def _conflicts(table: Table, number: int | None, values: dict[str, str]) -> list[Problem]:
    conflicts = []
    for name in table.schema.unique:
        owner = table.find(values[name], name) if values.get(name) else None
        if owner is not None and owner != number:
            conflicts.append(_conflict(name, values[name], owner))
    return conflicts


def _conflict(name: str, value: str, owner: int) -> Problem:
    if name == "email":
        message = f"Contact already exists. Existing ID: {owner}"
        return Problem(code="CONFLICT", message=message, name=name, category="CONFLICT")
    message = f"{value} already belongs to {owner}"
    return Problem(code="CONFLICTING_UNIQUE_VALUE", message=message, name=name)


def _write(table: Table, plan: Plan) -> WrittenRecord:
    """Carry out *plan*.

    Raises:
        HubSpotError: the plan has an error.
    """
    if plan.error:
        raise plan.error
    return WrittenRecord(plan=plan, record=table.put(plan.number, plan.values))
