"""Reading records, associations, pipelines, properties and account details."""

from __future__ import annotations

import pytest
import pytest_asyncio

from anytrack_async.sandbox import HubSpotPortal

pytestmark = pytest.mark.asyncio

LINK = "/crm/associations/2026-09/deals/contacts/batch"
PROPERTIES = "/crm/properties/2026-09/deals"
NEW = {
    "name": "colour",
    "label": "Colour",
    "type": "enumeration",
    "fieldType": "select",
    "groupName": "dealinformation",
    "options": [{"label": "Red", "value": "red"}, "junk"],
}


@pytest_asyncio.fixture
async def portal(hubspot):
    """A portal with three deals and two contacts, the first of each associated."""
    await hubspot.upsert(hubspot.deal("e1", amount="9.90"))
    for event in ("e2", "e3"):
        await hubspot.upsert(hubspot.deal(event))
    for email in ("ann@example.com", "bob@example.com"):
        await hubspot.upsert_contacts(email)
    await hubspot.post(f"{LINK}/associate/default", {"inputs": [pair("40001", "101")]})
    return hubspot


def pair(deal, contact):
    return {"from": {"id": deal}, "to": {"id": contact}}


async def test_a_record_is_read_by_id_or_by_a_unique_value(portal):
    by_id = await portal.get(f"{portal.deals}/40001")
    by_value = await portal.get(f"{portal.deals}/e1", idProperty="anytrack_event_id")

    assert by_id.json() == by_value.json()
    assert by_id.json()["properties"]["dealname"] == "Conversion 1"
    assert "anytrack_event_id" not in by_id.json()["properties"]


async def test_only_the_requested_properties_are_returned(portal):
    response = await portal.get(f"{portal.deals}/40001", properties=["amount,dealtype", "pipeline"])

    expected = {"amount": "9.90", "dealtype": None, "pipeline": "default"}
    assert response.json()["properties"].items() >= expected.items()
    assert "dealname" not in response.json()["properties"]


async def test_a_missing_record_is_404(portal):
    response = await portal.get(f"{portal.deals}/1")

    assert response.status_code == 404
    assert response.json()["category"] == "OBJECT_NOT_FOUND"


async def test_a_record_is_returned_with_its_associations(portal):
    deal = await portal.get(f"{portal.deals}/40001", associations="contacts")
    contact = await portal.get(f"{portal.contacts}/101", associations="deals")
    alone = await portal.get(f"{portal.deals}/40002", associations="contacts")

    assert deal.json()["associations"]["contacts"]["results"] == [
        {"id": "101", "type": "deal_to_contact"}
    ]
    assert contact.json()["associations"]["deals"]["results"][0]["id"] == "40001"
    assert "associations" not in alone.json()


async def test_records_come_in_pages(portal):
    first = (await portal.get(portal.deals, limit=2)).json()
    second = (await portal.get(portal.deals, limit=2, after="2")).json()

    assert [r["id"] for r in first["results"]] == ["40001", "40002"]
    assert first["paging"] == {"next": {"after": "2"}}
    assert [r["id"] for r in second["results"]] == ["40003"]
    assert "paging" not in second
    assert (await portal.get(portal.deals, limit="all")).status_code == 400


async def test_a_batch_read_names_missing_records(portal):
    body = {
        "idProperty": "anytrack_event_id",
        "properties": ["amount"],
        "inputs": [{"id": "e1"}, {"id": "e9"}],
    }

    response = await portal.post(f"{portal.deals}/batch/read", body)

    assert response.status_code == 207
    [record] = response.json()["results"]
    assert record["properties"]["anytrack_event_id"] == "e1"
    assert response.json()["errors"][0]["context"] == {"ids": ["e9"]}


async def test_a_batch_read_of_existing_records_is_200(portal):
    response = await portal.post(f"{portal.deals}/batch/read", {"inputs": [{"id": "40001"}]})

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("filter_", "total"),
    [
        ({"operator": "EQ", "propertyName": "anytrack_event_id", "value": "e2"}, 1),
        ({"operator": "IN", "propertyName": "anytrack_event_id", "values": ["e1", "e3"]}, 2),
        ({"operator": "HAS_PROPERTY", "propertyName": "amount"}, 1),
    ],
)
async def test_a_search_returns_records_that_pass_its_filters(portal, filter_, total):
    body = {"filterGroups": [{"filters": [filter_]}], "limit": 1}

    response = (await portal.post(f"{portal.deals}/search", body)).json()

    assert response["total"] == total
    assert len(response["results"]) == 1


async def test_a_search_without_filters_returns_all(portal):
    assert (await portal.post(f"{portal.deals}/search", {})).json()["total"] == 3


async def test_an_unknown_search_operator_is_400(portal):
    body = {"filterGroups": [{"filters": [{"operator": "GT"}]}]}

    assert (await portal.post(f"{portal.deals}/search", body)).status_code == 400


async def test_an_association_has_two_directions_and_may_be_repeated(portal):
    for _ in range(2):
        response = await portal.post(
            f"{LINK}/associate/default", {"inputs": [pair("40002", "102"), pair("40002", "101")]}
        )

    assert response.status_code == 200
    types = [r["associationSpec"]["associationTypeId"] for r in response.json()["results"]]
    assert sorted(types) == [3, 3, 4, 4]
    assert portal.app.ledger.as_dict()["hubspot"]["associations"] == 3


async def test_the_v4_path_associates_as_well(portal):
    path = "/crm/v4/associations/contacts/deals/batch/associate/default"

    response = await portal.post(path, {"inputs": [pair("102", "40003")]})

    assert response.status_code == 200
    assert portal.app.ledger.as_dict()["hubspot"]["associations"] == 2


async def test_an_association_with_a_missing_record_is_an_error(portal):
    body = {"inputs": [pair("40002", "102"), pair("40002", "999"), pair("x", "101")]}

    response = await portal.post(f"{LINK}/associate/default", body)

    assert response.status_code == 200
    assert len(response.json()["results"]) == 2
    assert response.json()["numErrors"] == 2
    assert response.json()["errors"][0]["context"]["toObjectId"] == ["999"]
    assert portal.app.ledger.as_dict()["hubspot"]["rejected"] == {"OBJECT_NOT_FOUND": 2}


@pytest.mark.parametrize("item", [{}, {"from": "1", "to": "2"}, {"from": {"id": "1"}}])
async def test_an_association_needs_two_records(portal, item):
    response = await portal.post(f"{LINK}/associate/default", {"inputs": [item]})

    assert response.status_code == 400


async def test_an_association_with_an_explicit_type_is_201(portal):
    response = await portal.post(f"{LINK}/create", {"inputs": [pair("40002", "102")]})

    assert response.status_code == 201
    assert response.json()["results"] == [
        {
            "fromObjectTypeId": "0-3",
            "fromObjectId": "40002",
            "toObjectTypeId": "0-1",
            "toObjectId": "102",
            "labels": [],
        }
    ]


async def test_associations_are_read_in_a_batch(portal):
    batch = await portal.post(f"{LINK}/read", {"inputs": [{"id": "40001"}, {"id": "40002"}]})
    single = await portal.get(f"{portal.deals}/40001/associations/contacts")
    nothing = await portal.get(f"{portal.deals}/7/associations/contacts")

    assert [r["from"]["id"] for r in batch.json()["results"]] == ["40001"]
    assert single.json()["results"] == batch.json()["results"][0]["to"]
    assert single.json()["results"][0]["toObjectId"] == "101"
    assert nothing.json()["results"] == []


async def test_a_record_without_associations_is_an_error_of_a_batch(portal):
    response = await portal.post(f"{LINK}/read", {"inputs": [{"id": "40001"}, {"id": "40002"}]})
    good = await portal.post(f"{LINK}/read", {"inputs": [{"id": "40001"}]})

    (error,) = response.json()["errors"]
    assert response.status_code == 207
    assert error["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"
    assert error["context"] == {
        "fromObjectId": ["40002"],
        "fromObjectType": ["deal"],
        "toObjectType": ["contact"],
    }
    assert (good.status_code, "errors" in good.json()) == (200, False)


async def test_two_records_are_associated_by_a_path(portal):
    path = f"{portal.deals}/40002/associations/default/contacts"

    assert (await portal.http.put(f"{path}/102")).json()["status"] == "COMPLETE"
    assert (await portal.http.put(f"{path}/999")).status_code == 404


async def test_deal_pipelines_have_named_and_numeric_ids(hubspot):
    pipelines = (await hubspot.get("/crm/pipelines/2026-09/deals")).json()["results"]

    assert [p["id"] for p in pipelines] == ["default", "1016571"]
    assert "closedwon" in [stage["id"] for stage in pipelines[0]["stages"]]
    pipeline = await hubspot.get("/crm/v3/pipelines/deals/1016571")
    stages = await hubspot.get("/crm/v3/pipelines/deals/1016571/stages")
    stage = await hubspot.get("/crm/v3/pipelines/deals/1016571/stages/2031246")
    assert pipeline.json() == pipelines[1]
    assert stages.json()["results"] == pipelines[1]["stages"]
    assert stage.json() == pipelines[1]["stages"][1]


async def test_an_unknown_pipeline_or_stage_is_404(hubspot):
    assert (await hubspot.get("/crm/v3/pipelines/deals/sales")).status_code == 404
    assert (await hubspot.get("/crm/v3/pipelines/deals/default/stages/x")).status_code == 404
    assert (await hubspot.get("/crm/v3/pipelines/deals/default/audit")).status_code == 404
    assert (await hubspot.get("/crm/v3/pipelines/contacts")).json() == {"results": []}


async def test_a_property_is_read(hubspot):
    property_ = (await hubspot.get(f"{PROPERTIES}/anytrack_event_id")).json()

    assert property_["hasUniqueValue"] is True
    assert property_["hubspotDefined"] is False
    assert property_ in (await hubspot.get(PROPERTIES)).json()["results"]
    assert (await hubspot.get(f"{PROPERTIES}/nothing")).status_code == 404


async def test_properties_are_read_in_a_batch(hubspot):
    path = f"{PROPERTIES}/batch/read"
    good = await hubspot.post(path, {"inputs": [{"name": "amount"}]})
    mixed = await hubspot.post(path, {"inputs": [{"name": "amount"}, {"name": "nothing"}]})

    assert (good.status_code, mixed.status_code) == (200, 207)
    assert [property_["name"] for property_ in mixed.json()["results"]] == ["amount"]
    assert mixed.json()["errors"][0]["context"] == {"propertyName": ["nothing"]}


async def test_a_new_enumeration_accepts_only_its_options(hubspot):
    created = await hubspot.post(PROPERTIES, NEW)

    assert created.status_code == 201
    assert [o["value"] for o in created.json()["options"]] == ["red"]
    assert (await hubspot.upsert(hubspot.deal("e1", colour="red"))).status_code == 200
    assert (await hubspot.upsert(hubspot.deal("e1", colour="blue"))).status_code == 207


async def test_a_new_unique_property_identifies_deals(make, hubspot_of):
    hubspot = hubspot_of(make(hubspot=HubSpotPortal(prepared=False)))
    event_id = {**NEW, "name": "anytrack_event_id", "type": "string", "hasUniqueValue": True}

    await hubspot.post(PROPERTIES, {**event_id, "options": []})

    assert (await hubspot.upsert(hubspot.deal("e1"))).status_code == 200


async def test_an_existing_property_is_409(hubspot):
    response = await hubspot.post(PROPERTIES, {**NEW, "name": "dealname"})

    assert response.status_code == 409
    assert "already exists" in response.json()["message"]


@pytest.mark.parametrize(
    "change", [{"name": None}, {"label": ""}, {"type": "colour"}, {"groupName": "nowhere"}]
)
async def test_an_incomplete_property_is_400(hubspot, change):
    assert (await hubspot.post(PROPERTIES, {**NEW, **change})).status_code == 400


async def test_at_most_ten_properties_are_unique(hubspot):
    codes = [
        (
            await hubspot.post(PROPERTIES, {**NEW, "name": f"p{n}", "hasUniqueValue": True})
        ).status_code
        for n in range(10)
    ]

    assert codes == [201] * 9 + [400]


async def test_property_groups_are_read_and_created(hubspot):
    group = {"name": "anytrack", "label": "AnyTrack"}

    assert (await hubspot.post(f"{PROPERTIES}/groups", group)).status_code == 201
    assert (await hubspot.post(f"{PROPERTIES}/groups", group)).status_code == 409
    assert (await hubspot.get(f"{PROPERTIES}/groups/anytrack")).json()["label"] == "AnyTrack"
    groups = (await hubspot.get(f"{PROPERTIES}/groups")).json()["results"]
    assert [g["name"] for g in groups] == ["dealinformation", "anytrack"]
    assert (await hubspot.get(f"{PROPERTIES}/groups/nothing")).status_code == 404
    assert (await hubspot.post(PROPERTIES, {**NEW, "groupName": "anytrack"})).status_code == 201


async def test_account_details_have_currencies_and_time_zone(hubspot):
    details = (await hubspot.get("/account-info/2026-09/details")).json()

    assert details["companyCurrency"] == "USD"
    assert "CHF" in details["additionalCurrencies"]
    assert details["timeZone"] == "UTC"


@pytest.mark.parametrize("path", ["/events/custom/2026-09/send", "/events/v3/send"])
async def test_a_custom_event_is_accepted_once_by_uuid(hubspot, path):
    event = {"eventName": "pe1_sale", "email": "ann@example.com", "uuid": "u1"}

    single = await hubspot.post(path, event)
    batch = await hubspot.post(f"{path}/batch", {"inputs": [event, {**event, "uuid": None}]})

    assert (single.status_code, batch.status_code) == (204, 204)
    assert batch.content == b""
    assert hubspot.app.ledger.as_dict()["hubspot"]["events"] == 2


@pytest.mark.parametrize(
    "inputs",
    [None, ["x"], [{"email": "a@b.com"}], [{"eventName": "pe1_sale"}], [{"eventName": "x"}] * 501],
)
async def test_an_invalid_custom_event_rejects_its_batch(hubspot, inputs):
    response = await hubspot.post("/events/custom/2026-09/send/batch", {"inputs": inputs})

    assert response.status_code == 400
    assert hubspot.app.ledger.as_dict()["hubspot"]["events"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/crm/objects/2026-09/deals/1/2/3", 404),
        ("GET", "/crm/objects/2026-09/unicorns", 400),
        ("GET", "/crm/wishes/2026-09/deals", 404),
        ("GET", "/crm/objects/yesterday/deals", 404),
        ("POST", "/crm/associations/2026-09/deals/deals/batch/read", 404),
        ("POST", "/crm/associations/2026-09/deals/contacts/batch/archive", 404),
        ("DELETE", "/crm/properties/2026-09/deals/dealname", 404),
        ("POST", "/crm/properties/2026-09/deals/dealname", 404),
    ],
)
async def test_an_unknown_path_is_rejected(hubspot, method, path, status):
    assert (await hubspot.http.request(method, path)).status_code == status
