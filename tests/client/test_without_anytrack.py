"""`AnyTrackClient(anytrack=False)`: conversions go to the sinks only."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytrack_async import AnyTrackClient, ConfigurationError, Conversion
from tests.client.service import HUBSPOT_TOKEN, KEY, META_TOKEN, NO_RETRY, QUICK, Service

pytestmark = pytest.mark.asyncio

SALE = Conversion.sale(event_id="sale:1", revenue=5, order_id="1", ip_address="203.0.113.5")
VARIABLES = {"META_PIXEL_ID": "p1", "META_ACCESS_TOKEN": META_TOKEN}


def client_of_sinks(service: Service, **options) -> AnyTrackClient:
    defaults = {"delivery": QUICK, "transport": service.transport, "http": NO_RETRY}
    return AnyTrackClient(anytrack=False, sinks=[service.meta()], **(defaults | options))


async def test_conversions_go_to_the_sinks_and_nothing_to_anytrack(service: Service):
    async with client_of_sinks(service) as client:
        report = await (await client.submit(SALE))
        stats = await client.stats()

    assert {*report.outcomes} == {*stats.destinations} == {"meta"}
    assert {request.url.host for request in service.requests} == {"graph.facebook.com"}
    assert repr(client) == "<AnyTrackClient: meta>"


async def test_the_environment_needs_no_variable_of_anytrack(service: Service):
    other = VARIABLES | {"ANYTRACK_COLLECT_URL": "https://t1.anytrack.io/a/collect/custom-x"}
    with_key = VARIABLES | {"ANYTRACK_API_KEY": KEY, "ANYTRACK_ACCOUNT_ID": "1"}

    for variables in (VARIABLES, other, with_key):
        client = AnyTrackClient.from_env(variables, anytrack=False, transport=service.transport)
        assert [*client.limits] == ["meta"]
    with pytest.raises(ConfigurationError, match="ANYTRACK_API_KEY"):
        AnyTrackClient.from_env(VARIABLES)


async def test_what_waits_for_anytrack_in_a_shared_outbox_is_left_to_others(
    service: Service, tmp_path: Path
):
    path = tmp_path / "outbox.db"
    service.refuse(503)
    async with service.client(outbox=path, sinks=[service.meta()]) as client:
        await client.submit(SALE)
        client.limit_drain(0)
    async with client_of_sinks(service, outbox=path) as client:
        stats = await client.stats()

    assert stats.destinations["anytrack"].waiting == 1
    assert stats.destinations["anytrack"].state is None
    service.answers.clear()
    async with service.client(outbox=path):
        pass
    assert [body["custom_data"]["event_id"] for body in service.bodies()][-1] == "sale:1"


async def test_with_an_api_key_it_reads_from_anytrack(service: Service):
    service.answer("/v1/reports/daily", {})
    async with client_of_sinks(service, api_key=KEY, account_id="1") as client:
        await client.get_daily_report()
        client.use_token("anytrack", "new-key")
        await client.get_daily_report()

    assert service.last.headers["authorization"] == "Bearer new-key"


async def test_without_an_api_key_reading_says_what_is_missing(service: Service):
    async with client_of_sinks(service) as client:
        with pytest.raises(ConfigurationError, match="reading from AnyTrack needs an API key"):
            await client.get_daily_report()
        with pytest.raises(ConfigurationError, match="no destination 'anytrack'"):
            client.use_token("anytrack", "new-key")


async def test_methods_that_wait_for_anytrack_accept_nothing(service: Service):
    async with client_of_sinks(service) as client:
        with pytest.raises(ConfigurationError, match=r"anytrack=False.*use submit"):
            await client.track_sale("click", 5, event_id="sale:2")
        with pytest.raises(ConfigurationError, match=r"anytrack=False.*use submit"):
            await client.track_conversion(SALE)

    assert service.requests == []


async def test_contradictory_arguments_are_refused(service: Service):
    with pytest.raises(ConfigurationError, match="anytrack=False sends none there"):
        client_of_sinks(service, collect="https://t1.anytrack.io/a/collect/custom-x")
    with pytest.raises(ConfigurationError, match="the client has no destination"):
        AnyTrackClient(anytrack=False)
    with pytest.raises(ConfigurationError, match="account_id is missing"):
        client_of_sinks(service, api_key=HUBSPOT_TOKEN)
