"""Over real sockets: answers that name no conversion, and confirmations in other words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import httpx
import pytest

from anytrack_async import (
    AnyTrackClient,
    Event,
    HubSpotSettings,
    HubSpotSink,
    LaneDown,
    LaneHeld,
    MetaSettings,
    MetaSink,
    UnusualConfirmation,
)
from tests.destinations.answers import REFUSALS, accept, response_of
from tests.end_to_end.shop import QUICK, sale
from tests.transport.raw_server import ServerConnection, response_bytes, serving

pytestmark = pytest.mark.asyncio

SLOW_PROBES = attrs.evolve(QUICK, hold_probe=60)


class Service:
    """Answers every request with `answer`, and accepts requests while that is None."""

    def __init__(self, answer: bytes) -> None:
        self.answer: bytes | None = answer

    async def __call__(self, connection: ServerConnection, head: bytes, body: bytes) -> None:
        if self.answer is None:
            path = head.split(b" ", 2)[1].decode()
            response = accept(httpx.Request("POST", f"http://service{path}", content=body))
            await connection.send(response_bytes(response.content, response.status_code))
        else:
            await connection.send(self.answer)


class Notes:
    """An observer that keeps the events of some kinds."""

    def __init__(self, *kinds: type[Event]) -> None:
        self._kinds = kinds
        self.events: list[Event] = []
        self.noted = anyio.Event()

    def notify(self, event: Event, /) -> None:
        if isinstance(event, self._kinds):
            self.events.append(event)
            self.noted.set()


@asynccontextmanager
async def client_of(name: str, service: Service, notes: Notes) -> AsyncIterator[AnyTrackClient]:
    async with serving(service) as server:
        sinks: dict[str, Any] = {
            "meta": MetaSink(MetaSettings(pixel_id="1", access_token="t", base_url=server.url)),
            "hubspot": HubSpotSink(
                HubSpotSettings(access_token="t", base_url=server.url, contacts=False)
            ),
        }
        async with AnyTrackClient(
            "key",
            "account",
            base_url=server.url if name == "anytrack" else "http://127.0.0.1:9",
            sinks=[sinks[name]] if name in sinks else [],
            observers=[notes],
            delivery=SLOW_PROBES,
            log=False,
        ) as client:
            yield client


def raw(refusal: str) -> bytes:
    response = response_of(*REFUSALS[refusal])
    return response_bytes(response.content, response.status_code)


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("anytrack", "a page"),
        ("anytrack", "a firewall's page"),
        ("anytrack", "a page that is not found"),
        ("anytrack", "a wrong method"),
        ("anytrack", "an empty object"),
        ("meta", "Meta's 100"),
        ("meta", "Meta's 100 about a permission"),
        ("meta", "Meta's unknown code"),
        ("meta", "Meta's 21009"),
        ("meta", "a page"),
        ("hubspot", "HubSpot's unknown category"),
        ("hubspot", "HubSpot's scopes"),
        ("hubspot", "a page"),
    ],
)
async def test_a_refusal_of_everything_costs_no_conversion(name: str, refusal: str) -> None:
    service, notes = Service(raw(refusal)), Notes(LaneHeld, LaneDown)
    with anyio.fail_after(30):
        async with client_of(name, service, notes) as client:
            deliveries = await client.submit_many(map(sale, range(30)), to=[name])
            await notes.noted.wait()
            dead = await client.outbox.dead_letters()
            service.answer = None
            client.resume(name)
            outcomes = [await delivery.at(name) for delivery in deliveries]

    assert not dead
    assert {outcome.status.value for outcome in outcomes} == {"delivered"}
    (told,) = notes.events
    if name == "anytrack":
        assert isinstance(told, LaneHeld)
        assert told.cause == "configuration"
        assert "base_url" in told.reason


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("anytrack", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("anytrack", response_bytes(b"{}")),
        ("anytrack", response_bytes(b'"SUCCESS"')),
        ("anytrack", response_bytes(b'{"status": "duplicate", "id": "c1"}')),
        ("meta", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("meta", response_bytes(b'{"fbtrace_id": "T"}')),
        ("hubspot", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_other_words_of_confirmation_are_reported_once(name: str, answer: bytes) -> None:
    notes = Notes(UnusualConfirmation)
    with anyio.fail_after(30):
        async with client_of(name, Service(answer), notes) as client:
            deliveries = await client.submit_many(map(sale, range(30)), to=[name])
            outcomes = [await delivery.at(name) for delivery in deliveries]

    assert {outcome.status.value for outcome in outcomes} == {"delivered"}
    assert len(notes.events) == 1


@pytest.mark.parametrize(
    "answer",
    [
        response_bytes(b"<html>Log in to the network</html>"),
        response_bytes(b""),
        response_bytes(b'{"status": "succ'),
        response_bytes(b'{"origin": "198.51.100.7"}'),
        response_bytes(b'{"error": "no such route"}'),
    ],
)
@pytest.mark.parametrize("name", ["anytrack", "meta", "hubspot"])
async def test_a_200_of_another_service_is_retried(name: str, answer: bytes) -> None:
    service, notes = Service(answer), Notes(LaneDown, UnusualConfirmation)
    with anyio.fail_after(30):
        async with client_of(name, service, notes) as client:
            deliveries = await client.submit_many(map(sale, range(30)), to=[name])
            await notes.noted.wait()
            service.answer = None
            client.resume(name)
            outcomes = [await delivery.at(name) for delivery in deliveries]
            dead = await client.outbox.dead_letters()

    assert {outcome.status.value for outcome in outcomes} == {"delivered"}
    assert not dead
    assert [type(event) for event in notes.events] == [LaneDown]
