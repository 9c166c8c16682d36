"""What one input of a batch asks for, and what will come of it."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from anytrack_async.sandbox.hubspot.call import objects
from anytrack_async.sandbox.hubspot.errors import HubSpotError, Problem, invalid, refusal
from anytrack_async.sandbox.hubspot.records import Table
from anytrack_async.sandbox.hubspot.values import normalised, problems

Mode = Literal["upsert", "create", "update"]

SINGULAR = {"deals": "DEAL", "contacts": "CONTACT"}


@attrs.frozen(kw_only=True)
class Input:
    """One input; its id is empty for a create."""

    id: str
    id_property: str | None
    values: dict[str, str]
    trace: str | None
    associations: list[dict[str, Any]]


@attrs.frozen(kw_only=True)
class Plan:
    """What an input will do: write *values* to the record *number*, or to a new one.

    Attributes:
        error: why it may not.
    """

    input: Input
    number: int | None = None
    values: dict[str, str] = attrs.field(factory=dict)
    error: HubSpotError | None = None


def parse(data: dict[str, Any], *, mode: Mode) -> Input:
    """Return one input.

    Raises:
        HubSpotError: it is not of the form HubSpot reads; that spoils the whole request.
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
        values={name: normalised(name, value) for name, value in values.items()},
        trace=data.get("objectWriteTraceId"),
        # An upsert has no such field: it is passed over without a word.
        associations=objects(data.get("associations")) if mode == "create" else [],
    )


def plan(table: Table, given: Input, *, mode: Mode) -> Plan:
    """Return what *given* will do to *table*."""
    by_id = given.id_property in (None, "", "hs_object_id")
    number = None if mode == "create" else table.find(given.id, given.id_property)
    if number is None and (mode == "update" or (mode == "upsert" and by_id)):
        message = f"Could not find the {SINGULAR[table.kind]} {given.id}"
        error = HubSpotError(status=404, category="OBJECT_NOT_FOUND", message=message)
        return Plan(input=given, error=error)
    values = given.values
    if mode == "upsert" and not by_id:
        key = str(given.id_property)
        values = {key: normalised(key, given.id), **values}
    found = _problems(table, number, values)
    error_ = refusal(found, SINGULAR[table.kind]) if found else None
    return Plan(input=given, number=number, values=values, error=error_)


def _problems(table: Table, number: int | None, values: dict[str, str]) -> list[Problem]:
    old = None if number is None else table.get(number)
    # A record too old to be kept still exists: its values are unknown, not missing.
    stored = None if number is None else (old.values if old else {})
    return [*_conflicts(table, number, values), *problems(table.schema, table.kind, values, stored)]


def _conflicts(table: Table, number: int | None, values: dict[str, str]) -> list[Problem]:
    found = []
    for name in table.schema.unique:
        other = table.find(values[name], name) if values.get(name) else None
        if other is not None and other != number:
            found.append(_conflict(name, values[name], other))
    return found


def _conflict(name: str, value: str, other: int) -> Problem:
    if name == "email":
        message = f"Contact already exists. Existing ID: {other}"
        return Problem(code="CONFLICT", message=message, name=name, category="CONFLICT")
    message = f"{value} already belongs to {other}"
    return Problem(code="CONFLICTING_UNIQUE_VALUE", message=message, name=name)
