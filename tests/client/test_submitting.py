"""Submitting: one conversion, many, streams, and clients that are full or closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from anytrack_async import (
    ClosedError,
    ConfigurationError,
    Conversion,
    Delivery,
    MemoryOutbox,
    QueueFullError,
    Status,
)
from tests.client.service import QUICK, Service
from tests.delivery.doubles import FakeSink

pytestmark = pytest.mark.asyncio


SALE = Conversion.sale(revenue="49.90", order_id="1001", click_id="k1")


# Submitting


async def test_submit_returns_before_anything_is_delivered(service: Service):
    service.gate = anyio.Event()

    async with service.client() as client:
        delivery = await client.submit(SALE)
        assert not delivery.report.final
        service.gate.set()
        assert (await delivery).delivered


async def test_a_conversion_can_be_submitted_to_some_destinations(service: Service):
    async with service.client(sinks=[service.meta()]) as client:
        conversion = Conversion.sale(
            revenue=5, order_id="1", user_agent="Mozilla/5.0", click_id="k"
        )
        report = await (await client.submit(conversion, to=["anytrack"]))

    assert list(report.outcomes) == ["anytrack"]
    assert service.bodies("graph.facebook.com") == []


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("anytrack", r"to must be a list: \['anytrack'\]"),
        (["meta"], "'meta'; known destinations: anytrack"),
        ([], "to: an empty list"),
    ],
)
async def test_an_unknown_destination_is_refused(to: Any, words: str, service: Service):
    async with service.client() as client:
        with pytest.raises(ConfigurationError, match=words):
            await client.submit(SALE, to=to)
        with pytest.raises(ConfigurationError, match=words):
            await client.submit_many([SALE], to=to)
        with pytest.raises(ConfigurationError, match=words):
            await anext(client.track_many([SALE], to=to))


async def test_submit_many_keeps_the_order(service: Service):
    leads = [Conversion.lead(click_id="k", order_id=str(number)) for number in range(5)]

    async with service.client() as client:
        deliveries = await client.submit_many(lead for lead in leads)
        assert [delivery.event_id for delivery in deliveries] == [lead.event_id for lead in leads]
        assert [(await delivery).delivered for delivery in deliveries] == [True] * 5


async def test_submit_many_returns_the_first_deliveries_for_repeats(service: Service):
    leads = [Conversion.lead(click_id="k", order_id=str(number)) for number in range(2)]

    async with service.client() as client:
        await client.submit_many(leads)
        deliveries = await client.submit_many(leads)
        assert [(await delivery).delivered for delivery in deliveries] == [True, True]

    assert len(service.requests) == 2


async def test_submit_many_accepts_nothing_if_one_is_not_a_conversion(service: Service):
    async with service.client() as client:
        with pytest.raises(TypeError, match=r"expected an iterable of Conv.*, got Conversion: see"):
            await client.submit_many(SALE)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="expected Conversion objects, got str"):
            await client.submit_many([SALE, "x"])  # type: ignore[list-item]
    assert service.requests == []


# Full and closed


async def full(service: Service, **options: Any) -> Any:
    service.gate = anyio.Event()
    return service.client(outbox=MemoryOutbox(capacity=1), **options)


async def test_a_full_outbox_can_raise(service: Service):
    settings = attrs.evolve(QUICK, on_full="raise")

    async with await full(service, delivery=settings) as client:
        await client.submit(SALE)
        with pytest.raises(QueueFullError):
            await client.submit(Conversion.lead())
        with pytest.raises(QueueFullError):
            await client.track_lead("k1")
        service.gate.set()


async def test_a_full_outbox_makes_callers_wait(service: Service):
    async with await full(service) as client:
        await client.submit(SALE)
        with anyio.move_on_after(0.02) as waiting:
            await client.submit(Conversion.lead())
        assert waiting.cancelled_caught
        service.gate.set()
        await client.track_lead("k1", order_id="2")

    assert len(service.requests) == 2


async def test_a_timeout_before_acceptance_says_what_to_do(service: Service):
    async with await full(service) as client:
        await client.submit(SALE)
        with pytest.raises(QueueFullError) as caught:
            await client.track_lead("k1", event_id="e2", timeout=0.02)
        service.gate.set()

    assert str(caught.value) == (
        "conversion 'e2' was not accepted within 0.02 s: the outbox is full or slow; "
        "submit it again with this event_id, so that it is not counted twice"
    )


async def test_a_full_outbox_can_drop_for_the_full_destination(service: Service):
    settings = attrs.evolve(QUICK, on_full="shed")
    other = FakeSink("other")

    async with await full(service, delivery=settings, sinks=[other]) as client:
        await client.submit(SALE, to=["anytrack"])
        with pytest.raises(QueueFullError, match=r"accepted, but not for anytrack: .* is full"):
            await client.track_lead("k1", event_id="e2")
        stats = (await client.stats()).destinations
        assert (stats["anytrack"].dropped, stats["other"].dropped) == (1, 0)
        service.gate.set()

    assert other.delivered == ["e2"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_client_that_is_not_open_accepts_nothing(when: str, service: Service):
    client = service.client()
    if when == "after":
        async with client:
            pass

    for call in (
        lambda: client.submit(SALE),
        lambda: client.submit_many([SALE]),
        lambda: client.track_conversion(SALE),
        lambda: client.track_sale("k1", 5),
        lambda: anext(client.track_many([SALE])),
    ):
        with pytest.raises(ClosedError, match="inside its `async with` block"):
            await call()
    assert service.requests == []


# Streams


def rows(count: int) -> Iterator[Conversion]:
    for number in range(count):
        yield Conversion.lead(click_id="k", order_id=str(number))


async def messages(count: int) -> AsyncIterator[Conversion]:
    for row in rows(count):
        yield row


@pytest.mark.parametrize("make", [rows, messages, lambda count: list(rows(count))])
async def test_track_many_accepts_any_iterable(make: Any, service: Service):
    async with service.client() as client:
        reports = [report async for report in client.track_many(make(20), in_flight=7)]

    assert {report.event_id for report in reports} == {f"lead:{number}" for number in range(20)}
    assert all(report.delivered for report in reports)


async def test_track_many_can_wait_for_some_destinations_or_none(service: Service):
    service.refuse(503, path="/v26.0/p1/events")

    async with service.client(sinks=[service.meta()]) as client:
        source = [
            Conversion.sale(revenue=5, click_id="k", user_agent="M", order_id=number)
            for number in "12"
        ]
        at_anytrack = [report async for report in client.track_many(source, at=["anytrack"])]
        service.answers.clear()
        unawaited = [report async for report in client.track_many(source, at=())]

    assert [report.outcomes["anytrack"].status for report in at_anytrack] == [Status.DELIVERED] * 2
    assert len(unawaited) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at": "anytrack"}, r"at must be a list"),
        ({"at": ["hubspto"]}, "at: no destination 'hubspto'; known destinations: anytrack, meta"),
        (
            {"to": ["meta"], "at": ["anytrack"]},
            "at: no destination 'anytrack'; known destinations: meta",
        ),
        ({"in_flight": 0}, "in_flight must be at least 1"),
    ],
)
async def test_track_many_refuses_wrong_options_at_once(
    options: dict[str, Any], words: str, service: Service
):
    async with service.client(sinks=[service.meta()]) as client:
        with pytest.raises(ConfigurationError, match=words):
            client.track_many([SALE], **options)


async def test_submit_returns_a_delivery(service: Service, tmp_path: Path):
    async with service.client(outbox=tmp_path / "a.db") as client:
        delivery = await client.submit(SALE)
        assert isinstance(delivery, Delivery)
        assert (await delivery).delivered
