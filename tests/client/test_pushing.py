"""Pushes: one existing conversion is sent to one destination, bypassing the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import httpx
import pytest

from anytrack_async import (
    BatchRejected,
    ClosedError,
    ConfigurationError,
    Conversion,
    Customer,
    InvalidConversionError,
    NeedsOperator,
    Outcome,
    SinkLimits,
    Status,
    Throttled,
    Unavailable,
)
from tests.client.service import META_TOKEN, Service, recorded_as

pytestmark = pytest.mark.asyncio

SALE = Conversion.sale(
    revenue="49.90",
    order_id="1001",
    user_agent="Mozilla/5.0",
    customer=Customer(email="jane@example.com"),
)


async def test_push_to_meta(service: Service):
    async with service.client(sinks=[service.meta()]) as client:
        outcome = await client.sync_with_meta_capi(SALE)

    assert (outcome.status, outcome.destination) == (Status.DELIVERED, "meta")
    (body,) = service.bodies("graph.facebook.com")
    assert body["data"][0]["event_id"] == SALE.event_id
    assert service.last.headers["authorization"] == f"Bearer {META_TOKEN}"


async def test_push_to_hubspot(service: Service):
    async with service.client(sinks=[service.hubspot()]) as client:
        outcome = await client.sync_with_hubspot(SALE)

    assert (outcome.status, outcome.destination) == (Status.DELIVERED, "hubspot")
    assert outcome.remote_id == "hs-0"


async def test_a_sink_may_be_passed(service: Service):
    async with service.client() as client:
        outcome = await client.sync_with_meta_capi(SALE, service.meta())

    assert outcome.status is Status.DELIVERED


async def test_a_push_does_not_use_the_outbox(service: Service):
    async with service.client(sinks=[service.meta()]) as client:
        await client.sync_with_meta_capi(SALE)
        assert (await client.stats()).submitted == 0
    assert service.bodies() == []


@pytest.mark.parametrize("name", ["meta", "hubspot"])
async def test_without_a_sink_the_error_says_what_to_do(name: str, service: Service):
    client = service.client()
    push = client.sync_with_meta_capi if name == "meta" else client.sync_with_hubspot

    advice = r"add it to AnyTrackClient\(sinks=…\), or pass sink=…"
    with pytest.raises(ConfigurationError, match=f"no sink for '{name}': {advice}$"):
        await push(SALE)


@pytest.mark.parametrize("name", ["meta", "hubspot"])
async def test_a_closed_client_pushes_only_through_a_passed_sink(name: str, service: Service):
    client = service.client(sinks=[service.meta(), service.hubspot()])
    push = client.sync_with_meta_capi if name == "meta" else client.sync_with_hubspot
    async with client:
        pass

    with pytest.raises(ClosedError, match="inside its `async with` block"):
        await push(SALE)
    assert service.requests == []
    assert (await push(SALE, getattr(service, name)())).status is Status.DELIVERED


async def test_a_conversion_that_was_read_back_is_validated_and_pushed(service: Service):
    recorded = recorded_as(SALE, ip_address="10.0.0.7")

    async with service.client(sinks=[service.meta()]) as client:
        outcome = await client.sync_with_meta_capi(recorded)
        with pytest.raises(InvalidConversionError, match=r"^currency must be .*; id must not be"):
            odd = attrs.evolve(recorded, currency="USDT", id="i" * 300)
            await client.sync_with_meta_capi(odd)

    assert outcome.status is Status.DELIVERED
    (body,) = service.bodies("graph.facebook.com")
    assert "client_ip_address" not in body["data"][0]["user_data"]


async def test_only_conversions_can_be_pushed(service: Service):
    async with service.client(sinks=[service.meta()]) as client:
        with pytest.raises(TypeError, match=r"^expected a Conversion, got str$"):
            await client.sync_with_meta_capi("c1")  # type: ignore[arg-type]


class Answering:
    """A sink that returns the outcome, or raises the exception, that it was created with."""

    name = "answering"
    limits = SinkLimits()

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer] * len(batch)


async def test_a_closing_client_does_not_reopen_a_sink(service: Service):
    refused: list[ClosedError] = []

    class Last(Answering):
        async def aclose(self) -> None:
            with pytest.raises(ClosedError, match="inside its `async with` block") as caught:
                await client.sync_with_meta_capi(SALE)
            refused.append(caught.value)

    client = service.client(sinks=[service.meta(), Last(Outcome.delivered())])
    async with client:
        pass

    assert len(refused) == 1
    assert service.requests == []


@pytest.mark.parametrize(
    ("answer", "status", "after"),
    [
        (Outcome.delivered("d1"), Status.DELIVERED, None),
        (Outcome.rejected("why", code="c"), Status.REJECTED, None),
        (BatchRejected("why", code="c"), Status.REJECTED, None),
        (Throttled("why", code="c", after=60.0), Status.RETRY, 60.0),
        (NeedsOperator("why", code="c"), Status.RETRY, None),
        (Unavailable("why", code="c"), Status.RETRY, None),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_every_result_and_signal_of_a_sink_becomes_an_outcome(
    answer: Any, status: Status, after: float | None, service: Service
):
    async with service.client() as client:
        outcome = await client.sync_with_hubspot(SALE, Answering(answer))

    assert (outcome.status, outcome.destination) == (status, "answering")
    assert outcome.retry_after == after
    if status is not Status.DELIVERED:
        assert (outcome.error, outcome.code) == ("why", "c")


async def test_a_conversion_that_was_read_back_is_pushed_under_its_event_id(service: Service):
    service.answer(
        "/v1/conversions/c1",
        {
            "data": {
                "id": "c1",
                "conversion_type": "sale",
                "revenue": "5",
                "currency": "EUR",
                "timestamp": SALE.timestamp.isoformat(),
                "user_agent": "Mozilla/5.0",
                "click_id": "k1",
                "ip_address": "203.0.113.9",
                "custom_data": {"event_id": "sale:1001"},
            }
        },
    )

    async with service.client(sinks=[service.hubspot()]) as client:
        outcome = await client.sync_with_hubspot(await client.get_conversion_details("c1"))

    assert outcome.status is Status.DELIVERED
    (body,) = service.bodies("api.hubapi.com")
    assert body["inputs"][0]["id"] == "sale:1001"


async def test_a_service_that_is_down_is_an_outcome_not_an_exception(service: Service):
    service.answers["/v26.0/p1/events"] = lambda _: httpx.Response(502)

    async with service.client(sinks=[service.meta()]) as client:
        outcome = await client.sync_with_meta_capi(SALE)

    assert outcome.status is Status.RETRY
    assert "502" in (outcome.error or "") + (outcome.code or "")
