"""Whose fault is a refusal? No conversion is given up for an error that names no conversion.

Through real sinks and lanes, with virtual time: the service refuses everything for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.collect.sink import CollectSink
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.destinations.sink import BatchRejected, SinkSignal
from anytrack_async.destinations.webhook.settings import WebhookSettings
from anytrack_async.destinations.webhook.sink import WebhookSink
from anytrack_async.events import DeadLettered, LaneHeld
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Status
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry
from tests.delivery.doubles import World
from tests.delivery.virtual_time import run_virtual
from tests.destinations.answers import REFUSALS, accept, response_of

HOUR = 3600.0
Respond = Callable[[httpx.Request], Any]

SINKS: dict[str, Callable[[httpx.AsyncBaseTransport], Any]] = {
    "anytrack": lambda transport: AnyTrackSink(
        AnyTrackSettings(api_key="key", account_id="account"), transport=transport
    ),
    "collect": lambda transport: CollectSink("property", "custom-shop", transport=transport),
    "webhook": lambda transport: WebhookSink(
        WebhookSettings(url="https://shop.example/hook", secrets=["whsec_" + "QUJD" * 11]),
        transport=transport,
    ),
    "meta": lambda transport: MetaSink(
        MetaSettings(pixel_id="1234567890", access_token="token"), transport=transport
    ),
    "hubspot": lambda transport: HubSpotSink(
        HubSpotSettings(access_token="token", contacts=False), transport=transport
    ),
    "hubspot events": lambda transport: HubSpotSink(
        HubSpotSettings(access_token="token", mode="events", event_name="pe7_x"),
        transport=transport,
    ),
}


def sale(number: int) -> Conversion:
    return Conversion.sale(
        revenue=1,
        order_id=f"o{number}",
        click_id=f"k{number}",
        timestamp=datetime.now(UTC),
        user_agent="Mozilla/5.0",
        page_url="https://shop.example/thanks",
        customer=Customer(email=f"jane{number}@example.com"),
    )


def world_of(name: str, respond: Respond, clock: Callable[[], float]) -> World:
    async def answer(request: httpx.Request) -> httpx.Response:
        await anyio.sleep(0.001)
        response: httpx.Response = respond(request)
        return response

    settings = DeliverySettings(retry=Retry(attempts=4), drain=HOUR, max_age=HOUR / 2)
    return World(SINKS[name](httpx.MockTransport(answer)), clock=clock, settings=settings)


@pytest.mark.untraced
@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("name", SINKS)
def test_everything_is_delivered_when_the_service_is_itself_again(
    name: str, refusal: str, count: int
) -> None:
    refused: list[bool] = [True]

    def respond(request: httpx.Request) -> httpx.Response:
        return response_of(*REFUSALS[refusal]) if refused else accept(request)

    async def scenario(clock: Callable[[], float]) -> None:
        world = world_of(name, respond, clock)
        async with world.dispatcher:
            deliveries = await world.submit(*map(sale, range(count)))
            await anyio.sleep(HOUR / 3)
            refused.clear()
            assert not world.events_of(DeadLettered)
            assert len(world.events_of(LaneHeld)) <= 1
            assert all([(await delivery).delivered for delivery in deliveries])
            assert not await world.dead()

    run_virtual(scenario)


@pytest.mark.parametrize(
    "refusal", ["an empty object", "Meta's 100", "a page", "a firewall's page"]
)
@pytest.mark.parametrize("name", SINKS)
def test_one_refused_conversion_stops_no_other(name: str, refusal: str) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        bad = b'"sale:o7"' in request.content
        return response_of(*REFUSALS[refusal]) if bad else accept(request)

    async def scenario(clock: Callable[[], float]) -> None:
        world = world_of(name, respond, clock)
        async with world.dispatcher:
            deliveries = await world.submit(*map(sale, range(20)))
            others = [delivery for delivery in deliveries if delivery.event_id != "sale:o7"]
            with anyio.fail_after(2 * 60):
                assert all([(await delivery).delivered for delivery in others])
            await anyio.sleep(HOUR)
            assert set(await world.dead()) <= {"sale:o7"}

    run_virtual(scenario)


odd_json = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["detail", "error", "errors", "message", "status", "title"]), inner
        )
    ),
    max_leaves=6,
)
bodies = st.binary(max_size=40) | odd_json.map(orjson.dumps) | st.just(b"<html>No</html>")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", SINKS)
@given(status=st.integers(400, 599), body=bodies, count=st.integers(1, 3))
async def test_no_refusal_without_a_name_rejects_a_conversion(
    name: str, status: int, body: bytes, count: int
) -> None:
    sink = SINKS[name](httpx.MockTransport(lambda _: httpx.Response(status, content=body)))
    signal = None
    try:
        outcomes = await sink.deliver([sale(number) for number in range(count)])
    except SinkSignal as exc:
        signal, outcomes = exc, [outcome for outcome in exc.outcomes if outcome]

    assert count > 1 or not isinstance(signal, BatchRejected)
    # AnyTrack's 409 and 422 with a message are about the content of the conversion.
    if not (name == "anytrack" and status in (409, 422)):
        assert Status.REJECTED not in [outcome.status for outcome in outcomes]
