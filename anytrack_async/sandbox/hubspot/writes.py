"""`/crm/objects`: creating and changing deals and contacts.

Source: HubSpot: CRM objects, deals and contacts.
"""

from __future__ import annotations

from typing import Any

from anytrack_async.sandbox.hubspot.batches import Written, envelope, put, write
from anytrack_async.sandbox.hubspot.call import Call, objects
from anytrack_async.sandbox.hubspot.links import OTHER, TYPE_IDS
from anytrack_async.sandbox.hubspot.plans import Mode, Plan, parse, plan
from anytrack_async.sandbox.hubspot.portal import Portal
from anytrack_async.sandbox.hubspot.records import Table
from anytrack_async.sandbox.request import Reply, json_reply

EVENT_ID = "anytrack_event_id"


def batch(portal: Portal, call: Call, table: Table, mode: Mode) -> Reply:
    """`POST …/batch/{upsert,create,update}`."""
    outcome = write(table, call.data, mode=mode)
    for refused in outcome.refused:
        if refused.error:
            portal.refuse(refused.error)
    if mode != "update":
        for written in outcome.written:
            _settle(portal, table, written)
    echo = portal.echoes()
    results = portal.shuffled([written.wire(echo=echo) for written in outcome.written])
    body = envelope(results, outcome.errors(), portal.now)
    return json_reply(207 if outcome.refused else 201 if mode == "create" else 200, body)


def create(portal: Portal, call: Call, table: Table) -> Reply:
    """`POST /crm/objects/{type}`."""
    ready = plan(table, parse(call.data, mode="create"), mode="create")
    written = _carry_out(table, ready)
    _settle(portal, table, written)
    return json_reply(201, written.record.wire())


def update(call: Call, table: Table, id_: str) -> Reply:
    """`PATCH /crm/objects/{type}/{id}`."""
    data = {**call.data, "id": id_, "idProperty": call.param("idProperty")}
    ready = plan(table, parse(data, mode="update"), mode="update")
    return json_reply(200, _carry_out(table, ready).record.wire())


def _carry_out(table: Table, ready: Plan) -> Written:
    if ready.error:
        raise ready.error
    return put(table, ready)


def _settle(portal: Portal, table: Table, written: Written) -> None:
    if table.kind == "contacts":
        portal.ledger.extra["contacts"] = len(table)
    else:
        portal.ledger.accept(written.record.values.get(EVENT_ID), new=written.new)
    for association in written.plan.input.associations:
        _link(portal, table, written.record.number, association)
    portal.ledger.extra["associations"] = portal.links.count


def _link(portal: Portal, table: Table, number: int, association: dict[str, Any]) -> None:
    other = portal.tables[OTHER[table.kind]]
    wanted = TYPE_IDS[table.kind, other.kind]
    types = [type_.get("associationTypeId") for type_ in objects(association.get("types"))]
    to = association.get("to")
    found = other.find(str(to.get("id")), None) if isinstance(to, dict) else None
    if wanted in types and found is not None:
        portal.links.add(table.kind, number, found)
