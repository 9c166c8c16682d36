"""The Conversions API: accepted events, and the errors of rejected ones."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from anytrack_async.sandbox import MetaPixel

pytestmark = pytest.mark.asyncio

DAY = 86_400


def page(caller):
    return caller.app.ledger.as_dict(ids=True)["meta"]


async def refusal(meta, *events, **parameters):
    """Return code and subcode of the error in the response to *events*."""
    response = await meta.send(*events, **parameters)
    assert response.status_code == 400
    error = response.json()["error"]
    return error["code"], error.get("error_subcode")


async def test_events_are_accepted(meta):
    response = await meta.send(meta.event(), meta.event(event_id="e2"))

    assert response.status_code == 200
    assert response.json()["events_received"] == 2
    assert response.json()["messages"] == []
    assert response.json()["fbtrace_id"]
    assert page(meta)["ids"] == {"e1": 1, "e2": 1}


async def test_every_version_of_the_graph_api_works(meta):
    response = await meta.post("/v19.0/1234567890/events", {"data": [meta.event()]})

    assert response.status_code == 200


async def test_usage_is_in_the_headers(meta):
    response = await meta.send(meta.event())

    assert "call_count" in response.headers["X-App-Usage"]
    assert "estimated_time_to_regain_access" in response.headers["X-Business-Use-Case-Usage"]


async def test_a_bad_token_is_190(meta):
    response = await meta.post(meta.events, {"data": [meta.event()]}, Authorization="Bearer old")

    assert response.status_code == 401
    assert response.json()["error"]["code"] == 190
    assert response.json()["error"]["type"] == "OAuthException"
    assert page(meta)["rejected"] == {"190": 1}


async def test_no_token_is_104(meta):
    response = await meta.post(meta.events, {"data": [meta.event()]}, Authorization="")

    assert response.json()["error"]["code"] == 104


@pytest.mark.parametrize(
    "path", ["/v26.0/42/events", "/v26.0/1234567890", "/v26.0/1234567890/feed", "/v26.0/"]
)
async def test_an_unknown_path_is_100_33(meta, path):
    response = await meta.post(path, {"data": [meta.event()]})

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["error_subcode"]) == (400, 100, 33)
    assert page(meta)["rejected"] == {"100/33": 1}


async def test_with_an_app_secret_the_proof_is_checked(make, meta_of):
    meta = meta_of(make(meta=MetaPixel(app_secret="s3")))
    token = b"sandbox-meta-token"
    proof = hmac.new(b"s3", token, hashlib.sha256).hexdigest()

    assert await refusal(meta, meta.event()) == (100, None)
    assert await refusal(meta, meta.event(), appsecret_proof="ü") == (100, None)
    assert (await meta.send(meta.event(), appsecret_proof=proof)).status_code == 200


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "API calls from the server require an appsecret_proof argument"),
        ({"appsecret_proof": "wrong"}, "Invalid appsecret_proof provided in the API argument"),
    ],
)
async def test_a_missing_proof_and_a_wrong_one_differ(make, meta_of, parameters, words):
    meta = meta_of(make(meta=MetaPixel(app_secret="s3")))

    error = (await meta.send(meta.event(), **parameters)).json()["error"]
    assert (error["type"], error["message"]) == ("GraphMethodException", words)


@pytest.mark.parametrize("name", ["event_name", "event_time", "user_data", "action_source"])
async def test_a_missing_field_is_100(meta, name):
    assert await refusal(meta, meta.event(**{name: None})) == (100, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"event_name": 5},
        {"event_time": "noon"},
        {"event_time": 1.5},
        {"event_time": True},
        {"event_time": "inf"},
        {"user_data": "a"},
        {"action_source": "web"},
        {"action_source": []},
        {"custom_data": []},
        {"custom_data": "x"},
        {"custom_data": {"value": "much", "currency": "EUR"}},
        {"custom_data": {"value": {}, "currency": "EUR"}},
        {"data_processing_options": ["CCPA"]},
        {"event_id": {}},
    ],
)
async def test_a_field_of_the_wrong_type_is_100(meta, changes):
    assert await refusal(meta, meta.event(**changes)) == (100, None)


@pytest.mark.parametrize(
    ("changes", "subcode"),
    [
        ({"age": 7 * DAY + 1}, 2804003),
        ({"age": 62 * DAY + 1, "action_source": "physical_store"}, 2804003),
        ({"age": -3_600}, 2804004),
        ({"custom_data": None}, 2804009),
        ({"custom_data": {"currency": "EUR"}}, 2804009),
        ({"custom_data": {"value": 1}}, 2804010),
        ({"custom_data": {"value": 1, "currency": "€"}}, 2804010),
        ({"user_data": {"em": "ann@example.com"}}, 2804016),
        ({"user_data": {"em": ["a" * 64], "ph": ["123"]}}, 2804016),
        ({"user_data": {"fn": "a" * 63}}, 2804016),
        ({"user_data": {}}, 2804050),
        ({"user_data": {"em": [None], "ph": ""}}, 2804050),
        ({"user_data": {"client_user_agent": "ua", "country": ["a" * 64]}}, 2804050),
        ({"user_data": {"db": "a" * 64, "client_user_agent": "ua"}}, 2804050),
        ({"user_data": {"fn": "a" * 64, "ge": "a" * 64}}, 2804050),
        ({"user_data": {"ln": "a" * 64}}, 2804050),
        ({"user_data": {"something": "else"}}, 2804050),
    ],
)
async def test_an_invalid_event_has_its_subcode(meta, clock, changes, subcode):
    age = changes.pop("age", 0)

    event = meta.event(event_time=int(clock.now) - age, **changes)

    assert await refusal(meta, event) == (100, subcode)
    assert page(meta)["rejected"] == {str(subcode): 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": None},
        {"event_id": 5},
        {"event_name": "Lead", "custom_data": None},
        {"event_name": "MyOwnEvent", "custom_data": {"anything": ["goes"]}},
        {"custom_data": {"value": "9.90", "currency": "eur"}},
        {"user_data": {"em": "0" * 32}},
        {"user_data": {"em": "A" * 64}},
        {"user_data": {"fbc": "fb.1.2.x"}},
        {"user_data": {"fn": "a" * 64, "ln": "a" * 64}},
        {"user_data": {"client_ip_address": "1.2.3.4", "client_user_agent": "ua"}},
        {"data_processing_options": []},
        {"data_processing_options": ["LDU"]},
    ],
)
async def test_a_valid_event_is_accepted(meta, changes):
    assert (await meta.send(meta.event(**changes))).status_code == 200


async def test_a_store_may_report_for_62_days(meta, clock):
    old = int(clock.now) - 61 * DAY

    response = await meta.send(meta.event(event_time=old, action_source="physical_store"))

    assert response.status_code == 200


async def test_one_invalid_event_rejects_all_and_is_not_named(meta):
    response = await meta.send(meta.event(), meta.event(event_id="e2", user_data={}))

    assert response.status_code == 400
    assert "e2" not in response.text
    assert response.json()["error"]["is_transient"] is False
    assert response.json()["error"]["error_user_title"]
    assert page(meta)["accepted"] == 0


@pytest.mark.parametrize("event", [None, 5, "[]", []])
async def test_a_malformed_event_is_100(meta, event):
    assert await refusal(meta, event) == (100, None)


async def test_a_request_has_at_most_1000_events(meta):
    events = [meta.event(event_id=f"e{n}") for n in range(1_001)]

    assert await refusal(meta, *events) == (100, None)
    assert (await meta.send(*events[:1_000])).json()["events_received"] == 1_000


async def test_a_partner_agent_is_shorter_than_23_characters(meta):
    assert await refusal(meta, meta.event(), partner_agent="x" * 23) == (100, None)
    assert (await meta.send(meta.event(), partner_agent="x" * 22)).status_code == 200


async def test_name_and_id_together_identify_a_repeat(meta):
    await meta.send(meta.event(), meta.event())
    await meta.send(meta.event(), meta.event(event_name="Lead"))

    assert (page(meta)["unique"], page(meta)["duplicates"]) == (2, 2)
    assert page(meta)["ids"] == {"e1": 4}


async def test_after_48_hours_a_repeat_is_new(meta, clock):
    await meta.send(meta.event())
    clock.now += 2 * DAY + 1
    await meta.send(meta.event())

    assert (page(meta)["unique"], page(meta)["duplicates"]) == (2, 0)


async def test_each_pixel_has_its_own_repeats(make, meta_of):
    meta = meta_of(make(meta=MetaPixel(pixels=("1", "2"))))
    for pixel in ("1", "2"):
        await meta.post(f"/v26.0/{pixel}/events", {"data": [meta.event()]})

    assert page(meta)["unique"] == 2


async def test_test_events_are_in_the_ledger(meta):
    await meta.send(meta.event(), test_event_code="TEST1")

    assert page(meta)["test_event_codes"] == {"TEST1": 1}
