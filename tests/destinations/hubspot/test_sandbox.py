import time

import anyio
import httpx
import pytest

from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.sink import NeedsOperator, SinkSignal
from anytrack_async.models.customer import Customer
from tests.destinations.hubspot import virtual_time

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from anytrack_async.sandbox import (
    Faults,
    HubSpotPortal,
    SandboxSettings,
    create_app,
)

TOKEN = "sandbox-hubspot-token"


def portal(*, faults=None, clock=time.time, **more):
    settings = SandboxSettings(hubspot=HubSpotPortal(**more), faults=faults or Faults())
    return create_app(settings, clock=clock)


def sink_of(app, **more):
    values = {"access_token": TOKEN, "base_url": "http://localhost", **more}
    return HubSpotSink(HubSpotSettings(**values), transport=httpx.ASGITransport(app=app))


def ledger(app, **more):
    return app.ledger.as_dict(**more)["hubspot"]


@pytest.mark.asyncio
async def test_a_batch_delivered_twice_is_stored_once(hs):
    app = portal()
    sink = sink_of(app)
    batch = [hs.sale(str(n), email=f"User{n % 30}@Example.com") for n in range(100)]

    first = await sink.deliver(batch)
    again = await sink.deliver(batch)

    assert len({outcome.remote_id for outcome in first}) == 100
    assert again == first
    page = ledger(app)
    assert (page["unique"], page["contacts"], page["associations"]) == (100, 30, 100)
    assert not page["rejected"]


@pytest.mark.asyncio
async def test_bad_conversions_lose_no_other_conversion(hs):
    app = portal()
    batch = [
        hs.sale("1", currency="XAU"),
        hs.sale("2", customer=Customer(email="a@b.c.example", phone="1")),
        hs.sale("3"),
    ]

    outcomes = await sink_of(app).deliver(batch)

    assert [outcome.status for outcome in outcomes] == ["rejected", "delivered", "delivered"]
    assert '"XAU" is not a part of the current effective currency codes' in outcomes[0].error


@pytest.mark.asyncio
async def test_a_fresh_portal_holds_the_lane_until_setup(hs):
    app = portal(prepared=False)
    sink = sink_of(app)
    with pytest.raises(NeedsOperator, match="setup"):
        await sink.deliver([hs.sale("1"), hs.sale("2")])

    planned = await sink.setup(dry_run=True)
    done = await sink.setup()

    assert [step.name for step in planned] == [step.name for step in done]
    assert {step.action for step in done} == {"created"}
    assert [outcome.status for outcome in await sink.deliver([hs.sale("1")])] == ["delivered"]
    assert all(finding.ok for finding in await sink.check(currencies=["USD"]))


@pytest.mark.asyncio
async def test_a_pipeline_is_found_by_its_label(hs):
    app = portal()
    stages = {"sale": "Won", "lead": "New", "signup": "New", "custom": "New"}

    outcomes = await sink_of(app, pipeline="affiliate sales", stages=stages).deliver([hs.sale()])

    assert [outcome.status for outcome in outcomes] == ["delivered"]


@pytest.mark.asyncio
async def test_an_oauth_app_refreshes_a_refused_token_once(hs):
    app = portal(token_life=0)
    oauth = OAuthSettings(
        client_id="sandbox-client",
        client_secret="sandbox-client-secret",
        refresh_token="sandbox-refresh-token",
    )
    with pytest.raises(NeedsOperator, match="expired"):
        await sink_of(app, access_token=None, oauth=oauth).deliver([hs.sale()])

    good = portal()
    outcomes = await sink_of(good, access_token="unknown", oauth=oauth).deliver([hs.sale()])
    assert [outcome.status for outcome in outcomes] == ["delivered"]


@pytest.mark.asyncio
async def test_missing_scopes_are_named(hs):
    app = portal(scopes=["crm.objects.deals.write"])

    with pytest.raises(NeedsOperator, match=r"crm\.objects\.contacts\.write"):
        await sink_of(app).deliver([hs.sale(email="a@b.example")])


@pytest.mark.asyncio
@pytest.mark.parametrize("version", ["2026-09", "2026-03", "v3"])
async def test_every_version_works(hs, version):
    outcomes = await sink_of(portal(), api_version=version).deliver(
        [hs.sale("1", email="a@b.example")]
    )

    assert [outcome.status for outcome in outcomes] == ["delivered"]


@pytest.mark.asyncio
async def test_repeated_events_count_once(hs):
    app = portal()
    sink = sink_of(app, mode="events", event_name="pe7_conversion")
    for _ in range(2):
        await sink.deliver([hs.sale(str(n), email="a@b.example") for n in range(5)])

    assert ledger(app)["events"] == 5


@pytest.mark.parametrize("seed", range(5))
def test_no_conversion_is_lost_or_doubled_under_faults(hs, seed):
    async def deliver_all():
        faults = Faults(rate=0.5, seed=seed, kinds=("error", "throttle", "reset", "cut", "lost"))
        app = portal(faults=faults, limit=10_000, clock=anyio.current_time)
        sink = sink_of(app)
        pending = [hs.sale(str(n), email=f"u{n}@b.example") for n in range(20)]
        for _ in range(200):
            outcomes = await attempt(sink, pending)
            pending = [
                conversion
                for conversion, outcome in zip(pending, outcomes, strict=True)
                if outcome is None or outcome.status != "delivered"
            ]
        return pending, ledger(app, ids=True)

    pending, page = virtual_time.run(deliver_all())

    assert not pending
    assert (page["unique"], page["contacts"], page["associations"]) == (20, 20, 20)


async def attempt(sink, batch):
    try:
        return await sink.deliver(batch)
    except SinkSignal as signal:
        return signal.outcomes or [None] * len(batch)


def test_requests_stay_within_the_portals_limit(hs):
    async def deliver_all():
        app = portal(limit=10, interval=10.0, clock=anyio.current_time)
        sink = sink_of(app, rate_limit=10, rate_interval=10.0)
        async with anyio.create_task_group() as tg:
            for number in range(30):
                tg.start_soon(sink.deliver, [hs.sale(str(number))])
        return ledger(app), anyio.current_time()

    page, seconds = virtual_time.run(deliver_all())

    assert page["unique"] == 30
    assert not page["rejected"]
    # Ten requests at once, ten after 10.2 seconds, ten after 20.4.
    assert seconds == pytest.approx(20.4)
