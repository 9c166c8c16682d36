"""Batch upserts, creates and updates: written and rejected inputs, and the replies."""

from __future__ import annotations

import pytest

from anytrack_async.sandbox import HubSpotPortal

pytestmark = pytest.mark.asyncio


def page(caller):
    return caller.app.ledger.as_dict(ids=True)["hubspot"]


async def test_a_deal_is_created_then_changed(hubspot):
    first = await hubspot.upsert(hubspot.deal("e1", amount="9.90"))
    second = await hubspot.upsert(hubspot.deal("e1", amount="5"))

    [created], [changed] = first.json()["results"], second.json()["results"]
    assert (first.status_code, second.status_code) == (200, 200)
    assert (created["new"], changed["new"]) == (True, False)
    assert created["id"] == changed["id"]
    assert changed["properties"]["amount"] == "5"
    assert changed["properties"]["anytrack_event_id"] == "e1"
    assert changed["archived"] is False
    assert (page(hubspot)["unique"], page(hubspot)["duplicates"]) == (1, 1)
    assert page(hubspot)["ids"] == {"e1": 2}


@pytest.mark.parametrize(
    "path",
    [
        "/crm/objects/2026-09/deals/batch/upsert",
        "/crm/objects/2026-03/0-3/batch/upsert",
        "/crm/v3/objects/deals/batch/upsert",
        "/crm/objects/v3/deal/batch/upsert",
    ],
)
async def test_every_version_of_the_path_is_the_same_call(hubspot, path):
    response = await hubspot.post(path, {"inputs": [hubspot.deal("e1")]})

    assert response.json()["status"] == "COMPLETE"
    assert page(hubspot)["unique"] == 1


async def test_results_are_in_random_order(hubspot):
    events = [f"e{n}" for n in range(50)]

    response = await hubspot.upsert(*map(hubspot.deal, events))

    order = [r["properties"]["anytrack_event_id"] for r in response.json()["results"]]
    assert order != events
    assert sorted(order) == sorted(events)


async def test_trace_ids_are_echoed_sometimes(hubspot):
    responses = [await hubspot.upsert(hubspot.deal(f"e{n}")) for n in range(20)]

    echoed = {response.json()["results"][0].get("objectWriteTraceId") for response in responses}
    assert None in echoed
    assert len(echoed) > 2


async def test_emails_are_stored_in_lower_case(hubspot):
    response = await hubspot.upsert_contacts("Ann@Example.COM", firstname="Ann")

    [contact] = response.json()["results"]
    assert contact["properties"]["email"] == "ann@example.com"
    assert contact["properties"]["firstname"] == "Ann"
    assert page(hubspot)["contacts"] == 1
    assert page(hubspot)["accepted"] == 0


async def test_an_email_is_one_contact_in_any_case(hubspot):
    await hubspot.upsert_contacts("ann@example.com")
    response = await hubspot.upsert_contacts("ANN@example.com")

    assert response.json()["results"][0]["new"] is False
    assert page(hubspot)["contacts"] == 1


async def test_a_contact_may_change_its_email(hubspot):
    await hubspot.upsert_contacts("ann@example.com")
    await hubspot.upsert_contacts("ann@example.com", email="new@example.com")

    assert (await hubspot.upsert_contacts("new@example.com")).json()["results"][0]["new"] is False
    assert (await hubspot.upsert_contacts("ann@example.com")).json()["results"][0]["new"] is True


async def test_with_trace_ids_the_valid_inputs_are_written(hubspot):
    response = await hubspot.upsert(hubspot.deal("e1"), hubspot.deal("e2", colour="red"))

    body = response.json()
    assert response.status_code == 207
    assert [r["properties"]["anytrack_event_id"] for r in body["results"]] == ["e1"]
    assert body["numErrors"] == 1
    [error] = body["errors"]
    assert error["context"] == {"objectWriteTraceId": ["e2"]}
    assert error["category"] == "VALIDATION_ERROR"
    assert error["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"
    assert page(hubspot)["rejected"] == {"PROPERTY_DOESNT_EXIST": 1}
    assert page(hubspot)["accepted"] == 1


@pytest.mark.parametrize("trace", [None, ""])
async def test_without_trace_ids_nothing_is_written(hubspot, trace):
    inputs = [hubspot.deal("e1", trace), hubspot.deal("e2", "t2", colour="red")]

    response = await hubspot.upsert(*inputs)

    assert response.status_code == 400
    assert response.json()["status"] == "error"
    assert response.json()["errors"][0]["context"] == {"propertyName": ["colour"]}
    assert response.json()["correlationId"] == response.headers["X-HubSpot-Correlation-Id"]
    assert page(hubspot)["accepted"] == 0
    assert page(hubspot)["rejected"] == {"PROPERTY_DOESNT_EXIST": 1}


@pytest.mark.parametrize("body", [{}, {"inputs": []}, {"inputs": None}, {"deals": [1]}])
async def test_a_batch_without_inputs_is_200(hubspot, body):
    response = await hubspot.post(f"{hubspot.deals}/batch/upsert", body)

    assert response.status_code == 200
    assert response.json()["results"] == []


async def test_a_batch_has_at_most_100_inputs(hubspot):
    deals = [hubspot.deal(f"e{n}") for n in range(101)]

    assert (await hubspot.upsert(*deals)).status_code == 400
    assert len((await hubspot.upsert(*deals[:100])).json()["results"]) == 100


async def test_duplicate_ids_reject_the_whole_batch_even_with_trace_ids(hubspot):
    response = await hubspot.upsert(hubspot.deal("e1"), hubspot.deal("e1", "t2"))

    assert response.status_code == 400
    assert "Duplicate IDs found in batch input: [e1]" in response.json()["message"]
    assert response.json()["context"] == {"ids": ["e1"]}
    assert page(hubspot)["rejected"] == {"DUPLICATE_IDS": 1}


async def test_duplicate_emails_are_found_in_any_case(hubspot):
    assert (await hubspot.upsert_contacts("a@b.com", "A@B.com")).status_code == 400


async def test_an_upsert_has_no_associations(hubspot):
    await hubspot.upsert_contacts("a@b.com")
    to = {"to": {"id": "101"}, "types": [{"associationTypeId": 3}]}

    response = await hubspot.upsert({**hubspot.deal("e1"), "associations": [to]})

    assert response.status_code == 200
    assert page(hubspot)["associations"] == 0


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("colour", "red", "PROPERTY_DOESNT_EXIST"),
        ("source", "google", "PROPERTY_DOESNT_EXIST"),
        ("dealstage", "won", "INVALID_OPTION"),
        ("dealstage", "2031246", "INVALID_OPTION"),
        ("pipeline", "other", "INVALID_OPTION"),
        ("deal_currency_code", "XAU", "INVALID_OPTION"),
        ("deal_currency_code", "usd", "INVALID_OPTION"),
        ("amount", "1,234.50", "INVALID_NUMBER"),
        ("amount", "1e3", "INVALID_NUMBER"),
        ("amount", " 5", "INVALID_VALUE"),
        ("dealname", "Deal ", "INVALID_VALUE"),
        ("closedate", "tomorrow", "INVALID_DATE"),
        ("closedate", "2026-10-01 10:00", "INVALID_DATE"),
        ("hs_object_id", "5", "READ_ONLY_VALUE"),
        ("dealname", "", "MISSING_REQUIRED_PROPERTY"),
    ],
)
async def test_an_invalid_value_has_its_code(hubspot, name, value, code):
    response = await hubspot.upsert(hubspot.deal("e1", **{name: value}))

    [error] = response.json()["errors"]
    assert response.status_code == 207
    assert error["errors"][0]["code"] == code
    assert page(hubspot)["rejected"] == {code: 1}


@pytest.mark.parametrize(
    "values",
    [
        {"closedate": "2026-10-01T10:00:00.000Z"},
        {"closedate": "2026-10-01T10:00:00Z"},
        {"closedate": "1790942400000"},
        {"closedate": "2026-10-01"},
        {"amount": "-5"},
        {"amount": "9.90", "deal_currency_code": "EUR"},
        {"amount": "", "description": ""},
        {"pipeline": "1016571", "dealstage": "2031246"},
        {"anytrack_source": "google", "anytrack_click_id": "c1"},
    ],
)
async def test_a_valid_value_is_accepted(hubspot, values):
    assert (await hubspot.upsert(hubspot.deal("e1", **values))).status_code == 200


@pytest.mark.parametrize("missing", ["dealname", "dealstage", "pipeline"])
async def test_a_new_deal_needs_name_stage_and_pipeline(hubspot, missing):
    deal = hubspot.deal("e1", None)
    del deal["properties"][missing]

    response = await hubspot.upsert(deal)

    assert response.status_code == 400
    assert response.json()["context"] == {"properties": [missing]}
    assert response.json()["errors"][0]["code"] == "MISSING_REQUIRED_PROPERTY"


async def test_an_existing_deal_needs_only_its_changes(hubspot):
    await hubspot.upsert(hubspot.deal("e1"))
    change = {**hubspot.deal("e1"), "properties": {"dealstage": "closedlost"}}

    assert (await hubspot.upsert(change)).status_code == 200


async def test_a_stage_must_be_of_the_deals_own_pipeline(hubspot):
    await hubspot.upsert(hubspot.deal("e1"))
    change = {**hubspot.deal("e1"), "properties": {"dealstage": "2031246"}}

    assert (await hubspot.upsert(change)).json()["errors"][0]["errors"][0]["code"] == (
        "INVALID_OPTION"
    )


async def test_a_currency_missing_from_the_portal_is_named(hubspot):
    response = await hubspot.upsert(hubspot.deal("e1", deal_currency_code="XAU"))

    assert response.json()["errors"][0]["errors"][0]["message"] == (
        '"XAU" is not a part of the current effective currency codes for portal 62515'
    )


async def test_an_invalid_email_is_rejected(hubspot):
    response = await hubspot.upsert_contacts("not an address")

    assert response.json()["errors"][0]["errors"][0]["code"] == "INVALID_EMAIL"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"properties": {"amount": 9.9}}, "VALUE_NOT_A_STRING"),
        ({"properties": {"amount": None}}, "VALUE_NOT_A_STRING"),
        ({"properties": None}, "PROPERTIES"),
        ({"id": 5}, "ID"),
        ({"id": ""}, "ID"),
        ({"idProperty": "dealname"}, "ID_PROPERTY"),
        ({"idProperty": "nothing"}, "ID_PROPERTY"),
        ({"idProperty": ["anytrack_event_id"]}, "ID_PROPERTY"),
    ],
)
async def test_a_malformed_input_rejects_the_whole_batch(hubspot, change, reason):
    response = await hubspot.upsert(hubspot.deal("e1"), {**hubspot.deal("e2"), **change})

    assert response.status_code == 400
    assert page(hubspot)["rejected"] == {reason: 1}
    assert page(hubspot)["accepted"] == 0


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"inputs": [NaN]}', b'{"inputs": [1]}'])
async def test_a_malformed_batch_is_400(hubspot, body):
    response = await hubspot.http.post(f"{hubspot.deals}/batch/upsert", content=body)

    assert response.status_code == 400
    assert response.json()["category"] == "VALIDATION_ERROR"


async def test_without_an_id_property_the_id_is_the_record_id(hubspot):
    await hubspot.upsert(hubspot.deal("e1"))

    def by_id(id_):
        return {**hubspot.deal(id_), "idProperty": None, "properties": {"amount": "1"}}

    response = await hubspot.upsert(by_id("40001"), by_id("7"), by_id("x"))

    assert [r["id"] for r in response.json()["results"]] == ["40001"]
    assert {e["category"] for e in response.json()["errors"]} == {"OBJECT_NOT_FOUND"}


async def test_an_unprepared_portal_has_no_anytrack_properties(make, hubspot_of):
    hubspot = hubspot_of(make(hubspot=HubSpotPortal(prepared=False)))

    assert (await hubspot.upsert(hubspot.deal("e1"))).status_code == 400
    assert page(hubspot)["rejected"] == {"ID_PROPERTY": 1}


async def test_a_batch_create_is_201(hubspot):
    body = {"inputs": [{"properties": hubspot.deal("")["properties"]}]}

    response = await hubspot.post(f"{hubspot.deals}/batch/create", body)

    assert response.status_code == 201
    assert page(hubspot)["unique"] == 1


async def test_a_unique_value_is_accepted_once(hubspot):
    await hubspot.upsert(hubspot.deal("e1"))
    values = {**hubspot.deal("")["properties"], "anytrack_event_id": "e1"}

    response = await hubspot.post(hubspot.deals, {"properties": values})

    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "CONFLICTING_UNIQUE_VALUE"


async def test_an_existing_contact_is_a_conflict_with_its_id(hubspot):
    await hubspot.upsert_contacts("ann@example.com")

    response = await hubspot.post(hubspot.contacts, {"properties": {"email": "ANN@example.com"}})

    assert response.status_code == 409
    assert response.json()["category"] == "CONFLICT"
    assert response.json()["message"] == "Contact already exists. Existing ID: 101"


async def test_a_deal_is_created_with_its_contact(hubspot):
    await hubspot.upsert_contacts("ann@example.com")
    links = [
        {"to": {"id": "101"}, "types": [{"associationTypeId": 3}]},
        {"to": {"id": "102"}, "types": [{"associationTypeId": 3}]},
        {"to": {"id": "101"}, "types": [{"associationTypeId": 99}]},
        {"to": None, "types": None},
    ]
    body = {"properties": hubspot.deal("")["properties"], "associations": links}

    response = await hubspot.post(hubspot.deals, body)

    assert response.status_code == 201
    assert page(hubspot)["associations"] == 1


async def test_a_deal_is_changed_by_its_id_or_its_unique_value(hubspot):
    await hubspot.upsert(hubspot.deal("e1"))

    async def patch(path, values):
        return await hubspot.http.patch(f"{hubspot.deals}/{path}", json={"properties": values})

    assert (await patch("40001", {"amount": "1"})).json()["properties"]["amount"] == "1"
    changed = await patch("e1?idProperty=anytrack_event_id", {"amount": "2"})
    assert changed.json()["properties"]["amount"] == "2"
    assert (await patch("9", {"amount": "2"})).status_code == 404
    assert (await patch("40001", {"amount": "x"})).status_code == 400
    assert page(hubspot)["duplicates"] == 0


async def test_a_batch_update_changes_only_existing_records(hubspot):
    await hubspot.upsert(hubspot.deal("e1"))
    inputs = [
        {"id": "40001", "objectWriteTraceId": "1", "properties": {"amount": "7"}},
        {"id": "9", "objectWriteTraceId": "2", "properties": {"amount": "7"}},
    ]

    response = await hubspot.post(f"{hubspot.deals}/batch/update", {"inputs": inputs})

    assert response.status_code == 207
    assert [r["id"] for r in response.json()["results"]] == ["40001"]
    assert page(hubspot)["accepted"] == 1


async def test_a_deal_too_old_to_be_kept_is_still_one_deal(make, hubspot_of):
    hubspot = hubspot_of(make(keep=1))
    for event in ("e1", "e2", "e1"):
        await hubspot.upsert(hubspot.deal(event))

    assert (page(hubspot)["unique"], page(hubspot)["duplicates"]) == (2, 1)
