"""`/crm/objects`: reading deals and contacts.

Source: HubSpot: CRM objects, deals and contacts; search.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from anytrack_async.sandbox.hubspot.batches import envelope, inputs_of
from anytrack_async.sandbox.hubspot.call import Call, objects, texts
from anytrack_async.sandbox.hubspot.errors import HubSpotError, invalid, not_found
from anytrack_async.sandbox.hubspot.links import OTHER
from anytrack_async.sandbox.hubspot.plans import SINGULAR
from anytrack_async.sandbox.hubspot.portal import Portal
from anytrack_async.sandbox.hubspot.records import Record, Table
from anytrack_async.sandbox.request import Reply, json_reply


def get(portal: Portal, call: Call, table: Table, id_: str) -> Reply:
    """`GET /crm/objects/{type}/{id}`."""
    record = _record(table, id_, call.param("idProperty"))
    if record is None:
        raise not_found("Object not found.  objectId are usually numeric.", id=[id_])
    body = record.wire(call.params("properties") or table.defaults)
    if call.params("associations"):
        other = OTHER[table.kind]
        name = "deal_to_contact" if table.kind == "deals" else "contact_to_deal"
        linked = portal.links.of(table.kind, record.number)
        if linked:
            body["associations"] = {
                other: {"results": [{"id": str(n), "type": name} for n in linked]}
            }
    return json_reply(200, body)


def page(call: Call, table: Table) -> Reply:
    """`GET /crm/objects/{type}`."""
    names = call.params("properties") or table.defaults
    return json_reply(200, _page(table, call.param("limit") or 10, call.param("after"), names))


def search(call: Call, table: Table) -> Reply:
    """`POST /crm/objects/{type}/search`: the operators EQ, IN and HAS_PROPERTY."""
    groups = objects(call.data.get("filterGroups"))
    found = [r for r in table if not groups or any(_matches(r, group) for group in groups)]
    names = texts(call.data.get("properties")) or table.defaults
    limit, after = call.data.get("limit") or 10, call.data.get("after")
    return json_reply(200, {"total": len(found), **_page(found, limit, after, names)})


def read(portal: Portal, call: Call, table: Table) -> Reply:
    """`POST …/batch/read`: what is not there is named in the errors of a 207."""
    keys = texts([call.data.get("idProperty")])
    names = [*(texts(call.data.get("properties")) or table.defaults), *keys]
    asked = [str(item.get("id")) for item in inputs_of(call.data, table.kind)]
    found = {id_: _record(table, id_, *keys) for id_ in asked}
    missing = [id_ for id_, record in found.items() if record is None]
    errors = [_missing(table, missing).item(ids=missing)] if missing else []
    results = portal.shuffled([record.wire(names) for record in found.values() if record])
    return json_reply(207 if missing else 200, envelope(results, errors, portal.now))


def _record(table: Table, id_: str, id_property: str | None = None) -> Record | None:
    number = table.find(id_, id_property)
    return None if number is None else table.get(number)


def _missing(table: Table, ids: list[str]) -> HubSpotError:
    message = (
        f"Could not get some {SINGULAR[table.kind]} objects, they may be deleted or not exist. "
        "Check that ids are valid."
    )
    return HubSpotError(status=404, category="OBJECT_NOT_FOUND", message=message)


def _page(
    records: Iterable[Record], limit: object, after: object, names: Iterable[str]
) -> dict[str, Any]:
    size, start = _whole(limit, "limit"), _whole(after or 0, "after")
    # One more than asked for tells whether there is another page.
    window = list(islice(records, start, start + size + 1))
    body: dict[str, Any] = {"results": [record.wire(names) for record in window[:size]]}
    if len(window) > size:
        body["paging"] = {"next": {"after": str(start + size)}}
    return body


def _whole(value: object, name: str) -> int:
    if not str(value).isdecimal():
        raise invalid(f"{name} must be a whole number", reason="PAGING")
    return int(str(value))


def _matches(record: Record, group: dict[str, Any]) -> bool:
    return all(_passes(record, rule) for rule in objects(group.get("filters")))


def _passes(record: Record, rule: dict[str, Any]) -> bool:
    value = record.values.get(str(rule.get("propertyName")))
    match rule.get("operator"):
        case "EQ":
            return value == rule.get("value")
        case "IN":
            return value in texts(rule.get("values"))
        case "HAS_PROPERTY":
            return value is not None
    raise invalid(f"the sandbox does not know the operator {rule.get('operator')}")
