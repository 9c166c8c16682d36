"""`/crm/associations`: associating deals with contacts, in batches and one by one.

*source* and *target* are the object types in the order of the path: deals and contacts, or
contacts and deals.

Source: HubSpot: associations API, associate records with a default label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anytrack_async.sandbox.hubspot.messages import (
    Call,
    HubSpotError,
    batch_body,
    batch_inputs,
    invalid,
)
from anytrack_async.sandbox.hubspot.portal import (
    ASSOCIATION_TYPE_IDS,
    OBJECT_TYPE_IDS,
    SINGULAR,
    Portal,
    Table,
)
from anytrack_async.sandbox.request import Reply, json_reply

ResultView = Callable[[Table, Table, tuple[int, int]], list[dict[str, Any]]]


def associate_batch(portal: Portal, call: Call, source: Table, target: Table) -> Reply:
    """`POST …/batch/associate/default`: repeating it changes nothing.

    Each pair has two results, one for each direction. A record that does not exist is named in
    `errors`. The content of such an entry is not documented, but its status is: 200, and HubSpot's
    own clients know no 207 here.
    """
    results, errors = _associate_batch(portal, call, source, target, _default_results)
    return json_reply(200, batch_body(results, errors, portal.now))


def create_batch(portal: Portal, call: Call, source: Table, target: Table) -> Reply:
    """`POST …/batch/create`, which names the type of the association."""
    results, errors = _associate_batch(portal, call, source, target, _labelled_results)
    return json_reply(207 if errors else 201, batch_body(results, errors, portal.now))


def associate(portal: Portal, source: Table, id_: str, target: Table, other_id: str) -> Reply:
    """`PUT /crm/objects/{type}/{id}/associations/default/{type}/{id}`."""
    pair = _associate(portal, source, target, {"from": {"id": id_}, "to": {"id": other_id}})
    if isinstance(pair, HubSpotError):
        raise pair
    return json_reply(200, batch_body(_default_results(source, target, pair), [], portal.now))


def read_batch(portal: Portal, call: Call, source: Table, target: Table) -> Reply:
    """`POST …/batch/read`: each record's associations; a record without any is an error."""
    results, errors = [], []
    for item in batch_inputs(call.data, source.kind):
        id_ = str(item.get("id"))
        if numbers := _associated(portal, source, id_):
            results.append({"from": {"id": id_}, "to": _targets(source, target, numbers)})
        else:
            errors.append(_no_associations(source, id_, target).as_batch_error())
    body = batch_body(portal.shuffle(results), errors, portal.now)
    return json_reply(207 if errors else 200, body)


def list_associations(portal: Portal, source: Table, id_: str, target: Table) -> Reply:
    """`GET /crm/objects/{type}/{id}/associations/{type}`."""
    return json_reply(200, {"results": _targets(source, target, _associated(portal, source, id_))})


def _associated(portal: Portal, source: Table, id_: str) -> tuple[int, ...]:
    number = source.find(id_, None)
    return () if number is None else portal.associations.get(source.kind, number)


def _no_associations(source: Table, id_: str, target: Table) -> HubSpotError:
    start, end = SINGULAR[source.kind].lower(), SINGULAR[target.kind].lower()
    return HubSpotError(
        status=404,
        category="OBJECT_NOT_FOUND",
        message=f"No {end} is associated with {start} {id_}.",
        context={"fromObjectId": [id_], "fromObjectType": [start], "toObjectType": [end]},
        extra={"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"},
    )


def _associate_batch(
    portal: Portal, call: Call, source: Table, target: Table, view: ResultView
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for item in batch_inputs(call.data, source.kind):
        pair = _associate(portal, source, target, item)
        if isinstance(pair, HubSpotError):
            portal.count_rejection(pair)
            errors.append(pair.as_batch_error())
        else:
            results += view(source, target, pair)
    return portal.shuffle(results), errors


def _associate(
    portal: Portal, source: Table, target: Table, item: dict[str, Any]
) -> tuple[int, int] | HubSpotError:
    """Associate the records of *item*; return their numbers, or the error if one is missing."""
    ends = item.get("from"), item.get("to")
    if not all(isinstance(end, dict) and end.get("id") for end in ends):
        raise invalid("Invalid input JSON: `from` and `to` need an `id` each", reason="ENDS")
    ids = [str(end["id"]) for end in ends if end]
    number, other = source.find(ids[0], None), target.find(ids[1], None)
    if number is None or other is None:
        # Returned, not raised: the batch goes on with its other pairs.
        return HubSpotError(
            status=404,
            category="OBJECT_NOT_FOUND",
            message="One or more of the records to associate do not exist",
            context={"fromObjectId": ids[:1], "toObjectId": ids[1:]},
        )
    portal.associate(source.kind, number, other)
    return number, other


def _default_results(source: Table, target: Table, pair: tuple[int, int]) -> list[dict[str, Any]]:
    # Deal 40001 and contact 101: one result for 40001 → 101 (type 3), one for 101 → 40001 (type 4).
    directions = ((source, target, pair), (target, source, pair[::-1]))
    return [
        {
            "from": {"id": str(numbers[0])},
            "to": {"id": str(numbers[1])},
            "associationSpec": {
                "associationCategory": "HUBSPOT_DEFINED",
                "associationTypeId": ASSOCIATION_TYPE_IDS[start.kind, end.kind],
            },
        }
        for start, end, numbers in directions
    ]


def _labelled_results(source: Table, target: Table, pair: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        {
            "fromObjectTypeId": OBJECT_TYPE_IDS[source.kind],
            "fromObjectId": str(pair[0]),
            "toObjectTypeId": OBJECT_TYPE_IDS[target.kind],
            "toObjectId": str(pair[1]),
            "labels": [],
        }
    ]


def _targets(source: Table, target: Table, numbers: tuple[int, ...]) -> list[dict[str, Any]]:
    type_ = {
        "category": "HUBSPOT_DEFINED",
        "typeId": ASSOCIATION_TYPE_IDS[source.kind, target.kind],
        "label": None,
    }
    return [{"toObjectId": str(number), "associationTypes": [type_]} for number in numbers]
