"""Which property values HubSpot takes.

Source: HubSpot: CRM objects, deals and contacts; property validation; changelog, enforcing deal
currency code validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from anytrack_async.sandbox.hubspot.defaults import PORTAL_ID
from anytrack_async.sandbox.hubspot.errors import Problem
from anytrack_async.sandbox.hubspot.pipelines import DEAL_PIPELINES, stages_of
from anytrack_async.sandbox.hubspot.schema import Property, Schema

REQUIRED = {"deals": ("dealname", "dealstage", "pipeline"), "contacts": ()}
READ_ONLY = frozenset(("hs_object_id", "createdate", "hs_lastmodifieddate", "lastmodifieddate"))

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d))?|-?\d{10,13}")
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")


def normalised(name: str, value: str) -> str:
    """Return *value* as HubSpot stores it."""
    return value.lower() if name == "email" else value


def problems(
    schema: Schema, object_type: str, values: dict[str, str], stored: dict[str, str] | None
) -> list[Problem]:
    """Return what is wrong with *values*; *stored* is the record they change, if there is one."""
    found = [p for name, value in values.items() for p in _value(schema, name, value)]
    if object_type == "deals":
        found += _stage({**(stored or {}), **values})
    if stored is None:
        found += (
            Problem(
                code="MISSING_REQUIRED_PROPERTY",
                message=f"Required property '{name}' was not set",
                name=name,
            )
            for name in REQUIRED[object_type]
            if not values.get(name)
        )
    return found


def _value(schema: Schema, name: str, value: str) -> Iterator[Problem]:
    known = schema.properties.get(name)
    if known is None:
        yield Problem(
            code="PROPERTY_DOESNT_EXIST", message=f'Property "{name}" does not exist', name=name
        )
    elif name in READ_ONLY:
        yield Problem(
            code="READ_ONLY_VALUE", message=f'"{name}" is a read only property', name=name
        )
    # An empty value clears a property, whatever its type.
    elif value and (error := _wrong(known, value)):
        code, message = error
        yield Problem(code=code, message=message, name=name)


def _wrong(known: Property, value: str) -> tuple[str, str] | None:
    if value != value.strip():
        return "INVALID_VALUE", f"'{value}' has leading or trailing whitespace"
    if known.options and value not in known.options:
        return "INVALID_OPTION", _not_among(known, value)
    if known.name == "email" and not _EMAIL.fullmatch(value):
        return "INVALID_EMAIL", f"Email address {value} is invalid"
    check = _CHECKS.get(known.type)
    return check(value) if check else None


def _not_among(known: Property, value: str) -> str:
    if known.name == "deal_currency_code":
        codes = f"the current effective currency codes for portal {PORTAL_ID}"
        return f'"{value}" is not a part of {codes}'
    return f"{value} was not one of the allowed options: [{', '.join(known.options)}]"


def _number(value: str) -> tuple[str, str] | None:
    # "1,234.50" is text for people; "1e3" is a number to Python only.
    ok = _NUMBER.fullmatch(value)
    return None if ok else ("INVALID_NUMBER", f"{value} was not a valid number.")


def _moment(value: str) -> tuple[str, str] | None:
    ok = _MOMENT.fullmatch(value)
    return None if ok else ("INVALID_DATE", f"{value} was not a valid long.")


_CHECKS: dict[str, Callable[[str], tuple[str, str] | None]] = {
    "number": _number,
    "datetime": _moment,
    "date": _moment,
}


def _stage(values: dict[str, str]) -> Iterator[Problem]:
    pipeline, stage = values.get("pipeline"), values.get("dealstage")
    stages = stages_of(pipeline or "")
    if pipeline and not stages:
        allowed = ", ".join(p.id for p in DEAL_PIPELINES)
        message = f"{pipeline} was not one of the allowed options: [{allowed}]"
        yield Problem(code="INVALID_OPTION", message=message, name="pipeline")
    elif pipeline and stage and stage not in stages:
        message = f"{stage} was not one of the allowed options: [{', '.join(stages)}]"
        yield Problem(code="INVALID_OPTION", message=message, name="dealstage")
