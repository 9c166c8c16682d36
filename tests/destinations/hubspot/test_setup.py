import httpx
import orjson
import pytest

from anytrack_async.destinations.hubspot.setup import DEAL_PROPERTIES
from anytrack_async.destinations.sink import SetupStep
from anytrack_async.errors import ConfigurationError, CredentialsError, RejectedError, ServerError

pytestmark = pytest.mark.asyncio


class Properties:
    """The deal properties and groups of a portal."""

    def __init__(self, wire, there=(), groups=("dealinformation",)):
        self.there = {one["name"]: one for one in there}
        self.groups = set(groups)
        self.created = []
        for _ in range(100):
            wire.script("properties", self)

    def __call__(self, call):
        *_, kind, name = call.path.split("/")
        if call.request.method == "POST":
            return self.create(orjson.loads(call.request.content), group=name == "groups")
        known = name in self.groups if kind == "groups" else name in self.there
        if not known:
            return httpx.Response(404, json={"category": "OBJECT_NOT_FOUND", "message": "none"})
        return httpx.Response(200, json=self.there.get(name, {"name": name}))

    def create(self, body, *, group):
        name = body["name"]
        if name in (self.groups if group else self.there):
            return httpx.Response(409, json={"category": "OBJECT_ALREADY_EXISTS"})
        self.created.append(body)
        if group:
            self.groups.add(name)
        else:
            self.there[name] = body
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


async def test_set_up_creates_the_unique_key_and_the_others(sink, wire):
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
    assert [one["name"] for one in portal.created if "hasUniqueValue" in one] == [
        "anytrack_event_id"
    ]
    assert wire.calls[-1].path == "/crm/properties/2026-09/deals"


async def test_set_up_twice_changes_nothing(sink, wire):
    portal = Properties(wire)
    await sink.setup()
    before = list(portal.created)

    assert of("exists", await sink.setup()) == list(DEAL_PROPERTIES)
    assert portal.created == before


async def test_a_group_of_our_own_is_created_first(make_sink, wire):
    portal = Properties(wire)

    steps = await make_sink(property_group="anytrack").setup()

    assert steps[0] == SetupStep(action="created", kind="property group", name="anytrack")
    assert portal.created[0] == {"name": "anytrack", "label": "AnyTrack"}
    assert {one["groupName"] for one in portal.created[1:]} == {"anytrack"}


async def test_a_group_that_exists_is_used(make_sink, wire):
    Properties(wire, groups=["anytrack"])

    steps = await make_sink(property_group="anytrack").setup(dry_run=True)

    assert str(steps[0]) == "exists property group anytrack"


@pytest.mark.parametrize(
    ("there", "reason"),
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
async def test_a_wrong_property_is_refused_before_anything_is_created(sink, wire, there, reason):
    portal = Properties(wire, [there])

    with pytest.raises(ConfigurationError, match=f"refused property {there['name']}: .*{reason}"):
        await sink.setup()
    assert not portal.created

    (refused,) = [step for step in await sink.setup(dry_run=True) if step.action == "refused"]
    assert reason in refused.reason


def created_meanwhile(portal, there):
    """Someone else is faster: what was missing is there when it is to be created."""
    create = portal.create

    def late(body, *, group):
        if group:
            portal.groups.add(body["name"])
        elif body["name"] == there["name"]:
            portal.there[there["name"]] = there
        return create(body, group=group)

    portal.create = late


async def test_what_was_created_meanwhile_is_accepted(make_sink, wire):
    portal = Properties(wire)
    created_meanwhile(
        portal, {"name": "anytrack_event_id", "type": "string", "hasUniqueValue": True}
    )

    steps = await make_sink(property_group="anytrack").setup()

    assert of("exists", steps) == ["anytrack", "anytrack_event_id"]


async def test_what_was_created_meanwhile_is_refused_if_it_is_wrong(sink, wire):
    portal = Properties(wire)
    created_meanwhile(portal, {"name": "anytrack_event_id", "type": "string"})

    with pytest.raises(ConfigurationError, match="values are not unique"):
        await sink.setup()


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, CredentialsError), (403, CredentialsError), (400, RejectedError), (500, ServerError)],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refusal_is_an_error_of_the_service(hs, sink, wire, status, error, method):
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
