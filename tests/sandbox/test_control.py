"""Commands that change the sandbox while it runs, in this process."""

from __future__ import annotations

import time

import httpx
import pytest

from anytrack_async.sandbox import Faults

pytestmark = pytest.mark.asyncio

LEAD = {"conversion_type": "lead"}


async def command(control, name, **data):
    response = await control.post(f"/{name}", data)
    assert response.status_code == 200, response.text


async def test_the_health_endpoint_replies_ok(control):
    assert (await control.get("/health")).json() == {"status": "ok"}


async def test_the_ledger_shows_ids_when_asked(anytrack, control):
    await anytrack.post("/conversions", LEAD, Idempotency_Key="e1")

    assert "ids" not in (await control.get("/ledger")).json()["anytrack"]
    assert (await control.get("/ledger", ids=1)).json()["anytrack"]["ids"] == {"e1": 1}


async def test_a_reset_forgets_all(anytrack, control):
    await anytrack.post("/conversions", LEAD, Idempotency_Key="e1")
    await command(control, "credentials", service="anytrack", accept=[])
    await command(control, "down")
    await command(control, "latency", seconds=9)
    await command(control, "faults", rate=1)

    await command(control, "reset")

    response = await anytrack.post("/conversions", LEAD, Idempotency_Key="e1")
    assert response.status_code == 201
    assert (await control.get("/ledger")).json()["anytrack"]["requests"] == 1


async def test_a_service_goes_down_and_comes_back(anytrack, meta, control):
    await command(control, "down", service="anytrack")
    down = await anytrack.post("/conversions", LEAD)
    other = await meta.send(meta.event())
    await command(control, "down", service="anytrack", down=False)

    assert down.status_code == 503
    assert other.status_code == 200
    assert (await anytrack.post("/conversions", LEAD)).status_code == 201
    page = (await control.get("/ledger")).json()["anytrack"]
    assert (page["requests"], page["accepted"]) == (2, 1)


async def test_all_services_go_down_together(anytrack, meta, hubspot, control):
    await command(control, "down")

    responses = [
        await anytrack.post("/conversions", LEAD),
        await meta.send(meta.event()),
        await hubspot.upsert(hubspot.deal("e1")),
    ]

    assert [response.status_code for response in responses] == [503] * 3


async def test_an_outage_may_reset_connections(anytrack, control):
    await command(control, "down", service="anytrack", how="reset")

    with pytest.raises(ConnectionResetError):
        await anytrack.post("/conversions", LEAD)


async def test_tokens_are_replaced(anytrack, meta, hubspot, control):
    for service in ("anytrack", "meta", "hubspot"):
        await command(control, "credentials", service=service, accept=["new"])

    new = {"Authorization": "Bearer new"}
    calls = (
        lambda **headers: anytrack.post("/conversions", LEAD, **headers),
        lambda **headers: meta.post(meta.events, {"data": [meta.event()]}, **headers),
        lambda **headers: hubspot.post(f"{hubspot.deals}/search", {}, **headers),
    )
    assert [(await call()).status_code for call in calls] == [401, 401, 401]
    assert [(await call(**new)).status_code for call in calls] == [201, 200, 200]


async def test_latency_is_added(anytrack, control):
    await command(control, "latency", service="anytrack", seconds=0.03)
    start = time.perf_counter()

    assert (await anytrack.post("/conversions", LEAD)).status_code == 201
    assert time.perf_counter() - start >= 0.03


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("down", {"service": "crm"}),
        ("down", {"how": "softly"}),
        ("credentials", {"service": "meta"}),
        ("latency", {}),
        ("faults", {"rate": 7}),
        ("faults", {"colour": "red"}),
        ("explode", {}),
        ("reset", []),
    ],
)
async def test_a_bad_command_is_400(control, name, data):
    response = await control.post(f"/{name}", data)

    assert response.status_code == 400
    assert response.json()["error"]


async def test_a_path_outside_every_service_is_404(app, control):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sandbox"
    ) as http:
        assert (await http.get("/")).status_code == 404
        assert (await http.get("/v2/conversions")).status_code == 404


def only(kind):
    return {"faults": Faults(rate=1, kinds=(kind,), latency=0.01)}


async def test_anytracks_errors(make, anytrack_of):
    failed = await anytrack_of(make(**only("error"))).post("/conversions", LEAD)
    slowed = await anytrack_of(make(**only("throttle"))).post("/conversions", LEAD)

    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
    assert (slowed.status_code, slowed.headers["Retry-After"]) == (429, "1")


async def test_metas_errors(make, meta_of):
    failed = await (meta := meta_of(make(**only("error")))).send(meta.event())
    slow = meta_of(make(**only("throttle")))
    slowed = [await slow.send(meta.event()) for _ in range(20)]

    assert failed.status_code == 500
    assert failed.json()["error"]["is_transient"] is True
    assert {response.status_code for response in slowed} == {400}
    assert {response.json()["error"]["code"] for response in slowed} == {4, 80004}
    assert '"call_count":100' in slowed[0].headers["X-App-Usage"]


async def test_hubspots_errors(make, hubspot_of):
    failing, slow = hubspot_of(make(**only("error"))), hubspot_of(make(**only("throttle")))
    failed = [await failing.get(failing.deals) for _ in range(40)]
    slowed = [await slow.get(slow.deals) for _ in range(20)]

    assert {response.status_code for response in failed} == {500, 502, 503, 504, 521, 524}
    assert {response.json()["policyName"] for response in slowed} == {"TEN_SECONDLY_ROLLING"}
    waits = {
        (
            response.headers.get("Retry-After"),
            response.headers.get("X-HubSpot-RateLimit-Interval-Milliseconds"),
        )
        for response in slowed
    }
    assert waits == {("1", None), (None, "300")}


@pytest.mark.parametrize(("kind", "accepted"), [("reset", 0), ("lost", 1), ("cut", 1)])
async def test_a_lost_or_cut_reply_hides_completed_work(make, anytrack_of, kind, accepted):
    anytrack = anytrack_of(make(**only(kind)))

    with pytest.raises(ConnectionResetError):
        await anytrack.post("/conversions", LEAD)

    page = anytrack.app.ledger.as_dict()["anytrack"]
    assert (page["accepted"], page["faults"]) == (accepted, {kind: 1})


async def test_a_late_reply_succeeds(make, anytrack_of):
    anytrack = anytrack_of(make(**only("latency")))

    assert (await anytrack.post("/conversions", LEAD)).status_code == 201


async def test_faults_never_apply_to_the_control_endpoints(make):
    app = make(faults=Faults(rate=1))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sandbox/_sandbox"
    ) as http:
        assert [(await http.get("/ledger")).status_code for _ in range(9)] == [200] * 9


async def test_a_client_that_disconnects_early_is_not_counted(app):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/conversions",
        "query_string": b"",
        "headers": [],
    }
    await app(scope, receive, sent.append)

    assert sent == []
    assert app.ledger.as_dict()["anytrack"]["requests"] == 0


async def test_a_broken_connection_waits_for_the_disconnect(make):
    app = make(**only("reset"))
    messages = [
        {"type": "http.request", "body": b"{}"},
        {"type": "http.request", "body": b""},
        {"type": "http.disconnect"},
    ]
    hang_ups, sent = [], []

    async def receive():
        return messages.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/conversions",
        "query_string": b"",
        "headers": [],
        "state": {"hang_up": hang_ups.append},
    }
    await app(scope, receive, sent.append)

    assert (hang_ups, sent, messages) == (["reset"], [], [])
