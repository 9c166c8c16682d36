"""Pipelines, properties and the account details of the portal.

Source: HubSpot: pipelines API, properties API, account information.
"""

from __future__ import annotations

from typing import Any

from anytrack_async.sandbox.hubspot.messages import Call, batch_body, batch_inputs, not_found
from anytrack_async.sandbox.hubspot.portal import Portal, Table
from anytrack_async.sandbox.hubspot.schema import DEAL_PIPELINES, PORTAL_ID, group_as_json
from anytrack_async.sandbox.request import Reply, json_reply


def pipelines(table: Table, path: list[str]) -> Reply:
    """`GET /crm/pipelines/{type}`, `…/{pipeline}`, `…/{pipeline}/stages` and `…/stages/{stage}`.

    Args:
        table: the object type.
        path: the parts of the path after the object type.
    """
    # Contacts have lifecycle stages, but no pipelines.
    defined = DEAL_PIPELINES if table.kind == "deals" else ()
    results = [pipeline.as_json(order) for order, pipeline in enumerate(defined)]
    if not path:
        return json_reply(200, {"results": results})
    pipeline = _with_id("Pipeline", results, path[0])
    match path[1:]:
        case []:
            return json_reply(200, pipeline)
        case ["stages"]:
            return json_reply(200, {"results": pipeline["stages"]})
        case ["stages", stage]:
            return json_reply(200, _with_id("Stage", pipeline["stages"], stage))
    raise not_found("resource not found")


def _with_id(noun: str, results: list[dict[str, Any]], id_: str) -> dict[str, Any]:
    for result in results:
        if result["id"] == id_:
            return result
    raise not_found(f"{noun} {id_} was not found", **{f"{noun.lower()}Id": [id_]})


def properties(portal: Portal, call: Call, table: Table, path: list[str]) -> Reply:
    """`/crm/properties/{type}`: list, read and create properties and their groups.

    Args:
        portal: the portal.
        call: a GET or POST.
        table: the object type.
        path: the parts of the path after the object type.
    """
    schema, now = table.schema, portal.now()
    match call.method, path:
        case "GET", []:
            results = [property_.as_json(now=now) for property_ in schema.properties.values()]
            return json_reply(200, {"results": results})
        case "POST", []:
            return json_reply(201, schema.create(call.data).as_json(now=now))
        case "POST", ["batch", "read"]:
            return _read_properties(portal, call, table)
        case "GET", ["groups"]:
            groups = [group_as_json(name, label) for name, label in schema.groups.items()]
            return json_reply(200, {"results": groups})
        case "POST", ["groups"]:
            name = schema.create_group(call.data)
            return json_reply(201, group_as_json(name, schema.groups[name]))
        case "GET", ["groups", name] if name in schema.groups:
            return json_reply(200, group_as_json(name, schema.groups[name]))
        case "GET", [name]:
            return json_reply(200, schema.get(name).as_json(now=now))
    raise not_found("resource not found")


def _read_properties(portal: Portal, call: Call, table: Table) -> Reply:
    properties, now = table.schema.properties, portal.now()
    names = [str(item.get("name")) for item in batch_inputs(call.data, table.kind)]
    results = [properties[name].as_json(now=now) for name in names if name in properties]
    errors = [
        table.schema.missing(name).as_batch_error() for name in names if name not in properties
    ]
    # Some found and some missing is a "multi-status" 207, also where all are missing.
    body = batch_body(portal.shuffle(results), errors, portal.now)
    return json_reply(207 if errors else 200, body)


def account_details(portal: Portal) -> Reply:
    """`GET /account-info/{version}/details`."""
    currency, *additional = portal.settings.currencies
    details = {
        "portalId": PORTAL_ID,
        "accountType": "DEVELOPER_TEST",
        "timeZone": "UTC",
        "utcOffset": "+00:00",
        "utcOffsetMilliseconds": 0,
        "companyCurrency": currency,
        "additionalCurrencies": additional,
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    }
    return json_reply(200, details)
