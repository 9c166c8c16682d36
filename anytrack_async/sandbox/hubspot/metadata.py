"""Pipelines, properties and the portal itself.

Source: HubSpot: pipelines API, properties API, account information.
"""

from __future__ import annotations

from typing import Any

from anytrack_async.sandbox.hubspot.batches import envelope, inputs_of
from anytrack_async.sandbox.hubspot.call import Call
from anytrack_async.sandbox.hubspot.defaults import PORTAL_ID
from anytrack_async.sandbox.hubspot.errors import not_found
from anytrack_async.sandbox.hubspot.pipelines import DEAL_PIPELINES
from anytrack_async.sandbox.hubspot.portal import Portal
from anytrack_async.sandbox.hubspot.records import Table
from anytrack_async.sandbox.hubspot.schema import group_wire
from anytrack_async.sandbox.request import Reply, json_reply


def pipelines(table: Table, rest: list[str]) -> Reply:
    """`GET /crm/pipelines/{type}`, `…/{pipeline}`, `…/{pipeline}/stages` and `…/stages/{stage}`."""
    known = list(DEAL_PIPELINES) if table.kind == "deals" else []
    wired = [pipeline.wire(order) for order, pipeline in enumerate(known)]
    if not rest:
        return json_reply(200, {"results": wired})
    pipeline = _named("Pipeline", wired, rest[0])
    match rest[1:]:
        case []:
            return json_reply(200, pipeline)
        case ["stages"]:
            return json_reply(200, {"results": pipeline["stages"]})
        case ["stages", stage]:
            return json_reply(200, _named("Stage", pipeline["stages"], stage))
    raise not_found("resource not found")


def _named(what: str, known: list[dict[str, Any]], id_: str) -> dict[str, Any]:
    for one in known:
        if one["id"] == id_:
            return one
    raise not_found(f"{what} {id_} was not found", **{f"{what.lower()}Id": [id_]})


def properties(portal: Portal, call: Call, table: Table, rest: list[str]) -> Reply:
    """`/crm/properties/{type}`: list, read and create properties and their groups."""
    schema, now = table.schema, portal.now()
    match call.method, rest:
        case "GET", []:
            return json_reply(
                200, {"results": [p.wire(now=now) for p in schema.properties.values()]}
            )
        case "POST", []:
            return json_reply(201, schema.create(call.data).wire(now=now))
        case "POST", ["batch", "read"]:
            return _read(portal, call, table)
        case "GET", ["groups"]:
            return json_reply(200, {"results": [group_wire(*g) for g in schema.groups.items()]})
        case "POST", ["groups"]:
            name = schema.create_group(call.data)
            return json_reply(201, group_wire(name, schema.groups[name]))
        case "GET", ["groups", name] if name in schema.groups:
            return json_reply(200, group_wire(name, schema.groups[name]))
        case "GET", [name]:
            return json_reply(200, schema.get(name).wire(now=now))
    raise not_found("resource not found")


def _read(portal: Portal, call: Call, table: Table) -> Reply:
    schema, now = table.schema, portal.now()
    names = [str(item.get("name")) for item in inputs_of(call.data, table.kind)]
    found = [schema.properties[name].wire(now=now) for name in names if name in schema.properties]
    missing = [schema.missing(name).item() for name in names if name not in schema.properties]
    body = envelope(portal.shuffled(found), missing, portal.now)
    return json_reply(207 if missing else 200, body)


def account(portal: Portal) -> Reply:
    """`GET /account-info/{version}/details`."""
    first, *others = portal.settings.currencies
    details = {
        "portalId": PORTAL_ID,
        "accountType": "DEVELOPER_TEST",
        "timeZone": "UTC",
        "utcOffset": "+00:00",
        "utcOffsetMilliseconds": 0,
        "companyCurrency": first,
        "additionalCurrencies": others,
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    }
    return json_reply(200, details)
