"""Held lanes continue with other credentials, and dead letters are sent again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from anytrack_async import (
    ConfigurationError,
    Conversion,
    LaneHeld,
    LaneState,
    Outcome,
    SinkLimits,
    Status,
)
from anytrack_async.events import LaneResumed
from tests.client.service import KEY, SALE, SECRETS, Remembering, Service, until

pytestmark = pytest.mark.asyncio


HOSTS = {
    "anytrack": "api.anytrack.io",
    "meta": "graph.facebook.com",
    "hubspot": "api.hubapi.com",
}


# Held lanes and dead letters


async def test_a_held_lane_continues_with_a_new_key(service: Service):
    def answer(request: httpx.Request) -> httpx.Response:
        good = request.headers["authorization"] == "Bearer new-key"
        return httpx.Response(200 if good else 401, json={"conversion_id": "c1"})

    service.answers["/v1/conversions"] = answer
    service.answer("/v1/reports/daily", {})
    observer = Remembering()

    async with service.client(observers=[observer]) as client:
        delivery = await client.submit(SALE)
        await until(lambda: observer.of(LaneHeld))
        assert (await client.stats()).destinations["anytrack"].state is LaneState.HELD
        client.use_api_key("new-key")
        assert (await delivery).delivered
        await client.get_daily_report()

    assert service.last.headers["authorization"] == "Bearer new-key"
    assert len(observer.of(LaneHeld)) == len(observer.of(LaneResumed)) == 1


@pytest.mark.parametrize("name", [*HOSTS])
async def test_a_held_lane_continues_with_a_new_token(service: Service, name: str):
    def answer(request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        quoted = {"message": f"not {token}", "error": {"code": 190, "message": f"not {token}"}}
        return httpx.Response(401, json=quoted)

    observer = Remembering()
    sinks = [service.meta(), service.hubspot()]
    async with service.client(sinks=sinks, observers=[observer]) as client:
        service.answers[HOSTS[name]] = answer
        delivery = await client.submit(SALE)
        await until(lambda: len(observer.of(LaneHeld)) == 1)
        client.use_token(name, "wrong-t0ken")
        await until(lambda: len(observer.of(LaneHeld)) == 2)
        assert not observer.of(LaneResumed)
        service.answers.clear()
        client.use_token(name, "right-t0ken")
        assert (await delivery.at(name)).status is Status.DELIVERED

    reasons = [event.reason for event in observer.of(LaneHeld)]
    assert all("***" in reason and "t0ken" not in reason for reason in reasons)
    assert not any(secret in reason for reason in reasons for secret in SECRETS)
    assert [event.destination for event in observer.of(LaneResumed)] == [name]
    requests = [request for request in service.requests if request.url.host == HOSTS[name]]
    assert requests[-1].headers["authorization"] == "Bearer right-t0ken"


@pytest.mark.parametrize("token", ["", " ", "new\nkey", "n3w ", 7])
async def test_a_token_that_is_not_valid_in_a_header_changes_nothing(service: Service, token: Any):
    service.answer("/v1/reports/daily", {})
    async with service.client() as client:
        with pytest.raises(ConfigurationError, match=r"^token must") as caught:
            client.use_token("anytrack", token)
        await client.get_daily_report()

    assert service.last.headers["authorization"] == f"Bearer {KEY}"
    assert "key" not in str(caught.value)


async def test_a_destination_without_use_token_is_named(service: Service):
    class OwnSink:
        name = "own"
        limits = SinkLimits()

        async def deliver(self, batch: Any, /) -> Any:
            return [Outcome.delivered() for _ in batch]

    client = service.client(sinks=[OwnSink()])

    with pytest.raises(ConfigurationError, match="use_token: OwnSink, the sink of own, cannot"):
        client.use_token("own", "t0ken")
    with pytest.raises(ConfigurationError, match="use_token: no destination 'mata'; known"):
        client.use_token("mata", "t0ken")


async def test_a_held_lane_can_be_resumed(service: Service):
    service.refuse(401)
    observer = Remembering()

    async with service.client(observers=[observer]) as client:
        delivery = await client.submit(SALE)
        await until(lambda: observer.of(LaneHeld))
        service.answers.clear()
        client.resume("anytrack")
        assert (await delivery).delivered
        with pytest.raises(
            ConfigurationError, match="no destination 'meta'; known destinations: anytrack"
        ):
            client.resume("meta")


async def test_replayed_dead_letters_are_sent_again(service: Service):
    service.refuse(422, "no click")
    leads = [Conversion.lead(click_id="k", order_id=str(number)) for number in range(3)]

    async with service.client() as client:
        for delivery in await client.submit_many(leads):
            assert (await delivery.at("anytrack")).status is Status.DEAD
        service.answers.clear()
        assert await client.replay("anytrack", ["lead:1", "unknown"]) == 1
        assert await client.replay("anytrack") == 2
        await until(lambda: len(service.requests) == 6)
        with pytest.raises(ConfigurationError, match="event_ids must be a list"):
            await client.replay("anytrack", "lead:1")

    accepted = {body["order_id"] for body in service.bodies()[3:]}
    assert accepted == {"0", "1", "2"}
