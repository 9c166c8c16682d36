"""`/crm/objects`: reading deals and contacts.

Source: HubSpot: CRM objects, deals and contacts; search.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from anytrack_async.sandbox.hubspot.messages import (
    Call,
    HubSpotError,
    batch_body,
    batch_inputs,
    invalid,
    not_found,
    objects_in,
    strings_in,
)
from anytrack_async.sandbox.hubspot.portal import OTHER_KIND, SINGULAR, Portal, Record, Table
from anytrack_async.sandbox.request import Reply, json_reply


def get(portal: Portal, call: Call, table: Table, id_: str) -> Reply:
    """`GET /crm/objects/{type}/{id}`."""
    record = _find(table, id_, call.param("idProperty"))
    if record is None:
        raise not_found("Object not found.  objectId are usually numeric.", id=[id_])
    body = record.as_json(call.params("properties") or table.default_properties)
    with_associations = bool(call.params("associations"))
    numbers = portal.associations.get(table.kind, record.number) if with_associations else ()
    if numbers:
        name = "deal_to_contact" if table.kind == "deals" else "contact_to_deal"
        results = [{"id": str(number), "type": name} for number in numbers]
        body["associations"] = {OTHER_KIND[table.kind]: {"results": results}}
    return json_reply(200, body)


def list_page(call: Call, table: Table) -> Reply:
    """`GET /crm/objects/{type}`."""
    names = call.params("properties") or table.default_properties
    return json_reply(200, _page(table, call.param("limit") or 10, call.param("after"), names))


def search(call: Call, table: Table) -> Reply:
    """`POST /crm/objects/{type}/search`: the operators EQ, IN and HAS_PROPERTY."""
    groups = objects_in(call.data.get("filterGroups"))
    # A record matches when all filters of at least one group do.
    records = [r for r in table if not groups or any(_matches(r, group) for group in groups)]
    names = strings_in(call.data.get("properties")) or table.default_properties
    limit, after = call.data.get("limit") or 10, call.data.get("after")
    return json_reply(200, {"total": len(records), **_page(records, limit, after, names)})


def read_batch(portal: Portal, call: Call, table: Table) -> Reply:
    """`POST …/batch/read`: missing records are named in the errors of a 207."""
    keys = strings_in([call.data.get("idProperty")])
    names = [*(strings_in(call.data.get("properties")) or table.default_properties), *keys]
    ids = [str(item.get("id")) for item in batch_inputs(call.data, table.kind)]
    records = {id_: _find(table, id_, *keys) for id_ in ids}
    missing = [id_ for id_, record in records.items() if record is None]
    errors = [_missing_records(table).as_batch_error(ids=missing)] if missing else []
    results = portal.shuffle([record.as_json(names) for record in records.values() if record])
    return json_reply(207 if missing else 200, batch_body(results, errors, portal.now))


def _find(table: Table, id_: str, id_property: str | None = None) -> Record | None:
    number = table.find(id_, id_property)
    return None if number is None else table.get(number)


def _missing_records(table: Table) -> HubSpotError:
    message = (
        f"Could not get some {SINGULAR[table.kind]} objects, they may be deleted or not exist. "
        "Check that ids are valid."
    )
    return HubSpotError(status=404, category="OBJECT_NOT_FOUND", message=message)


def _page(
    records: Iterable[Record], limit: object, after: object, names: Iterable[str]
) -> dict[str, Any]:
    size, start = _whole_number(limit, "limit"), _whole_number(after or 0, "after")
    # One record more than the page has, to see whether there is a next page.
    window = list(islice(records, start, start + size + 1))
    body: dict[str, Any] = {"results": [record.as_json(names) for record in window[:size]]}
    if len(window) > size:
        body["paging"] = {"next": {"after": str(start + size)}}
    return body


def _whole_number(value: object, name: str) -> int:
    if not str(value).isdecimal():
        raise invalid(f"{name} must be a whole number", reason="PAGING")
    return int(str(value))


def _matches(record: Record, group: dict[str, Any]) -> bool:
    return all(_passes(record, filter_) for filter_ in objects_in(group.get("filters")))


def _passes(record: Record, filter_: dict[str, Any]) -> bool:
    value = record.values.get(str(filter_.get("propertyName")))
    match filter_.get("operator"):
        case "EQ":
            return value == filter_.get("value")
        case "IN":
            return value in strings_in(filter_.get("values"))
        case "HAS_PROPERTY":
            return value is not None
    raise invalid(f"the sandbox does not know the operator {filter_.get('operator')}")
