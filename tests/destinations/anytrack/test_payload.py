"""Payloads, idempotency keys, and the outcomes that are read from responses."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.payload import encode, read_outcome, to_payload
from anytrack_async.destinations.sink import NeedsOperator, Throttled
from anytrack_async.errors import InvalidConversionError
from anytrack_async.events import Event, UnusualConfirmation
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.missing import NO_IDS
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.transport.message import Response
from tests.destinations.anytrack.doubles import (
    NOON,
    FakeService,
    first_then,
    make_sink,
    respond_with,
    sale,
    sales,
)

odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just("error"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["detail", "error", "status", "title", "x"]), inner)
    ),
    max_leaves=5,
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

    @given(
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60).filter(
            lambda text: text not in NO_IDS
        )
    )
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
            ({"status": "success", "conversion_id": 2**64 + 1}, str(2**64 + 1)),
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
        ("code", "content", "remote_id"),
        [
            (204, b"", None),
            (201, b"", None),
            (200, b"{}", None),
            (200, b'"SUCCESS"', None),
            (200, b"SUCCESS", None),
            (200, b'{"status": "SUCCESS"}', None),
            (200, b'{"Status": "Success", "ConversionId": "c1"}', None),
            (200, b'{"status": "duplicate", "existing_id": "c1"}', None),
            (200, b'{"status": "duplicate", "id": "c1"}', "c1"),
            (200, b'{"status": "Duplicate", "conversion_id": 71}', "71"),
            (200, b'{"success": true}', None),
            (200, b'{"success": 1, "id": 7}', "7"),
            (200, b'{"success": "true"}', None),
            (200, b'{"duplicate": true, "id": "c1"}', "c1"),
            (200, b'\xef\xbb\xbf{"status": "ok"}', None),
            (409, b'{"status": "duplicate", "id": "c1"}', "c1"),
            (409, b'{"message": "duplicate", "data": {"id": "c1"}}', "c1"),
            (202, b'{"status": "queued", "message": "thanks", "request_id": "r1"}', None),
            (200, b'{"status": 200, "message": "OK"}', None),
            (200, b'{"data": {"id": "c1", "conversion_type": "sale", "revenue": "1"}}', "c1"),
            (200, b'{"status": "ok", "error": null, "data": {"conversion_id": "c1"}}', "c1"),
        ],
    )
    async def test_a_confirmation_in_other_words_is_delivered_and_reported_once(
        self, code: int, content: bytes, remote_id: str | None
    ):
        events: list[Event] = []
        target = make_sink(FakeService(lambda _, __: httpx.Response(code, content=content)))
        target.set_observer(SimpleNamespace(notify=events.append))
        outcomes = await target.deliver(sales(3))

        assert outcomes == [Outcome.delivered(remote_id)] * 3
        size = f"{len(content)} bytes" if content else "no body"
        assert events == [
            UnusualConfirmation(destination="anytrack", answer=f"status {code}, {size}")
        ]

    async def test_a_documented_confirmation_is_not_reported(self):
        events: list[Event] = []
        target = make_sink(FakeService())
        target.set_observer(SimpleNamespace(notify=events.append))
        await target.deliver([sale()])

        assert events == []

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b" ",
            b"<html>",
            b"<html>Success</html>",
            b"OK",
            b"[]",
            b"null",
            b'{"status": "succ',
            b'{"status": "error", "conversion_id": "c1"}',
            b'{"status": "error"}',
            b'{"status": "error", "id": "c1", "message": "ok"}',
            b'{"success": false, "id": "c1"}',
            b'{"error": "no such route"}',
            b'{"error": {"message": "no"}, "status": "ok"}',
            b'{"errors": ["no"]}',
            b'{"message": "Forbidden"}',
            b'{"status": "ok", "uptime": 7312}',
            b'{"id": 1, "name": "Ada"}',
            b'{"origin": "198.51.100.7"}',
        ],
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

    @pytest.mark.parametrize("body", [{"message": "no click"}, {"error": {"message": "no click"}}])
    async def test_without_a_code_the_status_is_the_code(self, body: dict[str, Any]):
        (outcome,) = await make_sink(FakeService(respond_with(422, body))).deliver([sale()])

        assert outcome.code == "422"

    async def test_a_conflict_with_an_id_is_delivered(self):
        outcomes = await make_sink(FakeService(respond_with(409, {"conversion_id": "c7"}))).deliver(
            [sale()]
        )

        assert outcomes == [Outcome.delivered("c7")]

    async def test_a_duplicate_is_delivered(self):
        body = {"status": "error", "code": "duplicate", "message": "seen before"}
        outcomes = await make_sink(FakeService(respond_with(409, body))).deliver([sale()])

        assert outcomes == [Outcome.delivered()]

    @pytest.mark.parametrize(
        ("code", "body", "cause"),
        [
            (401, {}, "credentials"),
            (401, {"message": "who are you?"}, "credentials"),
            (403, {"status": "error", "code": "forbidden", "message": "no"}, "credentials"),
            (403, {"error": {"code": "forbidden", "message": "no"}}, "credentials"),
            (400, {"status": "error", "code": "bad_api_key", "message": "no"}, "credentials"),
            (400, {"status": "error", "message": "Account is suspended"}, "credentials"),
            (403, {}, "configuration"),
            (403, {"message": "Forbidden"}, "configuration"),
            (400, {}, "configuration"),
            (400, {"message": "Bad Request", "code": 400}, "configuration"),
            (400, {"error": "Bad Request", "status": 400, "path": "/"}, "configuration"),
            (404, {"status": "error", "code": "not_found", "message": "no"}, "configuration"),
            (405, {"detail": "Method Not Allowed"}, "configuration"),
            (413, {}, "configuration"),
            (422, {"detail": []}, "configuration"),
        ],
    )
    async def test_an_error_that_names_no_conversion_needs_an_operator(
        self, code: int, body: dict[str, Any], cause: str
    ):
        with pytest.raises(NeedsOperator) as caught:
            read_outcome(Response(code, {}, json.dumps(body).encode()))

        assert caught.value.cause == cause
        assert ("base_url" in caught.value.reason) is (cause == "configuration")

    @given(st.integers(400, 599), st.binary() | odd_json.map(json.dumps).map(str.encode))
    async def test_no_answer_but_anytracks_rejects_a_conversion(self, code: int, content: bytes):
        response = Response(code, {}, content)
        try:
            outcome = read_outcome(response)
        except (NeedsOperator, Throttled):
            return

        assert outcome.status is Status.RETRY or code in (409, 422)
        if code in (409, 422):
            message = response.json_object()
            assert outcome.status is Status.DELIVERED or "message" in str(message)

    @pytest.mark.parametrize("code", [302, 408, 500, 502, 503])
    async def test_a_temporary_failure_is_retried(self, code: int):
        service = FakeService(
            first_then(1, respond_with(code, {"message": "busy"}, **{"Retry-After": "3"}))
        )
        outcomes = await make_sink(service, connections=1).deliver(sales(2))

        assert outcomes[0].status is Status.RETRY
        assert outcomes[0].error == f"busy (status {code})"
        assert outcomes[0].retry_after == 3.0
        assert outcomes[1].status is Status.DELIVERED
