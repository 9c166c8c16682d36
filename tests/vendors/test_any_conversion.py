"""Meta and HubSpot accept every conversion that can be built, or it is rejected before sending.

The sandbox shares no code with the sinks, so each checks the other.
"""

from __future__ import annotations

import time

import attrs
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.meta.event import limited, to_event
from anytrack_async.destinations.meta.hashing import hashed
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.models.outcome import SKIPPED_CODE, Status
from anytrack_async.sandbox import HubSpotPortal, MetaPixel, SandboxSettings, create_app
from anytrack_async.sandbox.meta.errors import find_error
from tests.examples import examples
from tests.strategies import conversions, recent_conversions

pytestmark = pytest.mark.asyncio

PORTAL = HubSpotPortal(limit=10**6, currencies=("USD", "EUR", "JPY", "KWD"))
PIXEL = MetaPixel(app_secret="app-secret")
META = MetaSettings(
    pixel_id=PIXEL.pixels[0], access_token=PIXEL.tokens[0], app_secret=PIXEL.app_secret
)
HUBSPOT = {"access_token": PORTAL.tokens[0], "rate_limit": 10**6}

batches = st.lists(recent_conversions | recent_conversions | conversions, min_size=1, max_size=6)
often = settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def stand_in(service):
    """Return the sandbox's page on *service*, and a transport that leads there."""
    app = create_app(SandboxSettings(hubspot=PORTAL, meta=PIXEL))
    return app.ledger.pages[service], httpx.ASGITransport(app)


def documented(conversion):
    """Return *conversion* without undocumented identifiers: Meta alone knows if they match."""
    if not conversion.meta or "user_data" not in conversion.meta:
        return conversion
    user_data = {**conversion.meta["user_data"], "extra": None}
    return attrs.evolve(conversion, meta={**conversion.meta, "user_data": user_data})


@often
@given(batches.map(lambda batch: [documented(conversion) for conversion in batch]))
async def test_meta_accepts_every_conversion_that_is_sent(batch):
    page, transport = stand_in("meta")
    outcomes = await MetaSink(META, transport=transport).deliver(batch)

    delivered = [outcome for outcome in outcomes if outcome.status is Status.DELIVERED]
    assert page.unique + page.duplicates == len(delivered)
    assert not page.rejected
    for conversion, outcome in zip(batch, outcomes, strict=True):
        if outcome.status is Status.SKIPPED:
            assert META.consent.skip_reason(conversion.consent)
        elif outcome.status is not Status.DELIVERED:
            assert outcome.status is Status.REJECTED
            assert outcome.error
            # Meta would have refused it, and with it the others, for this very reason.
            refusal = find_error(to_event(limited(conversion, META.consent), META), time.time())
            assert str(refusal.subcode or refusal.code) == outcome.code


@often
@given(batches, st.sampled_from(["2026-09", "v3"]))
async def test_hubspot_accepts_any_conversion(batch, version):
    page, transport = stand_in("hubspot")
    sink = HubSpotSink(HubSpotSettings(**HUBSPOT, api_version=version), transport=transport)
    outcomes = await sink.deliver(batch)
    repeated = await sink.deliver(batch)

    assert {outcome.status for outcome in outcomes} == {Status.DELIVERED}
    assert [repeat.remote_id for repeat in repeated] == [first.remote_id for first in outcomes]
    assert page.unique == len({conversion.event_id for conversion in batch})
    assert not page.rejected


@given(batches)
async def test_hubspot_accepts_any_conversion_of_a_known_visitor_as_an_event(batch):
    page, transport = stand_in("hubspot")
    events = HubSpotSettings(**HUBSPOT, mode="events", event_name="pe62515_conversion")
    outcomes = await HubSpotSink(events, transport=transport).deliver(batch)

    delivered = {
        conversion.event_id
        for conversion, outcome in zip(batch, outcomes, strict=True)
        if outcome.status is Status.DELIVERED
    }
    assert page.extra["events"] == len(delivered)
    assert not page.rejected
    assert {outcome.code for outcome in outcomes} <= {None, "NO_IDENTITY", SKIPPED_CODE}


@given(
    field=st.sampled_from(["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country"]),
    raw=st.text(max_size=30) | st.integers() | st.dates() | st.emails() | st.none(),
)
async def test_hashing_twice_is_hashing_once(field, raw):
    once = hashed(field, raw)

    assert hashed(field, once) == once
    assert once is None or hashed(field, f" {once.upper()} ") == once
