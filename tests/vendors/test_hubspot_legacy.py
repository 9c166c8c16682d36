"""HubSpot's `hubspot-api-client` works against the sandbox, and reads its refusals.

Where that client itself is at fault, a test says so: there the sandbox does as HubSpot documents.
"""

from __future__ import annotations

import hubspot
import pytest
from hubspot.crm import contacts, deals, properties
from hubspot.crm.associations import v4
from hubspot.events import send
from urllib3.util import Retry

from anytrack_async.destinations.hubspot.mapping import to_contact, to_deal
from tests.vendors.hubspot_legacy import (
    DEAL,
    SETTINGS,
    TO_CONTACT,
    TOKEN,
    create_contact,
    create_deal,
    link,
    rejected,
    said,
    sale,
    upsert_deals,
    upserts,
)


@pytest.fixture
def connect():
    """Return a function that makes a client for a sandbox."""
    return lambda sandbox, token=TOKEN, **config: hubspot.HubSpot(
        access_token=token, host=sandbox.url, **config
    )


@pytest.fixture
def client(connect, sandbox):
    return connect(sandbox)


class TestRecords:
    def test_create_read_and_update(self, client):
        created = create_deal(client, amount="12.5")
        client.crm.deals.basic_api.update(
            created.id, deals.SimplePublicObjectInput(properties={"amount": "13"})
        )

        read = client.crm.deals.basic_api.get_by_id(created.id, properties=["amount", "closedate"])
        assert (read.id, read.archived) == (created.id, False)
        assert read.properties["amount"] == "13"
        assert read.properties["closedate"] is None
        assert read.updated_at >= read.created_at == created.created_at

    def test_read_by_unique_property(self, client):
        upsert_deals(client, to_deal(sale(1), SETTINGS))

        read = client.crm.deals.basic_api.get_by_id("sale:1", id_property="anytrack_event_id")
        assert read.properties["dealname"] == "Conversion sale:1"

    def test_create_with_an_association(self, client):
        contact = create_contact(client, "jane@example.com")
        types = [deals.AssociationSpec(**TO_CONTACT)]
        to = deals.PublicObjectId(id=contact.id)
        item = deals.SimplePublicObjectInputForCreate(
            properties=DEAL, associations=[deals.PublicAssociationsForObject(to=to, types=types)]
        )
        created = client.crm.deals.basic_api.create(item)

        read = client.crm.deals.basic_api.get_by_id(created.id, associations=["contacts"])
        assert [item.id for item in read.associations["contacts"].results] == [contact.id]

    def test_batches(self, client):
        item_type = deals.SimplePublicObjectBatchInputForCreate
        api = client.crm.deals.batch_api
        created = api.create(
            deals.BatchInputSimplePublicObjectBatchInputForCreate(
                inputs=[item_type(properties=DEAL, associations=[]) for _ in range(3)]
            )
        )
        ids = [record.id for record in created.results]
        changed = api.update(
            deals.BatchInputSimplePublicObjectBatchInput(
                inputs=[
                    deals.SimplePublicObjectBatchInput(id=id_, properties={"amount": "7"})
                    for id_ in ids
                ]
            )
        )
        read = api.read(
            deals.BatchReadInputSimplePublicObjectId(
                properties=["amount"],
                properties_with_history=[],
                inputs=[deals.SimplePublicObjectId(id=id_) for id_ in ids],
            )
        )

        assert {created.status, changed.status, read.status} == {"COMPLETE"}
        assert {record.id for record in read.results} == set(ids)
        assert {record.properties["amount"] for record in read.results} == {"7"}

    def test_pages_and_search(self, client):
        for number in range(12):
            create_deal(client, dealname=f"Deal {number}")

        rule = deals.Filter(property_name="dealname", operator="EQ", value="Deal 7")
        page = client.crm.deals.search_api.do_search(
            deals.PublicObjectSearchRequest(filter_groups=[deals.FilterGroup(filters=[rule])])
        )
        assert len(client.crm.deals.get_all()) == 12
        assert (page.total, page.results[0].properties["dealname"]) == (1, "Deal 7")


class TestUpsert:
    def test_our_own_inputs_are_accepted(self, client, sandbox):
        sales = [sale(number) for number in range(3)]
        people = client.crm.contacts.batch_api.upsert(
            upserts(contacts, [to_contact(conversion, SETTINGS) for conversion in sales])
        )
        created = upsert_deals(client, *(to_deal(conversion, SETTINGS) for conversion in sales))

        assert {record.properties["email"] for record in people.results} == {
            f"jane{number}@example.com" for number in range(3)
        }
        assert {record.properties["anytrack_event_id"] for record in created.results} == {
            conversion.event_id for conversion in sales
        }
        assert all(record.new for record in [*people.results, *created.results])
        assert sandbox.ledger()["hubspot"]["unique"] == 3

    def test_a_repeat_changes_the_same_record(self, client):
        (first,) = upsert_deals(client, to_deal(sale(1), SETTINGS)).results
        (again,) = upsert_deals(client, to_deal(sale(1, revenue=20), SETTINGS)).results

        assert (first.id, first.new) == (again.id, True)
        assert (again.new, again.properties["amount"]) == (False, "20")

    def test_a_207_looks_like_a_success_but_for_its_errors(self, client):
        bad = to_deal(sale(1), SETTINGS)
        bad["properties"]["colour"] = "blue"
        answer = upsert_deals(client, bad, to_deal(sale(2), SETTINGS))

        assert isinstance(answer, deals.BatchResponseSimplePublicUpsertObjectWithErrors)
        assert [record.properties["anytrack_event_id"] for record in answer.results] == ["sale:2"]
        assert answer.num_errors == 1
        (error,) = answer.errors
        assert (error.category, error.context["objectWriteTraceId"]) == (
            "VALIDATION_ERROR",
            ["sale:1"],
        )
        assert error.errors[0].code == "PROPERTY_DOESNT_EXIST"

    def test_without_trace_ids_one_bad_input_refuses_all(self, client, sandbox):
        inputs = [to_deal(sale(number), SETTINGS) for number in (1, 2)]
        inputs[0]["properties"]["colour"] = "blue"
        for item in inputs:
            del item["objectWriteTraceId"]

        with pytest.raises(deals.ApiException) as refusal:
            upsert_deals(client, *inputs)

        assert refusal.value.status == 400
        assert said(refusal)["category"] == "VALIDATION_ERROR"
        assert "colour" in said(refusal)["message"]
        assert sandbox.ledger()["hubspot"]["accepted"] == 0

    def test_equal_ids_refuse_all(self, client):
        item = to_deal(sale(1), SETTINGS)
        with pytest.raises(deals.ApiException) as refusal:
            upsert_deals(client, item, item)

        assert refusal.value.status == 400
        assert "IDs must be unique" in said(refusal)["message"]


class TestAssociations:
    @pytest.fixture
    def ids(self, client):
        return create_deal(client).id, create_contact(client, "jane@example.com").id

    def test_default_associations_have_both_directions(self, client, ids):
        for _ in range(2):  # repeating changes nothing
            answer = link(client, ids)

        ways = {(record._from.id, record.to.id) for record in answer.results}
        assert ways == {ids, ids[::-1]}
        assert {record.association_spec.association_type_id for record in answer.results} == {3, 4}

    def test_an_association_with_a_missing_record_is_an_error(self, client, ids):
        answer = link(client, ids, (ids[0], "999"))

        assert len(answer.results) == 2
        assert answer.num_errors == 1
        assert answer.errors[0].context["toObjectId"] == ["999"]

    def test_an_association_with_and_without_a_label(self, client, ids):
        api = client.crm.associations.v4
        default = api.basic_api.create_default("deals", ids[0], "contacts", ids[1])
        end = v4.PublicObjectId
        labelled = api.batch_api.create(
            "deals",
            "contacts",
            v4.BatchInputPublicAssociationMultiPost(
                inputs=[
                    v4.PublicAssociationMultiPost(
                        _from=end(id=ids[0]),
                        to=end(id=ids[1]),
                        types=[v4.AssociationSpec(**TO_CONTACT)],
                    )
                ]
            ),
        )

        assert {record._from.id for record in default.results} == set(ids)
        assert [(record.from_object_id, record.to_object_id) for record in labelled.results] == [
            ids
        ]

    def test_associations_are_read_in_a_batch(self, client, ids):
        link(client, ids)
        api = client.crm.associations.v4
        page = api.basic_api.get_page("deals", ids[0], "contacts")
        asked = [v4.PublicFetchAssociationsBatchRequest(id=id_) for id_ in (ids[0], "1")]
        batch = api.batch_api.get_page(
            "deals", "contacts", v4.BatchInputPublicFetchAssociationsBatchRequest(inputs=asked)
        )

        assert [record.to_object_id for record in page.results] == [ids[1]]
        assert page.results[0].association_types[0].type_id == 3
        assert [record._from.id for record in batch.results] == [ids[0]]
        assert batch.errors[0].sub_category == "crm.associations.NO_ASSOCIATIONS_FOUND"


class TestPortal:
    def test_pipelines(self, client):
        api = client.crm.pipelines
        pipelines = api.pipelines_api.get_all("deals").results
        stages = api.pipeline_stages_api.get_all("deals", "default").results
        won = api.pipeline_stages_api.get_by_id("deals", "default", "closedwon")

        assert [pipeline.id for pipeline in pipelines] == ["default", "1016571"]
        assert [stage.id for stage in stages] == [stage.id for stage in pipelines[0].stages]
        assert won.metadata == {"isClosed": "true", "probability": "1.0"}
        assert api.pipelines_api.get_by_id("deals", "default").label == "Sales Pipeline"

    def test_properties(self, client):
        api = client.crm.properties
        definition = properties.PropertyCreate(
            name="till",
            label="Till",
            type="string",
            field_type="text",
            group_name="shop",
            has_unique_value=True,
        )
        group = properties.PropertyGroupCreate(name="shop", label="Shop")
        api.groups_api.create("deals", group)
        created = api.core_api.create("deals", definition)
        read = api.core_api.get_by_name("deals", "till")

        assert (created.has_unique_value, created.group_name) == (True, "shop")
        assert (read.name, read.type, read.field_type) == ("till", "string", "text")
        assert "till" in {item.name for item in api.core_api.get_all("deals").results}
        assert "shop" in {item.name for item in api.groups_api.get_all("deals").results}
        assert api.groups_api.get_by_name("deals", "shop").label == "Shop"

    def test_properties_in_a_batch(self, client):
        names = [properties.PropertyName(name=name) for name in ("amount", "nothing")]
        answer = client.crm.properties.batch_api.read(
            "deals", properties.BatchReadInputPropertyName(archived=False, inputs=names)
        )

        assert [record.name for record in answer.results] == ["amount"]
        assert answer.errors[0].context == {"propertyName": ["nothing"]}

    def test_events(self, client, sandbox):
        event = send.BehavioralEventHttpCompletionRequest(
            event_name="pe7_sale", email="jane@example.com", uuid="e1", properties={}
        )
        many = send.BatchedBehavioralEventHttpCompletionRequest(inputs=[event, event])
        client.events.send.basic_api.send(event)
        client.events.send.batch_api.send(many)

        assert sandbox.ledger()["hubspot"]["events"] == 1

    def test_a_refresh_token_returns_a_token_that_works(self, connect, sandbox):
        token = connect(sandbox, token=None).oauth.tokens_api.create(
            grant_type="refresh_token",
            client_id="sandbox-client",
            client_secret="sandbox-client-secret",
            refresh_token="sandbox-refresh-token",
        )

        assert (token.token_type, token.expires_in) == ("bearer", 1800)
        assert create_deal(connect(sandbox, token=token.access_token)).id


class TestRefusals:
    def test_401(self, connect, sandbox):
        with pytest.raises(deals.exceptions.UnauthorizedException) as refusal:
            create_deal(connect(sandbox, token="expired"))

        assert said(refusal)["category"] == "INVALID_AUTHENTICATION"

    def test_403_names_the_scope(self, connect, narrow):
        with pytest.raises(deals.exceptions.ForbiddenException) as refusal:
            create_deal(connect(narrow))

        assert said(refusal)["category"] == "MISSING_SCOPES"
        assert said(refusal)["errors"][0]["context"] == {
            "requiredGranularScopes": ["crm.objects.deals.write"]
        }

    def test_404(self, client):
        with pytest.raises(deals.exceptions.NotFoundException) as refusal:
            client.crm.deals.basic_api.get_by_id("999")

        assert said(refusal)["category"] == "OBJECT_NOT_FOUND"

    def test_409_has_the_existing_id(self, client):
        created = create_contact(client, "jane@example.com")
        with pytest.raises(contacts.ApiException) as refusal:
            create_contact(client, "Jane@example.com")

        assert refusal.value.status == 409
        assert said(refusal)["message"] == f"Contact already exists. Existing ID: {created.id}"

    def test_409_of_a_property_that_exists(self, client):
        definition = properties.PropertyCreate(
            name="amount",
            label="A",
            type="number",
            field_type="number",
            group_name="dealinformation",
        )
        with pytest.raises(properties.ApiException) as refusal:
            client.crm.properties.core_api.create("deals", definition)

        assert refusal.value.status == 409

    def test_429_names_the_policy_and_no_post_is_retried(self, connect, narrow):
        # Asked to repeat a 429 three times, the client repeats reads only: urllib3 leaves out
        # POST unless configured otherwise.
        client = connect(narrow, retry=Retry(total=3, status_forcelist=[429], backoff_factor=0))
        search = deals.BatchReadInputSimplePublicObjectId(
            properties=[], properties_with_history=[], inputs=[]
        )
        for _ in range(2):
            client.crm.deals.batch_api.read(search)
        with pytest.raises(deals.ApiException) as refusal:
            client.crm.deals.batch_api.read(search)

        assert refusal.value.status == 429
        assert said(refusal)["policyName"] == "TEN_SECONDLY_ROLLING"
        assert refusal.value.headers["X-HubSpot-RateLimit-Max"] == "2"
        assert rejected(narrow) == {"TEN_SECONDLY_ROLLING": 1}
