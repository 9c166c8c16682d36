"""Consent on the wire: what each destination gets, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from anytrack_async import (
    AnyTrackSettings,
    AnyTrackSink,
    HubSpotSettings,
    HubSpotSink,
    MetaSettings,
    MetaSink,
)
from anytrack_async.destinations.collect.payload import NOTHING_LEFT
from anytrack_async.destinations.consent import deliver_with_consent, withhold_clicks
from anytrack_async.destinations.sink import BatchRejected, Throttled
from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.settings.consent import ConsentRule
from tests.destinations.anytrack.doubles import FakeService
from tests.destinations.collect.doubles import Endpoint
from tests.destinations.collect.doubles import sink as collect_sink
from tests.destinations.hubspot.conftest import Wire as HubSpotWire
from tests.destinations.meta.conftest import Wire as MetaWire

pytestmark = pytest.mark.asyncio

NOW = datetime.now(UTC)
GRANTED, DENIED = Consent.granted(), Consent.denied()
NO_DATA = Consent(ad_user_data=False, ad_storage=True, ad_personalization=True)
NO_STORAGE = Consent(ad_user_data=True, ad_storage=False, ad_personalization=True)
NO_ADS = Consent(ad_user_data=True, ad_storage=True, ad_personalization=False)
LIMITED = ConsentRule(denied="limited")


def sale(consent: Consent | None, number: int = 1) -> Conversion:
    return Conversion.sale(
        revenue=5,
        order_id=f"o{number}",
        consent=consent,
        timestamp=NOW,
        click_id="CLICK",
        clicks={"gclid": "GCLID", "fbclid": "FBCLID"},
        ip_address="203.0.113.5",
        user_agent="BROWSER",
        page_url="https://shop.example/?a=1&fbclid=FBCLID",
        customer=Customer(
            email="jane@x.example", fbc="fb.1.1700000000000.FBCLID", fbp="fb.1.1700000000000.4"
        ),
    )


class Observed(list[Any]):
    """An observer that keeps reason and count."""

    def notify(self, event: Any) -> None:
        self.append((event.reason, event.count))


async def anytrack(consent: Consent | None, rule: ConsentRule | None = None) -> dict[str, Any]:
    service = FakeService()
    options = {} if rule is None else {"consent": rule}
    settings = AnyTrackSettings(api_key="key", account_id="acc", **options)
    sink = AnyTrackSink(settings, transport=service)
    await sink.deliver([sale(consent)])
    (request,) = service.requests
    body: dict[str, Any] = json.loads(request.content)
    return body


async def test_anytrack_gets_neither_address_nor_browser_nor_page_without_consent():
    body = await anytrack(NO_DATA)

    assert body["click_id"] == "CLICK"
    assert body["custom_data"]["gclid"] == "GCLID"
    assert not {"ip_address", "user_agent", "page_url"} & body.keys()


async def test_anytrack_gets_no_click_ids_without_consent_to_storage():
    body = await anytrack(NO_STORAGE)

    assert "click_id" not in body
    assert body["custom_data"].keys() == {"event_id"}
    assert body["page_url"] == "https://shop.example/?a=1"
    assert body["ip_address"] == "203.0.113.5"


async def test_unknown_consent_is_sent_unless_the_settings_say_otherwise():
    assert await anytrack(None) == await anytrack(GRANTED) == await anytrack(Consent())
    limited = await anytrack(None, ConsentRule(unknown="limited"))
    assert "ip_address" not in limited


async def meta_events(consents: Sequence[Consent | None], **settings: Any) -> tuple[Any, Any, Any]:
    wire, observed = MetaWire(), Observed()
    sink = MetaSink(
        MetaSettings(pixel_id="1", access_token="t", **settings),
        transport=httpx.MockTransport(wire),
    )
    sink.set_observer(observed)
    outcomes = await sink.deliver([sale(consent, n) for n, consent in enumerate(consents)])
    events = {event["event_id"]: event for event in wire.body()["data"]} if wire.requests else {}
    return outcomes, events, observed


async def test_meta_skips_events_without_consent_by_default():
    outcomes, events, _ = await meta_events([GRANTED, NO_DATA, None, DENIED])

    assert events.keys() == {"sale:o0", "sale:o2"}
    skipped = Outcome.skipped("no consent: ad_user_data is denied")
    assert [outcomes[1], outcomes[3]] == [skipped, skipped]
    assert {outcomes[0].status, outcomes[2].status} == {Status.DELIVERED}


async def test_a_batch_that_is_skipped_as_a_whole_sends_nothing():
    outcomes, events, observed = await meta_events([DENIED, DENIED])

    assert [outcome.status for outcome in outcomes] == [Status.SKIPPED] * 2
    assert (events, observed) == ({}, [])


async def test_meta_gets_limited_data_use_where_the_rule_says_so():
    outcomes, events, observed = await meta_events([NO_DATA, NO_ADS, GRANTED], consent=LIMITED)

    for event_id in ("sale:o0", "sale:o1"):
        assert events[event_id]["data_processing_options"] == ["LDU"]
        assert events[event_id]["data_processing_options_country"] == 0
    assert "data_processing_options" not in events["sale:o2"]
    assert ("limited by consent", 2) in observed
    assert {outcome.status for outcome in outcomes} == {Status.DELIVERED}


async def test_meta_gets_no_cookies_without_consent_to_storage():
    _, events, _ = await meta_events([NO_STORAGE, GRANTED])

    user, other = (events[f"sale:o{number}"]["user_data"] for number in (0, 1))
    assert not {"fbc", "fbp"} & user.keys()
    assert {"em", "client_ip_address"} <= user.keys()
    assert {"fbc", "fbp"} <= other.keys()
    assert "fbclid" not in events["sale:o0"]["event_source_url"]


async def hubspot(consent: Consent | None, **settings: Any) -> HubSpotWire:
    wire = HubSpotWire()
    sink = HubSpotSink(HubSpotSettings(access_token="t", **settings), transport=wire)
    (outcome,) = await sink.deliver([sale(consent)])
    assert outcome.status is Status.DELIVERED
    return wire


async def test_hubspot_gets_the_deal_without_a_contact():
    limited, full = await hubspot(NO_DATA), await hubspot(GRANTED)

    assert [call.op for call in limited.calls] == ["deals"]
    assert limited.of("deals")[0].inputs == full.of("deals")[0].inputs
    assert "contacts" in {call.op for call in full.calls}


async def test_hubspots_own_properties_have_nothing_of_the_customer():
    properties = {"email_again": "customer.email", "browser": "user_agent"}
    (call,) = (await hubspot(DENIED, properties=properties)).calls

    sent = call.inputs[0]["properties"]
    assert not {"email_again", "browser", "anytrack_click_id"} & sent.keys()


async def test_a_preview_shows_what_would_be_sent_and_why_nothing_would():
    meta = MetaSink(MetaSettings(pixel_id="1", access_token="t"))
    assert meta.preview(sale(DENIED)).problem == "skipped, no consent: ad_user_data is denied"
    assert meta.preview(sale(GRANTED)).problem == ""

    sinks: list[Any] = [
        HubSpotSink(HubSpotSettings(access_token="t")),
        AnyTrackSink(AnyTrackSettings(api_key="k", account_id="a")),
    ]
    for sink in sinks:
        preview = sink.preview(sale(DENIED))
        assert preview.problem == ""
        assert "jane@x.example" not in str(preview.requests)
        assert "203.0.113.5" not in str(preview.requests)


async def test_what_the_collect_url_could_not_match_is_skipped_and_no_dead_letter():
    endpoint = Endpoint()
    outcomes = await collect_sink(endpoint).deliver([sale(DENIED), sale(NO_DATA, 2), sale(None, 3)])

    assert outcomes[0] == Outcome.skipped(NOTHING_LEFT)
    assert {outcome.status for outcome in outcomes[1:]} == {Status.DELIVERED}
    limited, full = sorted(endpoint.bodies, key=lambda body: body["transaction_id"])
    assert limited["click_id"] == "CLICK"
    assert "email" not in limited
    assert full["email"] == "jane@x.example"


# The order of outcomes


async def deliver(consents: Sequence[Consent | None], answer: Any) -> Any:
    async def send(batch: Sequence[Conversion]) -> Sequence[Outcome]:
        if isinstance(answer, Exception):
            raise answer
        return [Outcome.delivered(conversion.order_id) for conversion in batch]

    batch = [sale(consent, number) for number, consent in enumerate(consents)]
    rule = ConsentRule(denied="skip")
    return await deliver_with_consent(batch, rule, withhold_clicks, send, lambda _: None)


async def test_outcomes_are_in_the_order_of_the_batch():
    outcomes = await deliver([DENIED, None, DENIED, DENIED, None, GRANTED, DENIED], None)

    ids = [outcome.remote_id for outcome in outcomes]
    assert ids == [None, "o1", None, None, "o4", "o5", None]


@pytest.mark.parametrize("signal", [BatchRejected("bad"), Throttled("wait", after=5)])
async def test_a_signal_keeps_what_was_skipped(signal: Any):
    with pytest.raises(type(signal)) as caught:
        await deliver([DENIED, None, None, DENIED], signal)

    statuses = [outcome and outcome.status for outcome in caught.value.outcomes]
    assert statuses == [Status.SKIPPED, None, None, Status.SKIPPED]


async def test_outcomes_of_a_signal_stay_in_their_places():
    done = Outcome.delivered("x")
    with pytest.raises(Throttled) as caught:
        await deliver([DENIED, None, None], Throttled("wait", after=5, outcomes=[done, None]))

    assert [caught.value.outcomes[1], caught.value.outcomes[2]] == [done, None]


async def test_a_batch_without_consent_is_passed_on_as_it_is():
    batch = [sale(None), sale(None, 2)]

    async def send(passed: Sequence[Conversion]) -> Sequence[Outcome]:
        assert passed is batch
        return [Outcome.delivered()] * 2

    await deliver_with_consent(batch, ConsentRule(), withhold_clicks, send, lambda _: None)
