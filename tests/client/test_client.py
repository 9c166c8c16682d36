"""Running a client: stats, lanes, replay, closing, and use in a web application."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import attrs
import httpx
import pytest
import respx

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    Customer,
    DestinationStats,
    Event,
    LaneState,
    MetaSettings,
    MetaSink,
    Submitted,
    UndeliveredError,
)
from anytrack_async.client.stats import Counters
from anytrack_async.events import DeadLettered, Delivered, Dropped, LaneResumed, Retried
from tests.client.service import KEY, META_TOKEN, QUICK, SALE, SECRETS, Remembering, Service, until

pytestmark = pytest.mark.asyncio


# One transport


async def test_one_injected_transport_serves_client_and_sinks(service: Service):
    sinks = [service.meta(), service.hubspot()]

    async with service.client(sinks=sinks) as client:
        service.answer("/v1/reports/daily", {"total_revenue": 5})
        await client.get_daily_report()
        report = await (await client.submit(SALE))

    assert report.delivered
    assert {request.url.host for request in service.requests} == {
        "api.anytrack.io",
        "graph.facebook.com",
        "api.hubapi.com",
    }


async def test_a_transport_serves_the_sinks_of_the_environment(service: Service):
    environ = {
        "ANYTRACK_API_KEY": KEY,
        "ANYTRACK_ACCOUNT_ID": "a",
        "META_PIXEL_ID": "p1",
        "META_ACCESS_TOKEN": "t",
        "HUBSPOT_ACCESS_TOKEN": "t",
    }

    async with AnyTrackClient.from_env(
        environ, transport=service.transport, delivery=QUICK
    ) as client:
        assert (await (await client.submit(SALE))).delivered

    assert len({request.url.host for request in service.requests}) == 3


async def test_respx_serves_client_and_sinks(service: Service):
    with respx.mock() as mock:
        mock.post("https://api.anytrack.io/v1/conversions").respond(
            json={"status": "success", "conversion_id": "c1"}
        )
        events = mock.post("https://graph.facebook.com/v26.0/p1/events").respond(
            json={"events_received": 1}
        )
        sink = MetaSink(MetaSettings(pixel_id="p1", access_token=META_TOKEN))
        async with AnyTrackClient(KEY, "a", sinks=[sink], delivery=QUICK) as client:
            receipt = await client.track_conversion(SALE)
            await (await client.submit(SALE))

    assert receipt.conversion_id == "c1"
    assert events.call_count == 1


async def test_the_transport_is_closed_with_the_client(service: Service):
    closed = []

    class Closing(httpx.MockTransport):
        async def aclose(self) -> None:
            closed.append(True)

    async with service.client(transport=Closing(service)) as client:
        await client.track_conversion(SALE)
        assert closed == []

    assert len(closed) == 2  # by the session that reads and by the sink


async def test_an_error_while_closing_does_not_hide_the_blocks_exception(
    service: Service, caplog: pytest.LogCaptureFixture
):
    class Stuck(httpx.MockTransport):
        async def aclose(self) -> None:
            raise RuntimeError(KEY)

    with pytest.raises(LookupError, match="the caller's own"):
        async with service.client(transport=Stuck(service)):
            raise LookupError("the caller's own")

    assert "closing the connections to AnyTrack failed: RuntimeError" in caplog.text
    assert KEY not in caplog.text


async def test_a_new_destination_can_start_at_the_beginning_of_the_outbox(
    service: Service, tmp_path: Path
):
    path = tmp_path / "a.db"
    service.refuse(503)
    async with service.client(outbox=path, delivery=attrs.evolve(QUICK, drain=0)) as client:
        await client.submit(SALE)
    service.answers.clear()

    options = {"sinks": [service.meta()], "from_start": ["meta"]}
    async with service.client(outbox=path, **options) as client:
        assert (await (await client.submit(SALE))).delivered

    assert len(service.bodies("graph.facebook.com")) == 1


# Stats


async def test_stats_count_the_events_of_each_destination(service: Service):
    service.refuse(422, "no click")
    service.answer("/v26.0/p1/events", {"events_received": 1})

    async with service.client(sinks=[service.meta()]) as client:
        assert (await client.stats()).destinations["anytrack"] == DestinationStats(
            state=LaneState.RUNNING
        )
        await (await client.submit(SALE))
        await client.submit(SALE)
        stats = await client.stats()

    assert stats.submitted == 1
    assert stats.destinations == {
        "anytrack": DestinationStats(state=LaneState.RUNNING, dead_lettered=1, dead=1),
        "meta": DestinationStats(
            state=LaneState.RUNNING,
            delivered=1,
            weakened={"website events without an http(s) page_url": 1},
        ),
    }


async def test_stats_show_the_backlog(service: Service):
    service.gate = anyio.Event()

    async with service.client() as client:
        await client.submit(SALE)
        await until(lambda: service.requests)
        waiting = (await client.stats()).destinations["anytrack"]
        service.gate.set()

    assert (waiting.waiting, waiting.in_flight, waiting.delivered) == (1, 1, 0)


async def test_a_destination_without_a_sink_shows_its_backlog(service: Service, tmp_path: Path):
    path = tmp_path / "a.db"
    service.refuse(503, path="/v26.0/p1/events")
    settings = attrs.evolve(QUICK, drain=0)
    async with service.client(sinks=[service.meta()], outbox=path, delivery=settings) as client:
        await client.submit(SALE, to=["meta"])

    async with service.client(outbox=path) as client:
        meta = (await client.stats()).destinations["meta"]

    assert (meta.state, meta.waiting) == (None, 1)


async def test_counters_count_every_event():
    counters = Counters()
    for event in (
        Submitted(event_ids=["a", "b"]),
        Delivered(destination="m", event_ids=["a", "b"], seconds=1),
        Retried(destination="m", event_ids=["a"], reason="", seconds=1),
        DeadLettered(destination="m", event_id="a", reason=""),
        Dropped(destination="m", event_ids=["a", "b", "c"], reason=""),
        LaneResumed(destination="m"),
    ):
        counters.notify(event)

    assert counters.submitted == 2
    assert counters.for_destination("m") == {
        "delivered": 2,
        "retried": 1,
        "dead_lettered": 1,
        "dropped": 3,
    }
    assert counters.for_destination("other") == {}


# Observers and the log


async def test_an_observer_that_raises_does_not_affect_the_others(
    service: Service, caplog: pytest.LogCaptureFixture
):
    class Raising:
        def notify(self, event: Event, /) -> None:
            raise RuntimeError(SECRETS[0])

    observer = Remembering()

    async with service.client(observers=[Raising(), observer]) as client:
        await client.track_conversion(SALE)

    assert [type(event) for event in observer.events] == [Submitted, Delivered]
    assert "observer Raising failed with RuntimeError" in caplog.text
    assert SECRETS[0] not in caplog.text


@pytest.mark.parametrize("log", [True, False])
async def test_the_log_can_be_switched_off(
    log: bool, service: Service, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "anytrack_async")

    async with service.client(log=log) as client:
        await client.track_conversion(SALE)

    assert ("accepted 1 conversions" in caplog.messages) is log


async def test_neither_log_nor_events_contain_a_secret_or_customer_data(
    service: Service, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    private = "jane@example.com"
    message = f"key {KEY}-0123456789 of {private} is not accepted"
    service.refuse(401, message)
    service.answers["/v26.0/p1/events"] = lambda _: httpx.Response(
        400, json={"error": {"message": message, "code": 190}}
    )
    observer = Remembering()
    conversion = attrs.evolve(SALE, customer=Customer(email=private), ip_address="203.0.113.9")
    settings = attrs.evolve(QUICK, drain=0)

    with pytest.raises(UndeliveredError) as caught:
        await hold(
            service.client(sinks=[service.meta()], observers=[observer], delivery=settings),
            conversion,
        )

    shown = f"{caplog.text} {observer.events} {caught.value!r} {caught.value!s}"
    assert "held" in caplog.text
    for word in (*SECRETS, private, "203.0.113.9", "k1"):
        assert word not in shown


async def hold(client: AnyTrackClient, conversion: Conversion) -> None:
    async with client:
        delivery = await client.submit(conversion)
        await until(lambda: all(outcome.error for outcome in delivery.report.outcomes.values()))
