from datetime import timedelta

import httpx
import pytest

from anytrack_async.destinations.hubspot.setup import DEAL_PROPERTIES, property_definition
from anytrack_async.destinations.sink import Throttled

pytestmark = pytest.mark.asyncio

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
    return {one.name: one.message for one in findings if not one.ok}


async def test_a_portal_that_is_ready(sink, ready):
    findings = await sink.check(currencies=["eur", "USD", "EUR"])

    assert failed(findings) == {}
    assert [one.name for one in findings] == [
        "token",
        "scopes: deals",
        "scopes: contacts",
        *(f"property {name}" for name in DEAL_PROPERTIES),
        "stages",
        "currency EUR",
        "currency USD",
    ]
    assert findings[0].message == "accepted by portal 62515"


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


async def test_that_an_empty_batch_is_refused_is_no_fault(hs, sink, ready):
    ready.script("deals", hs.refusal(400, "VALIDATION_ERROR", "no inputs"))

    assert failed(await sink.check()) == {}


async def test_contacts_that_are_not_written_need_no_scope(make_sink, ready):
    findings = await make_sink(contacts=False).check()

    assert "scopes: contacts" not in [one.name for one in findings]


async def test_missing_properties_are_named_with_the_remedy(hs, make_sink, ready):
    ready.scripts["properties"].clear()
    ready.script("properties", *[httpx.Response(404, json={})] * 20)

    faults = failed(await make_sink(properties={"plan": "custom_data.plan"}).check())

    assert "`anytrack setup hubspot` creates it" in faults["property anytrack_event_id"]
    assert faults["property plan"] == "HubSpot has no such deal property; create it in HubSpot"


async def test_a_key_that_is_not_unique_is_found(sink, ready):
    ready.scripts["properties"].clear()
    ready.script("properties", *[httpx.Response(200, json={"type": "string"})] * 20)

    assert failed(await sink.check()).keys() == {"property anytrack_event_id"}


async def test_properties_that_cannot_be_read_are_told(hs, sink, ready):
    ready.scripts["properties"].clear()
    ready.script("properties", *[hs.refusal(403, "MISSING_SCOPES", "not yours")] * 20)

    assert "not yours" in failed(await sink.check())["property anytrack_source"]


async def test_a_property_that_is_no_object_is_a_fault(sink, ready):
    ready.scripts["properties"].clear()
    ready.script("properties", *[httpx.Response(200, json=[])] * 20)

    assert "type None" in failed(await sink.check())["property anytrack_source"]


async def test_a_stage_that_is_not_there_is_told(make_sink, ready):
    faults = failed(await make_sink(stages={"sale": "Signed"}).check())

    assert "pipeline 'Sales' (default) has no stage 'Signed'" in faults["stages"]


async def test_pipelines_that_cannot_be_read_are_told(hs, sink, ready):
    ready.scripts["pipelines"].clear()
    ready.script("pipelines", hs.refusal(403, "MISSING_SCOPES", "not yours"))

    assert "not yours" in failed(await sink.check())["stages"]


async def test_a_currency_that_is_not_enabled_is_told(sink, ready):
    assert failed(await sink.check(currencies=["JPY"])) == {"currency JPY": "enabled: EUR, USD"}


async def test_without_currencies_to_check_the_enabled_ones_are_told(sink, ready):
    assert (await sink.check())[-1].message == "enabled: EUR, USD"


async def test_a_token_that_may_not_see_the_account_may_be_good(hs, sink, ready):
    ready.scripts["account"].clear()
    ready.script("account", hs.refusal(403, "MISSING_SCOPES"))

    findings = await sink.check(currencies=["EUR"])

    assert findings[0].ok
    assert failed(findings).keys() == {"currency EUR"}
    assert "may not read the account" in findings[-1].message


async def test_the_time_zone_it_learns_ends_a_daily_limit(hs, sink, ready):
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
