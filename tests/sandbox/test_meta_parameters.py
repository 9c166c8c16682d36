"""The places for the parameters of a Graph API request."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.asyncio

TOKEN = {"access_token": "sandbox-meta-token"}


@pytest.fixture
def bare(meta):
    del meta.http.headers["Authorization"]
    return meta


async def test_the_token_may_be_in_the_query(bare):
    response = await bare.http.post(bare.events, params=TOKEN, json={"data": [bare.event()]})

    assert response.status_code == 200


async def test_the_token_may_be_in_a_json_body(bare):
    assert (await bare.send(bare.event(), **TOKEN)).status_code == 200


async def test_events_may_be_a_json_string_in_a_form(bare):
    form = {"data": json.dumps([bare.event()]), **TOKEN}

    assert (await bare.http.post(bare.events, data=form)).json()["events_received"] == 1


async def test_each_event_may_be_a_json_string(bare):
    form = {"data": json.dumps([json.dumps(bare.event())]), **TOKEN}

    assert (await bare.http.post(bare.events, data=form)).json()["events_received"] == 1


async def test_a_form_may_be_multipart(bare):
    event = bare.event(user_data={"em": "a" * 64, "client_user_agent": "Zoë"})
    parts = {"data": (None, json.dumps([event], ensure_ascii=False)), "junk": ("f", b"\xff")}

    response = await bare.http.post(bare.events, params=TOKEN, files=parts)

    assert response.json()["events_received"] == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"data": [{"value": NaN}]}', "application/json"),
        (b'{"data": [{"value": Infinity}]}', "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
        (b'{"data": []}', "application/json"),
        (b'{"data": {"event_name": "Lead"}}', "application/json"),
        (b'{"data": ["{"]}', "application/json"),
        (b"data=%5B%7B", "application/x-www-form-urlencoded"),
        (b"nothing", "multipart/form-data"),
        (b"--x\r\n\r\nno name\r\n--x--", "multipart/form-data; boundary=x"),
    ],
)
async def test_a_request_without_events_is_100(meta, body, kind):
    response = await meta.http.post(meta.events, content=body, headers={"Content-Type": kind})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == 100
