from types import SimpleNamespace

import httpx
import pytest

from anytrack_async.destinations.hubspot.mapping import to_custom_event
from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import UnusualConfirmation
from anytrack_async.models.outcome import DELIVERED

pytestmark = pytest.mark.asyncio


@pytest.fixture
def sink(make_sink):
    return make_sink(mode="events", event_name="pe7_conversion")


async def test_a_conversion_becomes_an_event(hs):
    settings = hs.settings(
        mode="events", event_name="pe7_conversion", properties={"plan": "custom_data.plan"}
    )
    conversion = hs.sale(
        "1", email="Jane@Example.com", source=" google ", custom_data={"plan": "gold"}
    )

    assert to_custom_event(conversion, settings) == {
        "eventName": "pe7_conversion",
        "uuid": "sale:1",
        "occurredAt": "2026-03-04T05:06:07.891Z",
        "email": "jane@example.com",
        "properties": {
            "amount": "9.90",
            "currency": "USD",
            "conversion_type": "sale",
            "source": "google",
            "order_id": "1",
            "plan": "gold",
        },
    }


async def test_a_visitors_cookie_replaces_a_missing_address(hs):
    settings = hs.settings(mode="events", event_name="pe7_conversion")

    event = to_custom_event(hs.sale(custom_data={"hubspotutk": "c00kie"}), settings)

    assert event is not None
    assert event["utk"] == "c00kie"
    assert "email" not in event


async def test_events_are_sent_and_an_empty_response_is_a_success(hs, sink, wire):
    outcomes = await sink.deliver([hs.sale(str(n), email="a@b.example") for n in range(3)])

    (call,) = wire.calls
    assert call.path == "/events/custom/2026-09/send/batch"
    assert [item["uuid"] for item in call.inputs] == ["sale:0", "sale:1", "sale:2"]
    assert outcomes == [DELIVERED] * 3


async def test_an_event_without_identity_is_rejected_without_a_request(hs, sink, wire):
    (outcome,) = await sink.deliver([hs.sale()])

    assert (outcome.status, outcome.code) == ("rejected", "NO_IDENTITY")
    assert not wire.calls


async def test_equal_event_ids_are_one_event(hs, sink, wire):
    batch = [hs.sale("1", email="a@b.example"), hs.sale("2"), hs.sale("2")]
    outcomes = await sink.deliver([*batch, batch[0]])

    assert len(wire.calls[0].inputs) == 1
    assert [outcome.status for outcome in outcomes] == [
        "delivered",
        "rejected",
        "rejected",
        "delivered",
    ]


async def test_a_function_that_fails_rejects_its_conversion_only(hs, make_sink):
    sink = make_sink(
        mode="events", event_name="pe7_x", properties=lambda c: {"n": 1 / int(c.order_id)}
    )

    outcomes = await sink.deliver([hs.sale(str(n), email="a@b.example") for n in range(2)])

    assert [outcome.status for outcome in outcomes] == ["rejected", "delivered"]


@pytest.mark.parametrize(
    ("status", "signal"),
    [
        (400, BatchRejected),
        (403, NeedsOperator),
        (429, Throttled),
        (503, Unavailable),
    ],
)
async def test_a_refused_batch_signals_the_lane_and_keeps_outcomes(hs, sink, wire, status, signal):
    wire.script("events", httpx.Response(status, json={"message": "no"}))
    batch = [hs.sale(str(n), email="a@b.example") for n in range(2)]

    with pytest.raises(signal) as caught:
        await sink.deliver([hs.sale("unknown"), *batch])
    outcomes = [outcome and outcome.status.value for outcome in caught.value.outcomes]
    assert outcomes == ([] if signal is BatchRejected else ["rejected", None, None])


async def test_a_refused_event_is_rejected_if_the_category_is_about_inputs(hs, sink, wire):
    wire.script("events", hs.refusal(400, "VALIDATION_ERROR", "bad amount"))

    (outcome,) = await sink.deliver([hs.sale(email="a@b.example")])

    assert (outcome.status, outcome.error) == ("rejected", "bad amount (correlation id cor-1)")


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refusal_that_may_be_about_every_event_is_inconclusive(hs, sink, wire, status):
    wire.script("events", httpx.Response(status, json={"message": "no such event"}))

    with pytest.raises(Inconclusive, match="no such event"):
        await sink.deliver([hs.sale(email="a@b.example")])


@pytest.mark.parametrize(
    ("answer", "reports"),
    [
        (httpx.Response(201), 0),
        (httpx.Response(200, json={}), 1),
        (httpx.Response(200, json={"status": "COMPLETE", "completedAt": "now"}), 1),
    ],
)
async def test_a_confirmation_in_other_words_is_reported(hs, sink, wire, answer, reports):
    events = []
    sink.set_observer(SimpleNamespace(notify=events.append))
    wire.script("events", answer)

    assert await sink.deliver([hs.sale(email="a@b.example")]) == [DELIVERED]
    assert [type(event) for event in events] == [UnusualConfirmation] * reports


@pytest.mark.parametrize(
    "body", ["", "<html>", '{"stat', '{"status": "error"}', '{"errors": ["no"]}', '{"uptime": 1}']
)
async def test_a_200_of_another_service_is_no_confirmation(hs, sink, wire, body):
    wire.script("events", httpx.Response(200, text=body))

    with pytest.raises(Unavailable, match="does not confirm the events"):
        await sink.deliver([hs.sale(email="a@b.example")])


async def test_an_event_that_exists_already_is_delivered(hs, sink, wire):
    wire.script("events", httpx.Response(409, json={}))

    assert await sink.deliver([hs.sale(email="a@b.example")]) == [DELIVERED]


async def test_locked_events_are_retried(hs, sink, wire):
    wire.script("events", httpx.Response(423, json={}))

    outcomes = await sink.deliver([hs.sale(str(n), email="a@b.example") for n in range(2)])

    assert [(outcome.status, outcome.retry_after) for outcome in outcomes] == [("retry", 2.0)] * 2


async def test_pipelines_do_not_matter_to_events(hs, make_sink, wire):
    sink = make_sink(mode="events", event_name="pe7_x", pipeline="Nowhere")
    await sink.deliver([hs.sale(email="a@b.example")])

    assert wire.ops == ["events"]


async def test_setup_in_events_mode_is_refused(sink):
    with pytest.raises(ConfigurationError, match="define the custom event"):
        await sink.setup()


async def test_a_check_asks_for_the_scope_of_events(hs, sink, wire):
    wire.script("account", httpx.Response(200, json={"portalId": 7}))
    wire.script("events", hs.refusal(403, "MISSING_SCOPES", "no"))

    findings = await sink.check()

    assert [(finding.name, finding.ok) for finding in findings] == [
        ("token", True),
        ("scopes: events", False),
    ]
