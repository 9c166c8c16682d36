"""Services that fail, throttle, go down and come back: nothing is lost, nothing is sent twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx
import pytest

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    Customer,
    Event,
    LaneHeld,
    LaneResumed,
    MetaSettings,
    MetaSink,
    Status,
    Weakened,
)
from anytrack_async.sandbox import Faults, Sandbox
from tests.end_to_end.shop import SERVICES, everything, ids, sale

pytestmark = pytest.mark.asyncio

Connect = Callable[..., AnyTrackClient]


class Diary:
    """An observer that keeps every event of one kind."""

    def __init__(self, *kinds: type) -> None:
        self._kinds = kinds
        self.events: list[Event] = []
        self.written = anyio.Event()

    def notify(self, event: Event, /) -> None:
        if isinstance(event, self._kinds):
            self.events.append(event)
            self.written.set()


async def test_every_conversion_survives_20_percent_faults(
    sandbox: Sandbox, connect: Connect, tmp_path: Path
) -> None:
    sandbox.faults(Faults(rate=0.2, seed=7, latency=0.05))
    too_old = [
        sale(number, timestamp=datetime.now(UTC) - timedelta(days=8)) for number in (2000, 2001)
    ]

    async with connect(outbox=tmp_path / "outbox.db") as client:
        source = [*map(sale, range(2000)), *too_old]
        reports = [report async for report in client.track_many(source)]
        dead = await client.outbox.dead_letters()

    assert sum(report.delivered for report in reports) == 2000
    assert {letter.conversion.event_id for letter in dead} == {bad.event_id for bad in too_old}
    assert {letter.destination for letter in dead} == {"meta"}
    good, bad = everything(2000), {bad.event_id for bad in too_old}
    assert ids(sandbox, "meta").keys() == good
    assert ids(sandbox, "anytrack").keys() == ids(sandbox, "hubspot").keys() == good | bad
    ledger = sandbox.ledger()
    assert ledger["meta"]["unique"] == 2000
    assert ledger["anytrack"]["unique"] == ledger["hubspot"]["unique"] == 2002
    assert all(sum(ledger[service]["faults"].values()) > 0 for service in SERVICES)


async def test_hubspot_being_down_does_not_affect_the_others(
    sandbox: Sandbox, connect: Connect, tmp_path: Path
) -> None:
    sandbox.down("hubspot", how="reset")

    async with connect(outbox=tmp_path / "outbox.db") as client:
        source = map(sale, range(1000))
        first = [r async for r in client.track_many(source, at=("anytrack", "meta"))]
        during = (await client.stats()).destinations
        asked_hubspot = sandbox.ledger()["hubspot"]["requests"]
        sandbox.down("hubspot", down=False)
        deliveries = await client.submit_many([sale(number) for number in range(1000)])
        for delivery in deliveries:
            assert (await delivery.at("hubspot")).status is Status.DELIVERED

    assert len(first) == 1000
    assert during["anytrack"].delivered == during["meta"].delivered == 1000
    assert during["hubspot"].delivered == during["hubspot"].dead == 0
    assert during["hubspot"].waiting == 1000
    assert asked_hubspot < 100
    for service in SERVICES:
        assert ids(sandbox, service).keys() == everything(1000)


class Spoiler(httpx.AsyncHTTPTransport):
    """Removes the name of each event called "Poison", which no preflight can foresee."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = (await request.aread()).replace(b'"event_name":"Poison"', b'"event_name":""')
        headers = {k: v for k, v in request.headers.items() if k != "content-length"}
        return await super().handle_async_request(
            httpx.Request(
                request.method,
                request.url,
                headers=headers,
                content=body,
                extensions=request.extensions,
            )
        )


async def test_one_poison_conversion_costs_meta_fewer_than_30_requests(
    sandbox: Sandbox, connect: Connect
) -> None:
    meta = MetaSettings.from_env(sandbox.environment())
    assert meta is not None
    batch = [sale(number) for number in range(1000)]
    batch[617] = Conversion.custom("Poison", customer=Customer(email="poison@example.com"))

    async with connect(sinks=[MetaSink(meta, transport=Spoiler())]) as client:
        deliveries = await client.submit_many(batch, to=["meta"])
        outcomes = [await delivery.at("meta") for delivery in deliveries]
        (dead,) = await client.outbox.dead_letters("meta")

    assert [outcome.status for outcome in outcomes].count(Status.DELIVERED) == 999
    assert dead.conversion == batch[617]
    assert "event_name is required" in dead.error
    assert sandbox.ledger()["meta"]["unique"] == 999
    assert sandbox.ledger()["meta"]["requests"] < 30


async def test_an_expired_token_holds_the_lane_and_a_new_one_resumes_it(
    sandbox: Sandbox, connect: Connect
) -> None:
    diary = Diary(LaneHeld, LaneResumed)
    meta = MetaSettings.from_env(sandbox.environment())
    assert meta is not None
    sink = MetaSink(meta)

    async with connect(sinks=[sink], observers=[diary]) as client:
        sandbox.credentials("meta", "token-of-tomorrow")
        deliveries = await client.submit_many([sale(number) for number in range(50)])
        for delivery in deliveries:
            await delivery.at("anytrack")
        await diary.written.wait()
        meta = (await client.stats()).destinations["meta"]
        sink.use_token("token-of-tomorrow")
        client.resume("meta")
        outcomes = [await delivery.at("meta") for delivery in deliveries]

    assert meta.waiting == 50
    assert meta.dead == 0
    assert all(outcome.status is Status.DELIVERED for outcome in outcomes)
    assert [type(event) for event in diary.events] == [LaneHeld, LaneResumed]


async def test_weakened_events_are_counted(sandbox: Sandbox, connect: Connect) -> None:
    diary = Diary(Weakened)

    async with connect(observers=[diary]) as client:
        for number in range(3):
            delivery = await client.submit(sale(number, user_agent=None))
            await delivery.at("meta")
        meta = (await client.stats()).destinations["meta"]

    assert meta.weakened == {"website events without user_agent": 3}
    assert sum(event.count for event in diary.events) == 3
    assert {(event.destination, event.reason) for event in diary.events} == {
        ("meta", "website events without user_agent")
    }
    assert ids(sandbox, "meta").keys() == everything(3)
