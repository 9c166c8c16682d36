"""`/crm/associations`: linking deals and contacts, in batches and one by one.

Source: HubSpot: associations API, associate records with a default label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anytrack_async.sandbox.hubspot.batches import envelope, inputs_of
from anytrack_async.sandbox.hubspot.call import Call
from anytrack_async.sandbox.hubspot.errors import HubSpotError, invalid
from anytrack_async.sandbox.hubspot.links import OBJECT_TYPE_IDS, TYPE_IDS
from anytrack_async.sandbox.hubspot.plans import SINGULAR
from anytrack_async.sandbox.hubspot.portal import Portal
from anytrack_async.sandbox.hubspot.records import Table
from anytrack_async.sandbox.request import Reply, json_reply

View = Callable[[Table, Table, tuple[int, int]], list[dict[str, Any]]]


def associate(portal: Portal, call: Call, left: Table, right: Table) -> Reply:
    """`POST …/batch/associate/default`: repeating it changes nothing.

    Each pair gives two results, one for each direction. A record that is not there is named in
    `errors`; what such an entry says is not documented, but that it comes with a 200 is: HubSpot's
    own clients know no 207 here.
    """
    results, errors = _batch(portal, call, left, right, _default)
    return json_reply(200, envelope(results, errors, portal.now))


def create(portal: Portal, call: Call, left: Table, right: Table) -> Reply:
    """`POST …/batch/create`, with the kind of association spelled out."""
    results, errors = _batch(portal, call, left, right, _labelled)
    return json_reply(207 if errors else 201, envelope(results, errors, portal.now))


def one(portal: Portal, left: Table, id_: str, right: Table, other: str) -> Reply:
    """`PUT /crm/objects/{type}/{id}/associations/default/{type}/{id}`."""
    numbers = _numbers(portal, left, right, {"from": {"id": id_}, "to": {"id": other}})
    if isinstance(numbers, HubSpotError):
        raise numbers
    return json_reply(200, envelope(_default(left, right, numbers), [], portal.now))


def read(portal: Portal, call: Call, left: Table, right: Table) -> Reply:
    """`POST …/batch/read`: what each record is linked to; one linked to nothing is an error."""
    results, errors = [], []
    for item in inputs_of(call.data, left.kind):
        id_ = str(item.get("id"))
        if linked := _linked(portal, left, id_):
            results.append({"from": {"id": id_}, "to": _targets(left, right, linked)})
        else:
            errors.append(_unlinked(left, id_, right).item())
    body = envelope(portal.shuffled(results), errors, portal.now)
    return json_reply(207 if errors else 200, body)


def of(portal: Portal, left: Table, id_: str, right: Table) -> Reply:
    """`GET /crm/objects/{type}/{id}/associations/{type}`."""
    return json_reply(200, {"results": _targets(left, right, _linked(portal, left, id_))})


def _linked(portal: Portal, left: Table, id_: str) -> tuple[int, ...]:
    number = left.find(id_, None)
    return () if number is None else portal.links.of(left.kind, number)


def _unlinked(left: Table, id_: str, right: Table) -> HubSpotError:
    start, end = SINGULAR[left.kind].lower(), SINGULAR[right.kind].lower()
    return HubSpotError(
        status=404,
        category="OBJECT_NOT_FOUND",
        message=f"No {end} is associated with {start} {id_}.",
        context={"fromObjectId": [id_], "fromObjectType": [start], "toObjectType": [end]},
        extra={"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"},
    )


def _batch(
    portal: Portal, call: Call, left: Table, right: Table, view: View
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for item in inputs_of(call.data, left.kind):
        numbers = _numbers(portal, left, right, item)
        if isinstance(numbers, HubSpotError):
            portal.refuse(numbers)
            errors.append(numbers.item())
        else:
            results += view(left, right, numbers)
    return portal.shuffled(results), errors


def _numbers(
    portal: Portal, left: Table, right: Table, item: dict[str, Any]
) -> tuple[int, int] | HubSpotError:
    ends = item.get("from"), item.get("to")
    if not all(isinstance(end, dict) and end.get("id") for end in ends):
        raise invalid("Invalid input JSON: `from` and `to` need an `id` each", reason="ENDS")
    ids = [str(end["id"]) for end in ends if end]
    found = left.find(ids[0], None), right.find(ids[1], None)
    if found[0] is None or found[1] is None:
        return HubSpotError(
            status=404,
            category="OBJECT_NOT_FOUND",
            message="One or more of the records to associate do not exist",
            context={"fromObjectId": ids[:1], "toObjectId": ids[1:]},
        )
    portal.links.add(left.kind, found[0], found[1])
    portal.ledger.extra["associations"] = portal.links.count
    return found[0], found[1]


def _default(left: Table, right: Table, numbers: tuple[int, int]) -> list[dict[str, Any]]:
    ways = ((left, right, numbers), (right, left, numbers[::-1]))
    return [
        {
            "from": {"id": str(pair[0])},
            "to": {"id": str(pair[1])},
            "associationSpec": {
                "associationCategory": "HUBSPOT_DEFINED",
                "associationTypeId": TYPE_IDS[start.kind, end.kind],
            },
        }
        for start, end, pair in ways
    ]


def _labelled(left: Table, right: Table, numbers: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        {
            "fromObjectTypeId": OBJECT_TYPE_IDS[left.kind],
            "fromObjectId": str(numbers[0]),
            "toObjectTypeId": OBJECT_TYPE_IDS[right.kind],
            "toObjectId": str(numbers[1]),
            "labels": [],
        }
    ]


def _targets(left: Table, right: Table, linked: tuple[int, ...]) -> list[dict[str, Any]]:
    type_ = {
        "category": "HUBSPOT_DEFINED",
        "typeId": TYPE_IDS[left.kind, right.kind],
        "label": None,
    }
    return [{"toObjectId": str(number), "associationTypes": [type_]} for number in linked]
