"""Payloads, idempotency keys, and the outcomes that are read from responses."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.payload import encode, to_payload
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Outcome, Status
from tests.destinations.anytrack.doubles import (
    NOON,
    FakeService,
    first_then,
    make_sink,
    respond_with,
    sale,
    sales,
)


class TestToPayload:
    """The payload of a conversion."""

    def test_a_sale_has_the_fields_of_the_api(self):
        conversion = sale(click_id="clk", product_id="p1", custom_data={"plan": "pro"})

        assert to_payload(conversion) == {
            "click_id": "clk",
            "conversion_type": "sale",
            "revenue": 9.9,
            "currency": "EUR",
            "timestamp": "2026-01-01T12:00:00+00:00",
            "order_id": "o1",
            "custom_data": {"plan": "pro", "product_id": "p1", "event_id": "sale:o1"},
        }

    def test_unset_fields_are_left_out(self):
        payload = to_payload(Conversion.lead(event_id="e1", timestamp=NOON))

        assert payload == {
            "conversion_type": "lead",
            "revenue": 0,
            "currency": "USD",
            "timestamp": "2026-01-01T12:00:00+00:00",
            "custom_data": {"event_id": "e1"},
        }

    def test_optional_fields_are_sent(self):
        more = {
            "source": "google",
            "campaign_id": "7",
            "ad_id": "8",
            "sub_ids": {"s1": "x"},
            "ip_address": "203.0.113.7",
            "user_agent": "Mozilla",
            "page_url": "https://shop.test/thanks",
        }

        assert to_payload(sale(**more)).items() >= more.items()

    def test_a_custom_event_keeps_its_name(self):
        payload = to_payload(Conversion.custom("Subscribed", order_id="o1"))

        assert payload["conversion_type"] == "custom"
        assert payload["custom_data"] == {
            "event_id": "custom:Subscribed:o1",
            "event_name": "Subscribed",
        }

    def test_the_event_id_cannot_be_overwritten(self):
        assert (
            to_payload(sale(custom_data={"event_id": "x"}))["custom_data"]["event_id"] == "sale:o1"
        )

    def test_customer_and_items_are_not_sent(self):
        conversion = sale(customer=Customer(email="ada@example.com"), items=[LineItem(id="sku-1")])

        assert "ada" not in json.dumps(to_payload(conversion))
        assert "sku-1" not in json.dumps(to_payload(conversion))

    @given(st.decimals(0, 10**12, allow_nan=False, allow_infinity=False, places=2))
    def test_revenue_is_an_exact_json_number(self, revenue: Decimal):
        number = to_payload(Conversion.sale(revenue=revenue))["revenue"]

        assert type(number) in (int, float)
        assert Decimal(str(number)) == revenue

    @given(st.datetimes(timezones=st.timezones()), st.decimals(0, 10**6, places=2))
    def test_encode_writes_the_payload_as_json(self, timestamp: datetime, revenue: Decimal):
        try:
            conversion = Conversion.sale(
                revenue=revenue,
                timestamp=timestamp,
                order_id="o1",
                click_id="ö",
                sub_ids={"s1": "x"},
                custom_data={"deep": [{"a": None}]},
            )
        except InvalidConversionError:  # beyond the calendar in UTC
            reject()

        assert json.loads(encode(conversion)) == to_payload(conversion)


@pytest.mark.asyncio
class TestIdempotencyKey:
    """The header that carries the event id."""

    @given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60))
    async def test_any_event_id_becomes_a_reversible_header(self, event_id: str):
        service = FakeService(respond_with(201, {"status": "success"}))
        await make_sink(service).deliver([Conversion.lead(event_id=event_id)])

        key = service.requests[0].headers["idempotency-key"]
        assert key.isascii()
        assert unquote(key) == event_id

    async def test_a_printable_event_id_is_sent_unchanged(self):
        service = FakeService(respond_with(201, {"status": "success"}))
        event_id = "sale:2026/A-7_x.y~(1) {a}"
        await make_sink(service).deliver([Conversion.lead(event_id=event_id)])

        assert service.requests[0].headers["idempotency-key"] == event_id


@pytest.mark.asyncio
class TestReadOutcome:
    """Outcomes by response."""

    @pytest.mark.parametrize(
        ("body", "remote_id"),
        [
            ({"status": "success", "conversion_id": "c1"}, "c1"),
            ({"status": "success", "conversion_id": 71}, "71"),
            ({"conversion_id": "c1"}, "c1"),
            ({"status": "success"}, None),
            *[
                ({"status": "success", "conversion_id": odd}, None)
                for odd in (["odd"], {"id": 1}, True, None, "", " ", 0, 1.5, 1e300)
            ],
            ({"status": "success", "conversion_id": 71.0}, "71"),
            ({"status": "success", "conversion_id": " c1\n"}, "c1"),
            ({"status": "success", "conversion_id": "c" * 5000}, "c" * 5000),
        ],
        ids=lambda value: repr(value)[:60],
    )
    @pytest.mark.parametrize("code", [200, 201, 202])
    async def test_a_confirmed_conversion_is_delivered(
        self, code: int, body: dict[str, Any], remote_id: str | None
    ):
        outcomes = await make_sink(FakeService(respond_with(code, body))).deliver([sale()])

        assert outcomes == [Outcome.delivered(remote_id)]

    @pytest.mark.parametrize(
        "content", [b"", b"<html>", b"[]", b"{}", b'{"status": "error", "conversion_id": "c1"}']
    )
    async def test_a_2xx_without_confirmation_is_retried(self, content: bytes):
        service = FakeService(first_then(1, lambda _, __: httpx.Response(200, content=content)))
        outcomes = await make_sink(service, connections=1).deliver(sales(2))

        assert outcomes[0] == Outcome.retry(
            "AnyTrack answered 200 without confirming the conversion"
        )
        assert outcomes[1].status is Status.DELIVERED

    @pytest.mark.parametrize("code", [400, 404, 409, 413, 422])
    async def test_a_rejection_has_the_reason_and_code(self, code: int):
        refusal = {"status": "error", "code": "bad_click", "message": "ada@x.org has no click"}
        outcomes = await make_sink(FakeService(respond_with(code, refusal))).deliver([sale()])

        assert outcomes == [Outcome.rejected(f"*** has no click (status {code})", code="bad_click")]

    async def test_without_a_code_the_status_is_the_code(self):
        (outcome,) = await make_sink(FakeService(respond_with(422))).deliver([sale()])

        assert outcome.code == "422"

    async def test_a_conflict_with_an_id_is_delivered(self):
        outcomes = await make_sink(FakeService(respond_with(409, {"conversion_id": "c7"}))).deliver(
            [sale()]
        )

        assert outcomes == [Outcome.delivered("c7")]

    @pytest.mark.parametrize("code", [302, 405, 408, 500, 502, 503])
    async def test_a_temporary_failure_is_retried(self, code: int):
        service = FakeService(
            first_then(1, respond_with(code, {"message": "busy"}, **{"Retry-After": "3"}))
        )
        outcomes = await make_sink(service, connections=1).deliver(sales(2))

        assert outcomes[0].status is Status.RETRY
        assert outcomes[0].error == f"busy (status {code})"
        assert outcomes[0].retry_after == 3.0
        assert outcomes[1].status is Status.DELIVERED
