"""A client counts, by kind, the conversions that will be matched less well."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import orjson
import pytest

from anytrack_async import AnyTrackClient, Conversion, Customer, Event, Weakened
from tests.client.service import Service

pytestmark = pytest.mark.asyncio

NATIONAL = "phone numbers without country code"
PRIVATE = "private IP addresses"
EMAIL, BIRTH_DATE = "unusable e-mail addresses", "unusable birth dates"


class Diary:
    def __init__(self) -> None:
        self.events: list[Weakened] = []

    def notify(self, event: Event, /) -> None:
        if isinstance(event, Weakened):
            self.events.append(event)


def client_of(service: Service, **options: Any) -> AnyTrackClient:
    return service.client(sinks=[service.meta(), service.hubspot()], **options)


def accept(request: httpx.Request) -> httpx.Response:
    count = len(orjson.loads(request.content)["data"])
    return httpx.Response(200, json={"events_received": count})


def sale(number: int, **fields: Any) -> Conversion:
    fields = {"user_agent": "Firefox", "page_url": "https://shop.example/", **fields}
    return Conversion.sale(order_id=str(number), revenue=1, ip_address="203.0.113.5", **fields)


def weak_sale(number: int) -> Conversion:
    customer = Customer(email="jane at shop.example", phone="0170 1234567", birth_date="1990-13-13")
    fields = {"user_agent": "Firefox", "page_url": "https://shop.example/"}
    return Conversion.sale(
        order_id=str(number),
        revenue=1,
        ip_address="10.0.0.1",
        click_id="x" * 2000,
        customer=customer,
        **fields,  # type: ignore[arg-type]
    )


async def test_kinds_are_counted_once_for_each_conversion(service: Service, caplog):
    diary = Diary()
    async with client_of(service, observers=[diary]) as client:
        for clean in (8, 9):  # the second time, all but one are repeats
            deliveries = await client.submit_many([*map(weak_sale, range(5)), sale(clean)])
            for delivery in deliveries:
                await delivery
        stats = await client.stats()

    assert stats.weakened == {PRIVATE: 5, "unusable click ids": 5}
    assert stats.destinations["meta"].weakened == {EMAIL: 5, NATIONAL: 5, BIRTH_DATE: 5}
    assert stats.destinations["hubspot"].weakened == {EMAIL: 5}
    assert stats.destinations["anytrack"].weakened == {}
    counts = {(event.destination, event.reason): 0 for event in diary.events}
    for event in diary.events:
        counts[event.destination, event.reason] += event.count
    assert set(counts.values()) == {5}
    lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert sorted(lines) == sorted({*lines})
    assert len(lines) == len(counts) == 6
    assert "jane" not in caplog.text


async def test_one_event_for_each_kind_of_a_batch(service: Service):
    diary = Diary()
    async with client_of(service, observers=[diary]) as client:
        deliveries = await client.submit_many([weak_sale(n) for n in range(300)])
        for delivery in deliveries:
            await delivery

    assert [event.count for event in diary.events if event.destination is None] == [300, 300]
    assert len(diary.events) < 50


async def test_conversions_that_are_sent_again_are_counted_once(service: Service):
    answers = [httpx.Response(503)]
    service.answers["/v26.0/p1/events"] = lambda request: (
        answers.pop() if answers else accept(request)
    )
    async with client_of(service) as client:
        for delivery in await client.submit_many([weak_sale(n) for n in range(3)]):
            await delivery.at("meta")
        stats = await client.stats()

    assert stats.destinations["meta"].weakened == {EMAIL: 3, NATIONAL: 3, BIRTH_DATE: 3}


async def test_what_is_rejected_before_sending_is_counted(service: Service):
    lead = Conversion.lead(customer=Customer(email="nobody"))
    async with client_of(service) as client:
        await (await client.submit(lead)).at("meta")
        stats = await client.stats()

    assert stats.destinations["meta"].dead == 1
    assert stats.destinations["meta"].weakened == {EMAIL: 1}


async def test_a_clean_conversion_is_no_news(service: Service):
    diary = Diary()
    async with client_of(service, observers=[diary]) as client:
        good = Customer(email="j@x.example", phone="+49 170 1234567", birth_date="1990-02-03")
        await (await client.submit(sale(1, click_id="c1", customer=good)))
        stats = await client.stats()

    assert diary.events == []
    assert stats.weakened == {}
    assert all(not stats.destinations[name].weakened for name in stats.destinations)
