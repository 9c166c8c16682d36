"""`CollectSink` sends each conversion once, and none that AnyTrack would refuse."""

from __future__ import annotations

import pytest

from anytrack_async import ConsentRule, Conversion, Status, Unavailable, Weakened
from anytrack_async.destinations.collect.payload import NO_CLICK_ID
from anytrack_async.destinations.sink import NeedsOperator
from tests.destinations.collect.doubles import JANE, PROPERTY, SLUG, Endpoint, Recorder, sale, sink

pytestmark = pytest.mark.asyncio


async def test_a_sale_is_posted_as_json_to_the_collect_url():
    endpoint = Endpoint()

    (outcome,) = await sink(endpoint).deliver([sale(click_id="c1")])

    (request,) = endpoint.requests
    assert outcome.status is Status.DELIVERED
    assert (request.method, str(request.url)) == (
        "POST",
        f"https://t1.anytrack.io/{PROPERTY}/collect/{SLUG}",
    )
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers
    assert endpoint.bodies[0]["transaction_id"] == "1001"


async def test_a_conversion_without_identity_costs_no_request():
    endpoint = Endpoint()
    batch = [sale(order_id=1), sale(order_id=2, click_id="c"), Conversion.lead()]

    outcomes = await sink(endpoint).deliver(batch)

    assert [outcome.status for outcome in outcomes] == ["rejected", "delivered", "rejected"]
    assert [body["transaction_id"] for body in endpoint.bodies] == ["2"]


async def test_a_signal_keeps_the_outcomes_of_the_others():
    batch = [sale(order_id=1), sale(order_id=2, click_id="c")]

    with pytest.raises(NeedsOperator) as held:
        await sink(Endpoint(404, "nothing")).deliver(batch)
    with pytest.raises(Unavailable) as down:
        await sink(Endpoint(500)).deliver(batch)

    for signal in (held.value, down.value):
        assert [outcome and outcome.status for outcome in signal.outcomes] == ["rejected", None]


async def test_conversions_without_click_are_counted_when_they_are_sent():
    recorder, endpoint = Recorder(), Endpoint(500)
    destination = sink(endpoint)
    destination.set_observer(recorder)
    batch = [sale(order_id=n, customer=JANE) for n in range(2)]

    with pytest.raises(Unavailable):
        await destination.deliver(batch)
    endpoint.status = 200
    await destination.deliver(batch)

    assert recorder.events == [Weakened(destination="anytrack", reason=NO_CLICK_ID, count=2)]


async def test_a_check_records_nothing():
    endpoint = Endpoint(400, '{"error":"Missing click_id, ref_id and email"}')

    (finding,) = await sink(endpoint).check()

    assert finding.ok
    assert endpoint.bodies == [{"event_name": "Lead", "value": 0}]
    for wrong in (Endpoint(404), Endpoint(200, "<html>"), Endpoint(503)):
        (finding,) = await sink(wrong).check()
        assert not finding.ok


async def test_a_preview_says_what_is_missing():
    preview = sink(Endpoint()).preview(sale(customer=JANE))

    assert preview.match_keys == ("ref_id", "email")
    assert preview.missing == ("click_id",)
    assert not preview.problem
    assert "click id" in sink(Endpoint()).preview(sale()).problem


async def test_without_consent_only_the_click_identifies():
    endpoint = Endpoint()
    denied = [
        sale(order_id=n, click_id=click, customer=JANE, consent={"ad_user_data": "denied"})
        for n, click in enumerate(("c1", None))
    ]
    rule = ConsentRule(denied="limited")

    outcomes = await sink(endpoint, consent=rule).deliver(denied)

    assert [outcome.status for outcome in outcomes] == ["delivered", "skipped"]
    assert not {"email", "ref_id", "phone", "firstName"} & endpoint.bodies[0].keys()
