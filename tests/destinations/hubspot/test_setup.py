from datetime import timedelta

import httpx
import orjson
import pytest

from anytrack_async.destinations.hubspot.setup import DEAL_PROPERTIES, property_definition
from anytrack_async.destinations.sink import SetupStep, Throttled
from anytrack_async.errors import ConfigurationError, CredentialsError, RejectedError, ServerError

pytestmark = pytest.mark.asyncio


class Properties:
    """The deal properties and groups of a portal."""

    def __init__(self, wire, existing=(), groups=("dealinformation",)):
        self.definitions = {definition["name"]: definition for definition in existing}
        self.groups = set(groups)
        self.created = []
        for _ in range(100):
            wire.script("properties", self)

    def __call__(self, call):
        *_, kind, name = call.path.split("/")
        if call.request.method == "POST":
            return self.create(orjson.loads(call.request.content), group=name == "groups")
        exists = name in self.groups if kind == "groups" else name in self.definitions
        if not exists:
            return httpx.Response(404, json={"category": "OBJECT_NOT_FOUND", "message": "none"})
        return httpx.Response(200, json=self.definitions.get(name, {"name": name}))

    def create(self, body, *, group):
        name = body["name"]
        if name in (self.groups if group else self.definitions):
            return httpx.Response(409, json={"category": "OBJECT_ALREADY_EXISTS"})
        self.created.append(body)
        if group:
            self.groups.add(name)
        else:
            self.definitions[name] = body
        return httpx.Response(201, json=body)


def of(action, steps):
    return [step.name for step in steps if step.action == action]


async def test_a_dry_run_shows_what_is_missing_and_writes_nothing(sink, wire):
    portal = Properties(wire, [{"name": "anytrack_source", "type": "string"}])

    steps = await sink.setup(dry_run=True)

    assert of("exists", steps) == ["anytrack_source"]
    assert of("create", steps) == [name for name in DEAL_PROPERTIES if name != "anytrack_source"]
    assert not portal.created
    assert {call.request.method for call in wire.calls} == {"GET"}


async def test_setup_creates_the_unique_event_id_and_the_other_properties(sink, wire):
    portal = Properties(wire)

    steps = await sink.setup()

    assert of("created", steps) == list(DEAL_PROPERTIES)
    assert portal.created[0] == {
        "name": "anytrack_event_id",
        "label": "AnyTrack event ID",
        "type": "string",
        "fieldType": "text",
        "groupName": "dealinformation",
        "hasUniqueValue": True,
    }
    assert [
        definition["name"] for definition in portal.created if "hasUniqueValue" in definition
    ] == ["anytrack_event_id"]
    assert wire.calls[-1].path == "/crm/properties/2026-09/deals"


async def test_a_second_setup_changes_nothing(sink, wire):
    portal = Properties(wire)
    await sink.setup()
    before = list(portal.created)

    assert of("exists", await sink.setup()) == list(DEAL_PROPERTIES)
    assert portal.created == before


async def test_a_custom_property_group_is_created_first(make_sink, wire):
    portal = Properties(wire)

    steps = await make_sink(property_group="anytrack").setup()

    assert steps[0] == SetupStep(action="created", kind="property group", name="anytrack")
    assert portal.created[0] == {"name": "anytrack", "label": "AnyTrack"}
    assert {definition["groupName"] for definition in portal.created[1:]} == {"anytrack"}


async def test_a_group_that_exists_is_used(make_sink, wire):
    Properties(wire, groups=["anytrack"])

    steps = await make_sink(property_group="anytrack").setup(dry_run=True)

    assert str(steps[0]) == "exists property group anytrack"


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ({"name": "anytrack_event_id", "type": "string"}, "values are not unique"),
        (
            {"name": "anytrack_event_id", "type": "string", "hasUniqueValue": False},
            "values are not unique",
        ),
        (
            {"name": "anytrack_event_id", "type": "number", "hasUniqueValue": True},
            "type 'number', not 'string'",
        ),
        ({"name": "anytrack_source", "type": "number"}, "type 'number', not 'string'"),
    ],
)
async def test_a_wrong_property_is_refused_before_anything_is_created(
    sink, wire, definition, reason
):
    portal = Properties(wire, [definition])

    with pytest.raises(
        ConfigurationError, match=f"refused property {definition['name']}: .*{reason}"
    ):
        await sink.setup()
    assert not portal.created

    (refused,) = [step for step in await sink.setup(dry_run=True) if step.action == "refused"]
    assert reason in refused.reason


def created_meanwhile(portal, definition):
    """Another program creates the missing property just before we do."""
    create = portal.create

    def late(body, *, group):
        if group:
            portal.groups.add(body["name"])
        elif body["name"] == definition["name"]:
            portal.definitions[definition["name"]] = definition
        return create(body, group=group)

    portal.create = late


async def test_a_property_created_meanwhile_is_accepted(make_sink, wire):
    portal = Properties(wire)
    created_meanwhile(
        portal, {"name": "anytrack_event_id", "type": "string", "hasUniqueValue": True}
    )

    steps = await make_sink(property_group="anytrack").setup()

    assert of("exists", steps) == ["anytrack", "anytrack_event_id"]


async def test_a_property_created_meanwhile_is_refused_if_it_does_not_fit(sink, wire):
    portal = Properties(wire)
    created_meanwhile(portal, {"name": "anytrack_event_id", "type": "string"})

    with pytest.raises(ConfigurationError, match="values are not unique"):
        await sink.setup()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, CredentialsError),
        (403, CredentialsError),
        (400, RejectedError),
        (405, RejectedError),  # a wrong path is no matter of credentials
        (500, ServerError),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_request_is_a_service_error(hs, sink, wire, status, error, method):
    portal = Properties(wire)
    answer = hs.refusal(status, "SOMETHING", "no")
    wire.scripts["properties"].clear()
    for _ in range(20):
        wire.script(
            "properties", lambda call: answer if call.request.method == method else portal(call)
        )

    with pytest.raises(error) as caught:
        await sink.setup()
    assert (caught.value.service, caught.value.status) == ("hubspot", status)
    assert caught.value.request_id == "cor-1"


async def test_a_property_that_is_no_object_counts_as_missing(sink, wire):
    wire.script("properties", *(httpx.Response(200, json=[]) for _ in DEAL_PROPERTIES))

    assert of("create", await sink.setup(dry_run=True)) == list(DEAL_PROPERTIES)


# Check
ACCOUNT = {
    "portalId": 62515,
    "timeZone": "Europe/Berlin",
    "utcOffsetMilliseconds": 3_600_000,
    "companyCurrency": "EUR",
    "additionalCurrencies": ["USD"],
}


STAGES = [{"id": "qualifiedtobuy", "label": "Q"}, {"id": "closedwon", "label": "W"}]


def property_of(call):
    name = call.path.rsplit("/", 1)[-1]
    if name not in DEAL_PROPERTIES:
        return httpx.Response(404, json={"message": "none"})
    return httpx.Response(200, json=property_definition(name, "dealinformation"))


@pytest.fixture
def ready(wire):
    """A portal with everything in place."""
    wire.script("account", httpx.Response(200, json=ACCOUNT))
    wire.script("properties", *[property_of] * 20)
    pipelines = {"results": [{"id": "default", "label": "Sales", "stages": STAGES}]}
    wire.script("pipelines", httpx.Response(200, json=pipelines))
    return wire


def failed(findings):
    return {finding.name: finding.message for finding in findings if not finding.ok}


async def test_a_ready_portal_passes_every_check(sink, ready):
    findings = await sink.check(currencies=["eur", "USD", "EUR"])

    assert failed(findings) == {}
    assert [finding.name for finding in findings] == [
        "token",
        "scopes: deals",
        "scopes: contacts",
        *(f"property {name}" for name in DEAL_PROPERTIES),
        "stages",
        "currency EUR",
        "currency USD",
    ]
    assert findings[0].message == "accepted by portal 62515"


async def test_a_portal_may_have_many_pipelines(sink, wire, ready):
    stages = [{"id": str(number), "label": "x" * 50} for number in range(99)]
    others = [{"id": str(number), "label": "O", "stages": stages} for number in range(99)]
    default = {"id": "default", "label": "Sales", "stages": STAGES}
    wire.scripts["pipelines"].clear()
    wire.script("pipelines", httpx.Response(200, json={"results": [*others, default]}))

    assert failed(await sink.check()) == {}


async def test_a_check_writes_nothing(sink, ready):
    await sink.check()

    assert [call.body for call in ready.calls if call.request.method == "POST"] == [
        {"inputs": []},
        {"inputs": []},
    ]


async def test_a_refused_token_ends_the_check(hs, sink, wire):
    wire.script("account", hs.refusal(401, "INVALID_AUTHENTICATION", "who are you"))

    (finding,) = await sink.check()

    assert (finding.name, finding.ok) == ("token", False)
    assert "who are you" in finding.message


async def test_a_service_that_is_down_ends_the_check(sink, wire):
    wire.script("account", httpx.ConnectError("no route"))

    assert failed(await sink.check()).keys() == {"token"}


async def test_missing_scopes_are_named(hs, sink, ready):
    errors = [{"context": {"requiredGranularScopes": ["crm.objects.contacts.write"]}}]
    ready.script("contacts", hs.refusal(403, "MISSING_SCOPES", errors=errors))

    assert "crm.objects.contacts.write" in failed(await sink.check())["scopes: contacts"]


async def test_a_refused_empty_batch_proves_the_scope(hs, sink, ready):
    ready.script("deals", hs.refusal(400, "VALIDATION_ERROR", "no inputs"))

    assert failed(await sink.check()) == {}


async def test_contacts_that_are_not_written_need_no_scope(make_sink, ready):
    findings = await make_sink(contacts=False).check()

    assert "scopes: contacts" not in [finding.name for finding in findings]


async def test_missing_properties_are_reported_with_advice(hs, make_sink, ready):
    ready.scripts["properties"].clear()
    ready.script("properties", *[httpx.Response(404, json={})] * 20)

    faults = failed(await make_sink(properties={"plan": "custom_data.plan"}).check())

    assert "`anytrack setup hubspot` creates it" in faults["property anytrack_event_id"]
    assert faults["property plan"] == "HubSpot has no such deal property; create it in HubSpot"


async def test_an_event_id_property_that_is_not_unique_is_reported(sink, ready):
    ready.scripts["properties"].clear()
    ready.script("properties", *[httpx.Response(200, json={"type": "string"})] * 20)

    assert failed(await sink.check()).keys() == {"property anytrack_event_id"}


async def test_unreadable_properties_are_reported(hs, sink, ready):
    ready.scripts["properties"].clear()
    ready.script("properties", *[hs.refusal(403, "MISSING_SCOPES", "not yours")] * 20)

    assert "not yours" in failed(await sink.check())["property anytrack_source"]


async def test_a_property_that_is_no_object_is_reported(sink, ready):
    ready.scripts["properties"].clear()
    ready.script("properties", *[httpx.Response(200, json=[])] * 20)

    assert "type None" in failed(await sink.check())["property anytrack_source"]


async def test_a_missing_stage_is_reported(make_sink, ready):
    faults = failed(await make_sink(stages={"sale": "Signed"}).check())

    assert "pipeline 'Sales' (default) has no stage 'Signed'" in faults["stages"]


async def test_unreadable_pipelines_are_reported(hs, sink, ready):
    ready.scripts["pipelines"].clear()
    ready.script("pipelines", hs.refusal(403, "MISSING_SCOPES", "not yours"))

    assert "not yours" in failed(await sink.check())["stages"]


async def test_a_currency_that_is_not_enabled_is_reported(sink, ready):
    assert failed(await sink.check(currencies=["JPY"])) == {"currency JPY": "enabled: EUR, USD"}


async def test_without_currencies_to_check_the_enabled_ones_are_listed(sink, ready):
    assert (await sink.check())[-1].message == "enabled: EUR, USD"


async def test_a_token_that_may_not_read_the_account_may_be_good(hs, sink, ready):
    ready.scripts["account"].clear()
    ready.script("account", hs.refusal(403, "MISSING_SCOPES"))

    findings = await sink.check(currencies=["EUR"])

    assert findings[0].ok
    assert failed(findings).keys() == {"currency EUR"}
    assert "may not read the account" in findings[-1].message


async def test_a_check_learns_the_time_zone_that_ends_a_daily_limit(hs, sink, ready):
    await sink.check()
    assert sink._portal.zone.utcoffset(None) == timedelta(hours=1)
    ready.script("deals", hs.refusal(429, "RATE_LIMITS", policyName="DAILY"))

    with pytest.raises(Throttled) as caught:
        await sink.deliver([hs.sale()])
    assert caught.value.after != 3600


async def test_an_account_without_offset_leaves_the_zone_unknown(sink, ready):
    ready.scripts["account"].clear()
    ready.script("account", httpx.Response(200, json={"companyCurrency": "EUR"}))

    findings = await sink.check()

    assert sink._portal.zone is None
    assert (findings[0].message, findings[-1].message) == ("accepted", "enabled: EUR")
