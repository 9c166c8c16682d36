"""Tracking: `submit`, `submit_many`, `track_many` and `track_…`, their results and errors."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest

from anytrack_async import (
    Conversion,
    ConversionType,
    DeadLetterError,
    DeliveryTimeoutError,
    InvalidArgumentError,
    InvalidConversionError,
    Receipt,
    Status,
    UndeliveredError,
)
from tests.client.service import QUICK, SECRETS, Service, recorded_as

pytestmark = pytest.mark.asyncio

SALE = Conversion.sale(revenue="49.90", order_id="1001", click_id="k1")


# The names


async def test_a_sale_is_tracked_with_all_its_arguments(service: Service):
    async with service.client() as client:
        receipt = await client.track_sale(
            "k1", "49.90", "EUR", product_id="p1", order_id="1001", custom_data={"plan": "pro"}
        )

    assert receipt == Receipt(event_id="sale:1001", conversion_id="at-sale:1001", attempts=1)
    (body,) = service.bodies()
    assert body["timestamp"]
    assert body | {"timestamp": ""} == {
        "click_id": "k1",
        "conversion_type": "sale",
        "revenue": 49.9,
        "currency": "EUR",
        "timestamp": "",
        "order_id": "1001",
        "custom_data": {"plan": "pro", "product_id": "p1", "event_id": "sale:1001"},
    }


async def test_a_request_carries_key_account_and_idempotency_key(service: Service):
    async with service.client() as client:
        await client.track_sale("k1", 5, order_id="1001")

    assert service.last.url == "https://api.anytrack.io/v1/conversions"
    assert service.last.headers["authorization"] == f"Bearer {SECRETS[0]}"
    assert service.last.headers["x-account-id"] == "account-1"
    assert service.last.headers["idempotency-key"] == "sale:1001"


async def test_a_lead_and_a_signup(service: Service):
    async with service.client() as client:
        await client.track_lead("k1", lead_id="l1", revenue=3, currency="EUR")
        await client.track_signup("k2", source="google")

    lead, signup = service.bodies()
    assert (lead["conversion_type"], lead["revenue"], lead["currency"]) == ("lead", 3, "EUR")
    assert lead["custom_data"]["lead_id"] == "l1"
    assert (signup["conversion_type"], signup["source"]) == ("signup", "google")


async def test_a_conversion_can_be_given_by_its_fields(service: Service):
    async with service.client() as client:
        await client.track_conversion(conversion_type="sale", click_id="k1", revenue=5)
        await client.track_conversion(conversion_type=ConversionType.LEAD, click_id="k1")
        await client.track_conversion(event_name="Subscribed", order_id="7")

    assert [body["conversion_type"] for body in service.bodies()] == ["sale", "lead", "custom"]
    assert service.bodies()[2]["custom_data"] == {
        "event_name": "Subscribed",
        "event_id": "custom:Subscribed:7",
    }


async def test_a_conversion_object_can_be_tracked(service: Service):
    async with service.client() as client:
        receipt = await client.track_conversion(SALE)

    assert receipt.event_id == SALE.event_id


@pytest.mark.parametrize(
    ("body", "conversion_id"),
    [
        ('{"conversion_id": "\\ud83d", "status": "success", "value": NaN}', "\ufffd"),
        ('{"conversion_id": 71.0, "more": {"a": [1e999]}}', "71"),
        ('{"conversion_id": true, "status": "success"}', None),
        ('{"conversion_id": {"id": 1}, "status": "success"}', None),
    ],
)
async def test_a_receipt_is_read_from_an_odd_confirmation(
    body: str, conversion_id: str | None, service: Service
):
    service.answers["/v1/conversions"] = lambda _: httpx.Response(200, text=body)

    async with service.client() as client:
        receipt = await client.track_conversion(SALE)
        report = await (await client.submit(SALE))

    assert receipt == Receipt(event_id=SALE.event_id, conversion_id=conversion_id)
    assert report.delivered


@pytest.mark.parametrize(
    "fields", [{"revenue": 5}, {"conversion_type": "sale"}, {"click_id": "k"}, {"event_name": "x"}]
)
async def test_a_conversion_and_fields_cannot_be_combined(fields: dict[str, Any], service: Service):
    async with service.client() as client:
        with pytest.raises(TypeError, match="a Conversion or its fields, not both"):
            await client.track_conversion(SALE, **fields)
    assert service.requests == []


@pytest.mark.parametrize("wrong", [{"revenue": 5}, "k1", None])
async def test_submit_names_the_type_of_a_wrong_argument(wrong: Any, service: Service):
    async with service.client() as client:
        with pytest.raises(
            TypeError, match=f"expected Conversion objects, got {type(wrong).__name__}"
        ):
            await client.submit(wrong)


async def test_a_conversion_that_was_read_back_is_validated_and_submitted(service: Service):
    recorded = recorded_as(SALE, user_agent="u" * 5000)
    odd = attrs.evolve(recorded, revenue=Decimal(-5), event_id="e2")

    async with service.client() as client:
        for submit in (client.submit(odd), client.submit_many([recorded, odd])):
            with pytest.raises(InvalidConversionError, match=r"^revenue must not be negative$"):
                await submit
        assert (await client.stats()).submitted == 0
        assert (await client.track_conversion(recorded)).event_id == SALE.event_id

    (body,) = service.bodies()
    assert body["user_agent"] == "u" * 4096


async def test_an_invalid_field_is_found_before_anything_is_sent(service: Service):
    async with service.client() as client:
        with pytest.raises(InvalidConversionError, match="revenue must not be negative"):
            await client.track_sale("k1", -1)
        with pytest.raises(InvalidConversionError, match="currency"):
            await client.track_sale("k1", 1, "dollars")
        with pytest.raises(InvalidConversionError, match="conversion_type must be one of"):
            await client.track_conversion(conversion_type="")  # type: ignore[call-overload]
        with pytest.raises(InvalidArgumentError, match="timeout must be a number of seconds"):
            await client.track_sale("k1", 1, timeout=False)
    assert service.requests == []


# Waiting


async def test_a_receipt_waits_for_anytrack_only(service: Service):
    service.refuse(503, path="/v26.0/p1/events")

    async with service.client(
        sinks=[service.meta()], delivery=attrs.evolve(QUICK, drain=0)
    ) as client:
        receipt = await client.track_sale("k1", 5, order_id="1")
        assert (await client.stats()).destinations["meta"].delivered == 0
        service.answers.clear()
        await (await client.submit(Conversion.sale(revenue=5, click_id="k1", order_id="1")))

    assert receipt.conversion_id == "at-sale:1"


async def test_after_a_timeout_the_delivery_can_be_awaited(service: Service):
    service.gate = anyio.Event()

    async with service.client() as client:
        with pytest.raises(DeliveryTimeoutError) as caught:
            await client.track_sale("k1", 5, order_id="1", timeout=0.01)
        service.gate.set()
        outcome = await caught.value.delivery.at("anytrack")

    assert str(caught.value) == (
        "conversion 'sale:1' is safely queued but anytrack has not confirmed it within 0.01 s; "
        "do not submit it again, await error.delivery"
    )
    assert isinstance(caught.value, TimeoutError)
    assert outcome.remote_id == "at-sale:1"
    assert len(service.requests) == 1


async def test_a_timeout_reports_the_last_error(service: Service):
    service.refuse(401, "key revoked")

    async with service.client() as client:
        with pytest.raises(
            DeliveryTimeoutError, match=r"\(last error: key revoked \(status 401\)\)"
        ):
            await client.track_sale("k1", 5, order_id="1", timeout=0.2)
        service.answers.clear()
        client.resume("anytrack")


async def test_a_timeout_of_zero_still_queues_the_conversion(service: Service):
    async with service.client() as client:
        with pytest.raises(DeliveryTimeoutError) as caught:
            await client.track_sale("k1", 5, order_id="1", timeout=0)
        assert (await caught.value.delivery).delivered


async def test_without_a_timeout_tracking_waits_as_long_as_it_takes(service: Service):
    service.gate = anyio.Event()
    receipts: list[Receipt] = []

    async with service.client() as client, anyio.create_task_group() as tasks:

        async def track() -> None:
            receipts.append(await client.track_conversion(SALE, timeout=None))

        tasks.start_soon(track)
        await anyio.wait_all_tasks_blocked()
        assert receipts == []
        service.gate.set()

    assert receipts[0].event_id == SALE.event_id


async def test_a_failed_attempt_is_counted_in_the_receipt(service: Service):
    answers = iter([httpx.Response(500), httpx.Response(200, json={"conversion_id": "c1"})])
    service.answers["/v1/conversions"] = lambda _: next(answers)

    async with service.client() as client:
        receipt = await client.track_conversion(SALE)

    assert (receipt.conversion_id, receipt.attempts) == ("c1", 2)


async def test_a_rejection_is_a_dead_letter_error_with_the_reason(service: Service):
    service.refuse(422, "click_id is unknown")

    async with service.client() as client:
        with pytest.raises(DeadLetterError) as caught:
            await client.track_conversion(SALE)
        (letter,) = await client.outbox.dead_letters()

    assert "'sale:1001' was rejected by anytrack: click_id is unknown" in str(caught.value)
    assert caught.value.outcome.status is Status.DEAD
    assert letter.conversion == SALE


async def test_closing_the_client_ends_waiting(service: Service, tmp_path: Path):
    service.gate = anyio.Event()
    errors: list[BaseException] = []

    async def track(client: Any) -> None:
        with pytest.raises(
            UndeliveredError, match="closed before 'sale:1001' was delivered"
        ) as caught:
            await client.track_conversion(SALE)
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        client = service.client(delivery=attrs.evolve(QUICK, drain=0), outbox=tmp_path / "a.db")
        async with client:
            tasks.start_soon(track, client)
            while not service.requests:
                await anyio.wait_all_tasks_blocked()

    assert len(errors) == 1


# Repeats: see test_repeats.py for more


async def test_the_same_order_twice_is_sent_once(service: Service):
    async with service.client() as client:
        first = await client.track_sale("k1", "5.00", order_id="1")
        again = await client.track_sale("k1", Decimal(5), order_id="1")

    assert first.event_id == again.event_id
    assert len(service.requests) == 1
