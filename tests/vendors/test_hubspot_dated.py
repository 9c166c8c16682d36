"""HubSpot's `hubspot-sdk` works against the sandbox, with every answer checked by its schema.

Where that client itself is at fault, a test says so: there the sandbox does as HubSpot documents.
"""

from __future__ import annotations

from urllib.parse import urlencode

import hubspot_sdk
import pytest
import pytest_asyncio
from hubspot_sdk.types.auth.access_token_response import AccessTokenResponse

from anytrack_async.destinations.hubspot.mapping import to_contact, to_deal
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

pytestmark = pytest.mark.asyncio

TOKEN = "sandbox-hubspot-token"
SETTINGS = HubSpotSettings(access_token="t")
DEAL = {"dealname": "Ant farm", "dealstage": "closedwon", "pipeline": "default", "amount": "12.5"}
TO_CONTACT = {"association_category": "HUBSPOT_DEFINED", "association_type_id": 3}
OAUTH = {
    "grant_type": "refresh_token",
    "client_id": "sandbox-client",
    "client_secret": "sandbox-client-secret",
    "refresh_token": "sandbox-refresh-token",
}


@pytest_asyncio.fixture
async def connect(monkeypatch):
    """Return a function that makes a client for a sandbox."""
    monkeypatch.delenv("HUBSPOT_BASE_URL", raising=False)
    created = []

    def make(sandbox, **options):
        defaults = {"access_token": TOKEN, "max_retries": 0, "_strict_response_validation": True}
        created.append(hubspot_sdk.AsyncHubSpot(base_url=sandbox.url, **{**defaults, **options}))
        return created[-1]

    yield make
    for client in created:
        await client.close()


@pytest_asyncio.fixture
async def client(connect, sandbox):
    return connect(sandbox)


@pytest_asyncio.fixture
async def lenient(connect, sandbox):
    """The client with its defaults: responses that break its schema are returned unchecked."""
    return connect(sandbox, _strict_response_validation=False)


def sale(number, **fields):
    customer = Customer(email=f"Jane{number}@Example.com", first_name="Jane")
    return Conversion.sale(
        **{"revenue": "12.50", "order_id": str(number), "customer": customer, **fields}
    )


def snake(item):
    """Return an input of ours with the client's argument names."""
    names = {"idProperty": "id_property", "objectWriteTraceId": "object_write_trace_id"}
    return {names.get(key, key): value for key, value in item.items()}


async def upsert_deals(client, *inputs):
    return await client.crm.objects.deals.batch.upsert(inputs=[snake(item) for item in inputs])


async def create_deal(client, **values):
    return await client.crm.objects.deals.create(properties={**DEAL, **values}, associations=[])


async def create_contact(client, email="jane@example.com"):
    return await client.crm.objects.contacts.create(properties={"email": email}, associations=[])


async def link(client, *ids):
    return await client.crm.associations.batch.create_default(
        "contacts",
        from_object_type="deals",
        inputs=[{"from": {"id": deal}, "to": {"id": contact}} for deal, contact in ids],
    )


class TestRecords:
    async def test_create_read_and_update(self, client):
        created = await create_deal(client)
        changed = await client.crm.objects.deals.update(created.id, properties={"amount": "13"})
        read = await client.crm.objects.deals.get(created.id, properties=["amount"])

        assert (read.id, read.archived) == (created.id, False)
        assert read.properties["amount"] == changed.properties["amount"] == "13"
        assert read.updated_at >= read.created_at == created.created_at

    async def test_a_missing_value_is_null_which_this_client_rejects(self, client, lenient):
        created = await create_deal(client)
        with pytest.raises(hubspot_sdk.APIResponseValidationError):
            await client.crm.objects.deals.get(created.id, properties=["closedate"])
        read = await lenient.crm.objects.deals.get(created.id, properties=["closedate"])

        assert read.properties["closedate"] is None

    async def test_batches(self, client):
        contact = await create_contact(client)
        to = [{"to": {"id": contact.id}, "types": [TO_CONTACT]}]
        batch = client.crm.objects.deals.batch
        created = await batch.create(inputs=[{"properties": DEAL, "associations": to}] * 3)
        ids = [record.id for record in created.results]
        await batch.update(inputs=[{"id": id_, "properties": {"amount": "7"}} for id_ in ids])
        read = await batch.get(
            inputs=[{"id": id_} for id_ in ids], properties=["amount"], properties_with_history=[]
        )

        assert read.status == "COMPLETE"
        assert {record.id for record in read.results} == set(ids)
        assert {record.properties["amount"] for record in read.results} == {"7"}

    async def test_pages_and_search(self, client, lenient):
        for number in range(12):
            await create_deal(client, dealname=f"Deal {number}")
        rule = {"propertyName": "dealname", "operator": "EQ", "value": "Deal 7"}
        page = await client.crm.objects.deals.search(
            after="",
            filter_groups=[{"filters": [rule]}],
            limit=10,
            properties=["dealname"],
            sorts=[],
        )
        names = [item.properties["dealname"] async for item in lenient.crm.objects.deals.list()]

        assert len(names) == 12
        assert (page.total, page.results[0].properties["dealname"]) == (1, "Deal 7")


class TestUpsert:
    async def test_our_own_inputs_are_accepted(self, client, sandbox):
        sales = [sale(number) for number in range(3)]
        people = await client.crm.objects.contacts.batch.upsert(
            inputs=[snake(to_contact(conversion, SETTINGS)) for conversion in sales]
        )
        created = await upsert_deals(
            client, *(to_deal(conversion, SETTINGS) for conversion in sales)
        )

        assert {record.properties["email"] for record in people.results} == {
            f"jane{number}@example.com" for number in range(3)
        }
        assert {record.properties["anytrack_event_id"] for record in created.results} == {
            conversion.event_id for conversion in sales
        }
        assert all(record.new for record in [*people.results, *created.results])
        assert sandbox.ledger()["hubspot"]["unique"] == 3

    async def test_a_repeat_changes_the_same_record(self, client):
        (first,) = (await upsert_deals(client, to_deal(sale(1), SETTINGS))).results
        (again,) = (await upsert_deals(client, to_deal(sale(1, revenue=20), SETTINGS))).results

        assert (first.id, first.new) == (again.id, True)
        assert (again.new, again.properties["amount"]) == (False, "20")

    async def test_a_207_is_a_plain_success_whose_errors_have_no_type(self, client):
        bad = to_deal(sale(1), SETTINGS)
        bad["properties"]["colour"] = "blue"
        answer = await upsert_deals(client, bad, to_deal(sale(2), SETTINGS))

        assert [record.properties["anytrack_event_id"] for record in answer.results] == ["sale:2"]
        assert "errors" not in type(answer).model_fields
        (error,) = answer.model_extra["errors"]
        assert error["context"]["objectWriteTraceId"] == ["sale:1"]
        assert error["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"

    async def test_without_trace_ids_one_bad_input_refuses_all(self, client, sandbox):
        inputs = [to_deal(sale(number), SETTINGS) for number in (1, 2)]
        inputs[0]["properties"]["colour"] = "blue"
        for item in inputs:
            del item["objectWriteTraceId"]

        with pytest.raises(hubspot_sdk.BadRequestError) as refusal:
            await upsert_deals(client, *inputs)

        assert refusal.value.body["category"] == "VALIDATION_ERROR"
        assert sandbox.ledger()["hubspot"]["accepted"] == 0

    async def test_equal_ids_refuse_all(self, client):
        item = to_deal(sale(1), SETTINGS)
        with pytest.raises(hubspot_sdk.BadRequestError, match="IDs must be unique"):
            await upsert_deals(client, item, item)


class TestAssociations:
    @pytest_asyncio.fixture
    async def ids(self, client):
        return (await create_deal(client)).id, (await create_contact(client)).id

    async def test_default_associations_have_both_directions(self, client, ids):
        for _ in range(2):  # repeating changes nothing
            answer = await link(client, ids)

        assert {(record.from_.id, record.to.id) for record in answer.results} == {ids, ids[::-1]}
        assert {record.association_spec.association_type_id for record in answer.results} == {3, 4}

    async def test_an_association_with_a_missing_record_is_an_error(self, client, ids):
        answer = await link(client, ids, (ids[0], "999"))

        assert len(answer.results) == 2
        assert answer.num_errors == 1
        assert answer.errors[0].context["toObjectId"] == ["999"]

    async def test_an_association_with_and_without_a_label(self, client, ids):
        api = client.crm.associations
        default = await api.create(
            ids[1], from_object_type="deals", from_object_id=ids[0], to_object_type="contacts"
        )
        labelled = await api.batch.create(
            "contacts",
            from_object_type="deals",
            inputs=[{"from": {"id": ids[0]}, "to": {"id": ids[1]}, "types": [TO_CONTACT]}],
        )

        assert {record.from_.id for record in default.results} == set(ids)
        assert [(record.from_object_id, record.to_object_id) for record in labelled.results] == [
            ids
        ]

    async def test_associations_are_read_in_a_batch(self, client, ids):
        await link(client, ids)
        api = client.crm.associations
        page = await api.list("contacts", object_type="deals", object_id=ids[0])
        batch = await api.batch.get(
            "contacts", from_object_type="deals", inputs=[{"id": ids[0]}, {"id": "1"}]
        )

        assert [record.to_object_id for record in page.results] == [ids[1]]
        assert page.results[0].association_types[0].type_id == 3
        assert [record.from_.id for record in batch.results] == [ids[0]]
        (error,) = batch.model_extra["errors"]
        assert error["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"


class TestPortal:
    async def test_pipelines(self, client):
        api = client.crm.pipelines
        pipelines = (await api.list("deals")).results
        stages = (await api.list_stages("default", object_type="deals")).results
        won = await api.get_stage("closedwon", object_type="deals", pipeline_id="default")

        assert [pipeline.id for pipeline in pipelines] == ["default", "1016571"]
        assert [stage.id for stage in stages] == [stage.id for stage in pipelines[0].stages]
        assert won.metadata == {"isClosed": "true", "probability": "1.0"}
        assert (await api.get("default", object_type="deals")).label == "Sales Pipeline"

    async def test_properties(self, client):
        api = client.crm.properties
        await api.groups.create("deals", name="shop", label="Shop")
        created = await api.create(
            "deals",
            name="till",
            label="Till",
            type="string",
            field_type="text",
            group_name="shop",
            has_unique_value=True,
        )
        read = await api.get("till", object_type="deals")
        properties = await api.list("deals")
        groups = await api.groups.list("deals")

        assert (created.has_unique_value, created.group_name) == (True, "shop")
        assert (read.name, read.type, read.field_type) == ("till", "string", "text")
        assert "till" in {record.name for record in properties.results}
        assert "shop" in {record.name for record in groups.results}
        assert (await api.groups.get("shop", object_type="deals")).label == "Shop"

    async def test_properties_in_a_batch(self, client):
        answer = await client.crm.properties.batch.get(
            "deals",
            archived=False,
            data_sensitivity="non_sensitive",
            inputs=[{"name": "amount"}, {"name": "nothing"}],
        )

        assert [record.name for record in answer.results] == ["amount"]
        assert answer.model_extra["errors"][0]["context"] == {"propertyName": ["nothing"]}

    async def test_account(self, client):
        account = await client.account.get()

        assert (account.company_currency, account.utc_offset_milliseconds) == ("USD", 0)
        assert "EUR" in account.additional_currencies

    async def test_events(self, client, sandbox):
        event = {"event_name": "pe7_sale", "email": "jane@example.com", "uuid": "e1"}
        await client.events.send.send(**event, properties={})
        await client.events.send.batch_send(inputs=[{**event, "properties": {}}] * 2)

        assert sandbox.ledger()["hubspot"]["events"] == 1

    async def test_the_client_requests_a_token_in_json_which_is_refused(self, client):
        # HubSpot documents a form. Its client sends JSON, as everywhere else.
        with pytest.raises(hubspot_sdk.BadRequestError) as refusal:
            await client.auth.oauth.create_token(**OAUTH)

        assert refusal.value.body["status"] == "BAD_GRANT_TYPE"

    async def test_a_form_returns_a_token(self, connect, client, sandbox):
        token = await client.post(
            "/oauth/2026-03/token",
            content=urlencode(OAUTH).encode(),
            options={"headers": {"Content-Type": "application/x-www-form-urlencoded"}},
            cast_to=AccessTokenResponse,
        )

        assert (token.token_type, token.expires_in) == ("bearer", 1800)
        assert (await create_deal(connect(sandbox, access_token=token.access_token))).id


class TestRefusals:
    async def test_401(self, connect, sandbox):
        with pytest.raises(hubspot_sdk.AuthenticationError) as refusal:
            await create_deal(connect(sandbox, access_token="expired"))

        assert refusal.value.body["category"] == "INVALID_AUTHENTICATION"

    async def test_403_names_the_scope(self, connect, narrow):
        with pytest.raises(hubspot_sdk.PermissionDeniedError) as refusal:
            await create_deal(connect(narrow))

        assert refusal.value.body["category"] == "MISSING_SCOPES"
        assert refusal.value.body["errors"][0]["context"] == {
            "requiredGranularScopes": ["crm.objects.deals.write"]
        }

    async def test_404(self, client):
        with pytest.raises(hubspot_sdk.NotFoundError) as refusal:
            await client.crm.objects.deals.get("999")

        assert refusal.value.body["category"] == "OBJECT_NOT_FOUND"

    async def test_409_has_the_existing_id(self, client):
        created = await create_contact(client)
        with pytest.raises(hubspot_sdk.ConflictError) as refusal:
            await create_contact(client, "Jane@Example.com")

        assert refusal.value.body["message"].endswith(f"Existing ID: {created.id}")

    async def test_the_client_retries_a_409_which_cannot_help(self, connect, sandbox):
        client, waits = impatient(connect(sandbox, max_retries=2))
        await create_contact(client)
        with pytest.raises(hubspot_sdk.ConflictError):
            await create_contact(client)

        assert len(waits) == 2
        assert sandbox.ledger()["hubspot"]["requests"] == 4

    async def test_the_client_retries_a_429_within_the_same_window(self, connect, narrow):
        client, waits = impatient(connect(narrow, max_retries=3))
        for _ in range(2):
            await read_nothing(client)
        with pytest.raises(hubspot_sdk.RateLimitError) as refusal:
            await read_nothing(client)

        assert refusal.value.body["policyName"] == "TEN_SECONDLY_ROLLING"
        assert refusal.value.response.headers["X-HubSpot-RateLimit-Remaining"] == "0"
        assert len(waits) == 3
        assert sum(waits) < 10


async def read_nothing(client):
    await client.crm.objects.deals.batch.get(
        inputs=[], properties=["amount"], properties_with_history=[]
    )


def impatient(client):
    """Return *client* that does not wait, and how long it would have."""
    waits, wait = [], client._calculate_retry_timeout

    def count(*args):
        waits.append(wait(*args))
        return 0

    client._calculate_retry_timeout = count
    return client, waits
