"""Tokens, scopes and limits."""

from __future__ import annotations

import pytest

from anytrack_async.sandbox import HubSpotPortal

pytestmark = pytest.mark.asyncio

REFRESH = {
    "grant_type": "refresh_token",
    "client_id": "sandbox-client",
    "client_secret": "sandbox-client-secret",
    "refresh_token": "sandbox-refresh-token",
}
TOKEN = "/oauth/2026-09/token"


def rejected(caller):
    return caller.app.ledger.as_dict()["hubspot"]["rejected"]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic abc"])
async def test_an_unknown_token_is_401(hubspot, header):
    response = await hubspot.http.get(hubspot.deals, headers={"Authorization": header})

    assert response.status_code == 401
    assert response.json()["category"] == "INVALID_AUTHENTICATION"
    assert rejected(hubspot) == {"INVALID_AUTHENTICATION": 1}


async def test_a_replaced_token_has_expired(hubspot):
    hubspot.app.services["hubspot"].service.set_tokens(("new",))

    old = await hubspot.get(hubspot.deals)
    new = await hubspot.http.get(hubspot.deals, headers={"Authorization": "Bearer new"})

    assert old.json()["category"] == "EXPIRED_AUTHENTICATION"
    assert new.status_code == 200


@pytest.mark.parametrize("path", [TOKEN, "/oauth/v1/token"])
async def test_a_refresh_token_gives_an_access_token_that_expires(hubspot, clock, path):
    response = await hubspot.http.post(path, data=REFRESH)
    token = response.json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    assert response.json()["token_type"] == "bearer"
    assert (await hubspot.http.get(hubspot.deals, headers=headers)).status_code == 200
    clock.now += response.json()["expires_in"] + 1
    late = await hubspot.http.get(hubspot.deals, headers=headers)
    assert late.json()["category"] == "EXPIRED_AUTHENTICATION"


async def test_the_dated_token_endpoint_replies_with_more_fields(hubspot):
    dated = (await hubspot.http.post(TOKEN, data=REFRESH)).json()
    first = (await hubspot.http.post("/oauth/v1/token", data=REFRESH)).json()

    assert dated["token_use"] == "access_token"
    assert dated.keys() - first.keys() == {"token_use", "hub_id"}


async def test_a_refresh_in_json_is_400(hubspot):
    response = await hubspot.post(TOKEN, REFRESH)

    assert (response.status_code, response.json()["status"]) == (400, "BAD_GRANT_TYPE")


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ("grant_type", "BAD_GRANT_TYPE"),
        ("client_secret", "BAD_CLIENT_SECRET"),
        ("refresh_token", "BAD_REFRESH_TOKEN"),
    ],
)
async def test_a_bad_refresh_is_400(hubspot, field, status):
    response = await hubspot.http.post(TOKEN, data={**REFRESH, field: "wrong"})

    assert response.status_code == 400
    assert response.json()["status"] == status


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/crm/objects/2026-09/deals/batch/upsert", "crm.objects.deals.write"),
        ("POST", "/crm/objects/2026-09/contacts/batch/read", "crm.objects.contacts.read"),
        ("POST", "/crm/objects/2026-09/deals/search", "crm.objects.deals.read"),
        ("GET", "/crm/objects/2026-09/deals", "crm.objects.deals.read"),
        ("POST", "/crm/properties/2026-09/deals", "crm.schemas.deals.write"),
        ("GET", "/crm/properties/2026-09/contacts", "crm.schemas.contacts.read"),
        ("POST", "/crm/properties/2026-09/deals/batch/read", "crm.schemas.deals.read"),
        ("GET", "/crm/pipelines/2026-09/deals", "crm.objects.deals.read"),
        (
            "POST",
            "/crm/associations/2026-09/deals/contacts/batch/associate/default",
            "crm.objects.deals.write",
        ),
        ("POST", "/events/custom/2026-09/send", "analytics.behavioral_events.send"),
    ],
)
async def test_a_missing_scope_is_named(make, hubspot_of, method, path, scope):
    hubspot = hubspot_of(make(hubspot=HubSpotPortal(scopes=())))

    response = await hubspot.http.request(method, path)

    assert response.status_code == 403
    assert response.json()["category"] == "MISSING_SCOPES"
    assert response.json()["errors"][0]["context"] == {"requiredGranularScopes": [scope]}


async def test_a_granted_scope_is_accepted(make, hubspot_of):
    hubspot = hubspot_of(make(hubspot=HubSpotPortal(scopes=("crm.objects.deals.read",))))

    assert (await hubspot.get(hubspot.deals)).status_code == 200


async def test_the_rolling_limit_frees_requests_after_its_interval(make, hubspot_of, clock):
    hubspot = hubspot_of(make(hubspot=HubSpotPortal(limit=2)))

    async def status():
        return (await hubspot.get(hubspot.deals)).status_code

    codes = [await status()]
    clock.now += 6
    codes += [await status(), await status()]
    clock.now += 4.5
    codes += [await status(), await status()]

    assert codes == [200, 200, 429, 200, 429]


async def test_a_429_names_the_policy(make, hubspot_of):
    hubspot = hubspot_of(make(hubspot=HubSpotPortal(limit=1)))
    first = await hubspot.get(hubspot.deals)
    second = await hubspot.get(hubspot.deals)

    assert first.headers["X-HubSpot-RateLimit-Max"] == "1"
    assert first.headers["X-HubSpot-RateLimit-Remaining"] == "0"
    assert second.status_code == 429
    assert second.json()["policyName"] == "TEN_SECONDLY_ROLLING"
    assert second.headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "10000"
    assert "Retry-After" not in second.headers
    assert rejected(hubspot) == {"TEN_SECONDLY_ROLLING": 1}


async def test_the_daily_limit_resets_at_midnight(make, hubspot_of, clock):
    hubspot = hubspot_of(make(hubspot=HubSpotPortal(daily=1)))
    await hubspot.get(hubspot.deals)

    rejected = await hubspot.get(hubspot.deals)
    clock.now += 86_400
    next_day = await hubspot.get(hubspot.deals)

    assert rejected.json()["policyName"] == "DAILY"
    assert rejected.headers["X-HubSpot-RateLimit-Daily-Remaining"] == "0"
    assert next_day.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/crm/associations/2026-09/deals/contacts/batch/associate/default",
        "/crm/objects/2026-09/deals/search",
    ],
)
async def test_association_batches_and_searches_are_not_counted(make, hubspot_of, path):
    hubspot = hubspot_of(make(hubspot=HubSpotPortal(limit=1)))

    for _ in range(3):
        response = await hubspot.post(path, {})
        assert response.status_code == 200
        assert "X-HubSpot-RateLimit-Max" not in response.headers
    assert (await hubspot.get(hubspot.deals)).status_code == 200
