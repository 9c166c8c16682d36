"""The same work done by HubSpot's own clients puts the same requests on the wire.

Which ids the answers give plays no part, so deals and contacts are numbered alike. Runs where
`hubspot-api-client` 12.0.0 and `hubspot-sdk` 0.1.0a9 are installed.
"""

from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlencode

import httpx
import orjson
import pytest
import pytest_asyncio

from anytrack_async.destinations.hubspot.mapping import to_contact, to_custom_event, to_deal
from anytrack_async.destinations.hubspot.portal import Paths
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
from anytrack_async.destinations.hubspot.setup import property_definition
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

AT = datetime(2026, 3, 4, 5, 6, 7, 891000, tzinfo=UTC)
LINKS = [{"from": {"id": str(number)}, "to": {"id": str(number)}} for number in range(3)]
EVENT = {"mode": "events", "event_name": "pe7_conversion"}
SETTINGS = HubSpotSettings(access_token="t")
OAUTH = {"client_id": "c", "client_secret": "s", "refresh_token": "r"}
BATCH = [
    Conversion.sale(
        revenue="12.50",
        currency="EUR",
        order_id=str(number),
        timestamp=AT,
        source="google",
        campaign_id="c7",
        click_id=f"ck{number}",
        customer=Customer(email=f"u{number}@example.com", first_name="Jane", city="Köln"),
    )
    for number in range(3)
]
DEALS = [to_deal(conversion, SETTINGS) for conversion in BATCH]
CONTACTS = [to_contact(conversion, SETTINGS) for conversion in BATCH]
EVENTS = [
    to_custom_event(conversion, HubSpotSettings(access_token="t", **EVENT)) for conversion in BATCH
]

# Ours


class Wire(httpx.AsyncBaseTransport):
    """Collects requests as (method, path, body); every response is a success."""

    def __init__(self):
        self.sent = []

    async def handle_async_request(self, request):
        await request.aread()
        self.sent.append(seen(request.method, request.url.path, request.content))
        return httpx.Response(200, json=self.answer(request))

    def answer(self, request):
        if request.url.path.endswith("/token"):
            return {"access_token": "t", "expires_in": 1800}
        if not request.url.path.endswith(("upsert", "default")):
            return {"status": "COMPLETE", "results": []}
        inputs = orjson.loads(request.content)["inputs"]
        created = [item | {"id": str(number)} for number, item in enumerate(inputs)]
        return {
            "status": "COMPLETE",
            "startedAt": "2026-03-04T05:06:07.891Z",
            "completedAt": "2026-03-04T05:06:07.891Z",
            "results": created,
        }


def seen(method, path, content):
    try:
        body = orjson.loads(content) if content else None
    except orjson.JSONDecodeError:
        body = dict(parse_qsl(content.decode()))
    return method, path.replace("/0-3/", "/deals/"), body  # 0-3 is the type id of deals


async def ours(version, **settings):
    """Return (method, path, body) of each request that our sink sends."""
    wire = Wire()
    options = {"access_token": "t", "api_version": version, **settings}
    sink = HubSpotSink(HubSpotSettings(**options), transport=wire)
    await sink.deliver(BATCH)
    return wire.sent


# Theirs


@pytest.fixture
def legacy(monkeypatch):
    """`hubspot-api-client`, and what it sends."""
    hubspot = pytest.importorskip("hubspot")
    sent = []

    def request(self, method, url, body=None, fields=None, **_):
        content = urlencode(fields).encode() if fields else body
        sent.append(seen(method, httpx.URL(url).path, content))
        return SimpleNamespace(
            status=200, reason="OK", data=b"{}", getheaders=dict, getheader=lambda *_: None
        )

    monkeypatch.setattr("urllib3.PoolManager.request", request)
    return SimpleNamespace(client=hubspot.HubSpot(access_token="t"), sent=sent)


@pytest_asyncio.fixture
async def dated():
    """`hubspot-sdk`, and what it sends."""
    hubspot_sdk = pytest.importorskip("hubspot_sdk")
    wire = Wire()
    async with httpx.AsyncClient(transport=wire, base_url="https://api.hubapi.com") as http:
        client = hubspot_sdk.AsyncHubSpot(access_token="t", http_client=http)
        yield SimpleNamespace(client=client, sent=wire.sent)


def snake(item):
    """Return an input with the argument names of HubSpot's clients."""
    names = {"idProperty": "id_property", "objectWriteTraceId": "object_write_trace_id"}
    return {names.get(key, key): value for key, value in item.items()}


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestLegacyPaths:
    async def test_a_delivery(self, legacy):
        from hubspot.crm import contacts, deals
        from hubspot.crm.associations import v4

        crm = legacy.client.crm
        for api, models, inputs in (
            (crm.contacts, contacts, CONTACTS),
            (crm.deals, deals, DEALS),
        ):
            item_type = models.SimplePublicObjectBatchInputUpsert
            many = models.BatchInputSimplePublicObjectBatchInputUpsert
            api.batch_api.upsert(many(inputs=[item_type(**snake(item)) for item in inputs]))
        link, end = v4.PublicDefaultAssociationMultiPost, v4.PublicObjectId
        crm.associations.v4.batch_api.create_default(
            "deals",
            "contacts",
            v4.BatchInputPublicDefaultAssociationMultiPost(
                inputs=[
                    link(_from=end(id=pair["from"]["id"]), to=end(id=pair["to"]["id"]))
                    for pair in LINKS
                ]
            ),
        )

        assert legacy.sent == await ours("v3")

    async def test_pipelines(self, legacy):
        legacy.client.crm.pipelines.pipelines_api.get_all("deals")

        assert legacy.sent == [("GET", joined(Paths("v3").pipelines), None)]

    async def test_properties(self, legacy):
        from hubspot.crm.properties import PropertyCreate

        definition = property_definition("anytrack_event_id", "dealinformation")
        names = {"fieldType": "field_type", "groupName": "group_name"}
        names |= {"hasUniqueValue": "has_unique_value"}
        api = legacy.client.crm.properties.core_api
        api.create("deals", PropertyCreate(**{names.get(k, k): v for k, v in definition.items()}))
        api.get_by_name("deals", "anytrack_event_id")

        path = joined(Paths("v3").properties)
        assert legacy.sent == [
            ("POST", path, definition),
            ("GET", f"{path}/anytrack_event_id", None),
        ]

    async def test_events(self, legacy):
        from hubspot.events.send import (
            BatchedBehavioralEventHttpCompletionRequest,
            BehavioralEventHttpCompletionRequest,
        )

        inputs = [
            BehavioralEventHttpCompletionRequest(
                event_name=event["eventName"],
                uuid=event["uuid"],
                occurred_at=event["occurredAt"],
                email=event["email"],
                properties=event["properties"],
            )
            for event in EVENTS
        ]
        legacy.client.events.send.batch_api.send(
            BatchedBehavioralEventHttpCompletionRequest(inputs=inputs)
        )

        assert legacy.sent == await ours("v3", **EVENT)

    async def test_a_token_refresh(self, legacy):
        legacy.client.oauth.tokens_api.create(grant_type="refresh_token", **OAUTH)

        sent = await ours("v3", access_token=None, oauth=OAuthSettings(**OAUTH))
        assert legacy.sent == sent[:1]


@pytest.mark.asyncio
class TestDatedPaths:
    async def test_a_delivery(self, dated):
        crm = dated.client.crm
        await crm.objects.contacts.batch.upsert(inputs=[snake(item) for item in CONTACTS])
        await crm.objects.deals.batch.upsert(inputs=[snake(item) for item in DEALS])
        await crm.associations.batch.create_default(
            "contacts",
            from_object_type="deals",
            inputs=LINKS,
        )

        assert dated.sent == await ours("2026-03")

    async def test_pipelines_and_account(self, dated):
        await dated.client.crm.pipelines.list("deals")
        await dated.client.account.get()

        paths = Paths("2026-03")
        assert dated.sent == [
            ("GET", joined(paths.pipelines), None),
            ("GET", joined(paths.account), None),
        ]

    async def test_properties(self, dated):
        definition = property_definition("anytrack_event_id", "dealinformation")
        await dated.client.crm.properties.create(
            "deals",
            name=definition["name"],
            label=definition["label"],
            type="string",
            field_type="text",
            group_name=definition["groupName"],
            has_unique_value=True,
        )
        await dated.client.crm.properties.groups.create("deals", name="anytrack", label="AnyTrack")

        path = joined(Paths("2026-03").properties)
        assert dated.sent == [
            ("POST", path, definition),
            ("POST", f"{path}/groups", {"name": "anytrack", "label": "AnyTrack"}),
        ]

    async def test_events(self, dated):
        inputs = [
            {
                "event_name": event["eventName"],
                "uuid": event["uuid"],
                "occurred_at": event["occurredAt"],
                "email": event["email"],
                "properties": event["properties"],
            }
            for event in EVENTS
        ]
        await dated.client.events.send.batch_send(inputs=inputs)

        assert dated.sent == await ours("2026-03", **EVENT)

    async def test_a_token_refresh(self, dated):
        await dated.client.auth.oauth.create_token(grant_type="refresh_token", **OAUTH)

        sent = await ours("2026-03", access_token=None, oauth=OAuthSettings(**OAUTH))
        assert dated.sent == sent[:1]


def joined(path):
    return "/" + "/".join(path)
