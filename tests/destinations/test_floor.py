"""How many requests a service gets from each lane if it answers 429 or 503 and asks for no wait.

Time is virtual: without a floor under the waits, a lane would send thousands of requests a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.errors import UndeliveredError
from anytrack_async.models.conversion import Conversion
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import HttpSettings
from tests.delivery.doubles import World
from tests.delivery.virtual_time import run_virtual
from tests.destinations.test_fault import sale

pytestmark = pytest.mark.untraced

MINUTE = 60.0
CONNECTIONS = 4
HTTP = HttpSettings(connections=CONNECTIONS)
BODIES = {
    "anytrack": {"message": "slow down"},
    "meta": {"error": {"message": "User request limit reached", "code": 17}},
    "hubspot": {"status": "error", "message": "slow down", "category": "RATE_LIMITS"},
}
SINKS: dict[str, Callable[[httpx.AsyncBaseTransport], Any]] = {
    "anytrack": lambda transport: AnyTrackSink(
        AnyTrackSettings(api_key="key", account_id="account", http=HTTP), transport=transport
    ),
    "meta": lambda transport: MetaSink(
        MetaSettings(pixel_id="1234567890", access_token="token", http=HTTP), transport=transport
    ),
    "hubspot": lambda transport: HubSpotSink(
        HubSpotSettings(access_token="token", http=HTTP), transport=transport
    ),
}


def conversions(count: int) -> list[Conversion]:
    return [sale(number) for number in range(count)]


def requests_within(name: str, status: int, headers: dict[str, str], seconds: float) -> int:
    """Return the number of requests in that many virtual seconds."""
    requests = 0

    async def respond(_: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        assert requests < 5_000
        await anyio.sleep(0.001)
        return httpx.Response(status, headers=headers, json=BODIES[name])

    async def scenario(clock: Callable[[], float]) -> None:
        sink = SINKS[name](httpx.MockTransport(respond))
        world = World(sink, clock=clock, settings=DeliverySettings(drain=0.0))
        with pytest.raises(UndeliveredError):
            async with world.dispatcher:
                await world.submit(*conversions(300))
                await anyio.sleep(seconds)

    run_virtual(scenario)
    return requests


@pytest.mark.parametrize("name", SINKS)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "hint", ["0", "-1", "0.0001", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "0, 0", None]
)
def test_a_service_that_asks_for_no_wait_gets_few_requests(
    name: str, status: int, hint: str | None
) -> None:
    headers = {} if hint is None else {"Retry-After": hint}

    # A batch of AnyTrack's is several requests at once, and ends after eight failures.
    assert 1 <= requests_within(name, status, headers, MINUTE) <= 160
    assert requests_within(name, status, headers, 1.0) <= 80
