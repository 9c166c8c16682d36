"""Pipelines, properties and the portal itself.

Source: HubSpot: pipelines API, properties API, account information.
"""

from __future__ import annotations

from anytrack_async.sandbox.hubspot.call import Call
from anytrack_async.sandbox.hubspot.errors import not_found
from anytrack_async.sandbox.hubspot.pipelines import DEAL_PIPELINES
from anytrack_async.sandbox.hubspot.portal import PORTAL_ID, Portal
from anytrack_async.sandbox.hubspot.records import Table
from anytrack_async.sandbox.hubspot.schema import group_wire
from anytrack_async.sandbox.wire import Reply, json_reply


def pipelines(table: Table, rest: list[str]) -> Reply:
    """`GET /crm/pipelines/{type}`, `…/{pipeline}` and `…/{pipeline}/stages`."""
    known = list(DEAL_PIPELINES) if table.kind == "deals" else []
    wired = [pipeline.wire(order) for order, pipeline in enumerate(known)]
    if not rest:
        return json_reply(200, {"results": wired})
    for pipeline, body in zip(known, wired, strict=True):
        if rest == [pipeline.id]:
            return json_reply(200, body)
        if rest == [pipeline.id, "stages"]:
            return json_reply(200, {"results": pipeline.stages_wire()})
    raise not_found(f"Pipeline {rest[0]} was not found", pipelineId=rest[:1])


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
