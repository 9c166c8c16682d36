"""Validation of property values.

Source: HubSpot: CRM objects, deals and contacts; property validation; changelog, enforcing deal
currency code validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from anytrack_async.sandbox.hubspot.messages import Problem
from anytrack_async.sandbox.hubspot.schema import (
    DEAL_PIPELINES,
    PORTAL_ID,
    Property,
    Schema,
    stages_of,
)

REQUIRED = {"deals": ("dealname", "dealstage", "pipeline"), "contacts": ()}
READ_ONLY = frozenset(("hs_object_id", "createdate", "hs_lastmodifieddate", "lastmodifieddate"))

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
# A date, a time with its zone, or a Unix time in seconds or milliseconds.
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d))?|-?\d{10,13}")
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")


def normalise(name: str, value: str) -> str:
    """Return *value* as HubSpot stores it."""
    return value.lower() if name == "email" else value


def find_problems(
    schema: Schema, object_type: str, values: dict[str, str], stored: dict[str, str] | None
) -> list[Problem]:
    """Return the problems of property *values*.

    Args:
        schema: of the object type.
        object_type: `deals` or `contacts`.
        values: property values to write.
        stored: values of the record to change, or None for a new record.
    """
    problems = [p for name, value in values.items() for p in _value_problems(schema, name, value)]
    if object_type == "deals":
        problems += _stage_problems({**(stored or {}), **values})
    if stored is None:
        problems += (
            Problem(
                code="MISSING_REQUIRED_PROPERTY",
                message=f"Required property '{name}' was not set",
                name=name,
            )
            for name in REQUIRED[object_type]
            if not values.get(name)
        )
    return problems


def _value_problems(schema: Schema, name: str, value: str) -> Iterator[Problem]:
    property_ = schema.properties.get(name)
    if property_ is None:
        yield Problem(
            code="PROPERTY_DOESNT_EXIST", message=f'Property "{name}" does not exist', name=name
        )
    elif name in READ_ONLY:
        yield Problem(
            code="READ_ONLY_VALUE", message=f'"{name}" is a read only property', name=name
        )
    # An empty value clears a property, whatever its type.
    elif value and (error := _find_error(property_, value)):
        code, message = error
        yield Problem(code=code, message=message, name=name)


def _find_error(property_: Property, value: str) -> tuple[str, str] | None:
    if value != value.strip():
        return "INVALID_VALUE", f"'{value}' has leading or trailing whitespace"
    if property_.options and value not in property_.options:
        return "INVALID_OPTION", _not_an_option(property_, value)
    if property_.name == "email" and not _EMAIL.fullmatch(value):
        return "INVALID_EMAIL", f"Email address {value} is invalid"
    # Other types accept any text.
    check = _CHECKS.get(property_.type)
    return check(value) if check else None


def _not_an_option(property_: Property, value: str) -> str:
    if property_.name == "deal_currency_code":
        codes = f"the current effective currency codes for portal {PORTAL_ID}"
        return f'"{value}" is not a part of {codes}'
    return f"{value} was not one of the allowed options: [{', '.join(property_.options)}]"


def _check_number(value: str) -> tuple[str, str] | None:
    # HubSpot rejects "1,234.50" and "1e3"; Python's `float` accepts the second.
    valid = _NUMBER.fullmatch(value)
    return None if valid else ("INVALID_NUMBER", f"{value} was not a valid number.")


def _check_time(value: str) -> tuple[str, str] | None:
    valid = _TIME.fullmatch(value)
    return None if valid else ("INVALID_DATE", f"{value} was not a valid long.")


_CHECKS: dict[str, Callable[[str], tuple[str, str] | None]] = {
    "number": _check_number,
    "datetime": _check_time,
    "date": _check_time,
}


def _stage_problems(values: dict[str, str]) -> Iterator[Problem]:
    pipeline_id, stage = values.get("pipeline"), values.get("dealstage")
    stages = stages_of(pipeline_id or "")
    if pipeline_id and not stages:
        allowed = ", ".join(pipeline.id for pipeline in DEAL_PIPELINES)
        message = f"{pipeline_id} was not one of the allowed options: [{allowed}]"
        yield Problem(code="INVALID_OPTION", message=message, name="pipeline")
    elif pipeline_id and stage and stage not in stages:
        message = f"{stage} was not one of the allowed options: [{', '.join(stages)}]"
        yield Problem(code="INVALID_OPTION", message=message, name="dealstage")
