from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import inf
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx
from hypothesis import given, reject
from hypothesis import strategies as st

from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.destinations.anytrack.payload import encode, to_payload
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.anytrack.sink import AnyTrackSink, _batch_times
from anytrack_async.destinations.sink import (
    NeedsOperator,
    SinkSignal,
    Throttled,
    Unavailable,
    Unfinished,
)
from anytrack_async.errors import ConfigurationError, InvalidConversionError
from anytrack_async.events import Delivered, Event, Retried, Submitted
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import HttpSettings, Retry

BASE = "https://api.test/v1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

Answer = Callable[[httpx.Request, int], httpx.Response]


def sale(number: int = 1, **more: Any) -> Conversion:
    return Conversion.sale(
        revenue="9.90", currency="EUR", order_id=f"o{number}", timestamp=NOON, **more
    )


def sales(count: int) -> list[Conversion]:
    return [sale(number) for number in range(count)]


def taken(request: httpx.Request, _: int = 0) -> httpx.Response:
    order = json.loads(request.content)["order_id"]
    return httpx.Response(201, json={"status": "success", "conversion_id": f"c-{order}"})


class Wire(httpx.AsyncBaseTransport):
    """Answers each request as told, and keeps what was sent.

    *answer* gets the request and how many came before it.
    """

    def __init__(self, answer: Answer = taken, pause: Callable[[], Awaitable[Any]] | None = None):
        self.answer = answer
        self.pause = pause or (lambda: anyio.lowlevel.checkpoint())
        self.requests: list[httpx.Request] = []
        self.now = self.peak = self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        count = len(self.requests)
        self.requests.append(request)
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            await self.pause()
        finally:
            self.now -= 1
        return self.answer(request, count)

    async def aclose(self) -> None:
        self.closed += 1

    @property
    def orders(self) -> Counter[str]:
        return Counter(json.loads(request.content)["order_id"] for request in self.requests)


def sink(
    wire: httpx.AsyncBaseTransport | None = None, *, batch_timeout: float = inf, **http: Any
) -> AnyTrackSink:
    settings = AnyTrackSettings(
        api_key="key", account_id="acc", base_url=BASE, http=HttpSettings(**http)
    )
    return AnyTrackSink(settings, transport=wire, batch_timeout=batch_timeout)


def status(code: int, body: Any = None, **headers: str) -> Answer:
    return lambda _, __: httpx.Response(code, json=body or {}, headers=headers)


def broken(request: httpx.Request, _: int) -> httpx.Response:
    raise httpx.ReadTimeout("late", request=request)


def slowly(patch: pytest.MonkeyPatch, seconds: float) -> Callable[[], Awaitable[None]]:
    """A pause after which the sink's clock shows *seconds* more."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    patch.setattr("anytrack_async.destinations.anytrack.batch.time", clock)

    async def pause() -> None:
        clock.now += seconds
        await anyio.lowlevel.checkpoint()

    return pause


def first(count: int, answer: Answer, then: Answer = taken) -> Answer:
    return lambda request, before: (answer if before < count else then)(request, before)


async def signalled(
    kind: type[SinkSignal], target: AnyTrackSink, batch: list[Conversion]
) -> SinkSignal:
    with pytest.raises(SinkSignal) as caught:
        await target.deliver(batch)
    assert type(caught.value) is kind
    return caught.value


class TestToWire:
    """The pure mapping."""

    def test_a_sale_has_what_anytrack_takes(self):
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

    def test_what_is_not_set_is_left_out(self):
        wire = to_payload(Conversion.lead(event_id="e1", timestamp=NOON))

        assert wire == {
            "conversion_type": "lead",
            "revenue": 0,
            "currency": "USD",
            "timestamp": "2026-01-01T12:00:00+00:00",
            "custom_data": {"event_id": "e1"},
        }

    def test_what_is_set_goes_along(self):
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
        wire = to_payload(Conversion.custom("Subscribed", order_id="o1"))

        assert wire["conversion_type"] == "custom"
        assert wire["custom_data"] == {
            "event_id": "custom:Subscribed:o1",
            "event_name": "Subscribed",
        }

    def test_the_event_id_cannot_be_overwritten(self):
        assert (
            to_payload(sale(custom_data={"event_id": "x"}))["custom_data"]["event_id"] == "sale:o1"
        )

    def test_nothing_about_the_customer_or_the_items_goes_along(self):
        conversion = sale(customer=Customer(email="ada@example.com"), items=[LineItem(id="sku-1")])

        assert "ada" not in json.dumps(to_payload(conversion))
        assert "sku-1" not in json.dumps(to_payload(conversion))

    @given(st.decimals(0, 10**12, allow_nan=False, allow_infinity=False, places=2))
    def test_revenue_is_an_exact_json_number(self, revenue: Decimal):
        number = to_payload(Conversion.sale(revenue=revenue))["revenue"]

        assert type(number) in (int, float)
        assert Decimal(str(number)) == revenue

    @given(st.datetimes(timezones=st.timezones()), st.decimals(0, 10**6, places=2))
    def test_what_is_sent_is_the_mapping_as_json(self, at: datetime, revenue: Decimal):
        try:
            conversion = Conversion.sale(
                revenue=revenue,
                timestamp=at,
                order_id="o1",
                click_id="ö",
                sub_ids={"s1": "x"},
                custom_data={"deep": [{"a": None}]},
            )
        except InvalidConversionError:  # beyond the calendar in UTC
            reject()

        assert json.loads(encode(conversion)) == to_payload(conversion)


@pytest.mark.asyncio
class TestDelivering:
    """Outcomes."""

    async def test_each_conversion_is_one_signed_request(self):
        wire = Wire()
        (outcome,) = await sink(wire).deliver([sale(click_id="clk")])

        (request,) = wire.requests
        assert (request.method, str(request.url)) == ("POST", f"{BASE}/conversions")
        assert request.headers["authorization"] == "Bearer key"
        assert request.headers["x-account-id"] == "acc"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["idempotency-key"] == "sale:o1"
        assert json.loads(request.content)["click_id"] == "clk"
        assert outcome == Outcome.delivered("c-o1")

    async def test_outcomes_are_in_the_order_of_the_batch(self):
        outcomes = await sink(Wire()).deliver(sales(100))

        assert [one.remote_id for one in outcomes] == [f"c-o{number}" for number in range(100)]

    async def test_every_conversion_is_sent_once(self):
        wire = Wire()
        await sink(wire, connections=7).deliver(sales(50))

        assert set(wire.orders.values()) == {1}
        assert len(wire.orders) == 50

    @pytest.mark.parametrize(
        ("batches", "connections", "peak"), [(1, 8, 8), (2, 8, 8), (1, 99, 40)]
    )
    async def test_as_many_go_at_once_as_there_are_connections(
        self, batches: int, connections: int, peak: int
    ):
        gate = anyio.Event()
        wire = Wire(pause=gate.wait)
        target = sink(wire, connections=connections)
        async with anyio.create_task_group() as tasks:
            for _ in range(batches):
                tasks.start_soon(target.deliver, sales(40))
            await anyio.wait_all_tasks_blocked()
            now = wire.now
            gate.set()

        assert now == wire.peak == peak

    async def test_an_empty_batch_is_nothing_to_do(self):
        assert list(await sink(Wire()).deliver([])) == []

    @pytest.mark.parametrize(
        ("body", "remote_id"),
        [
            ({"status": "success", "conversion_id": "c1"}, "c1"),
            ({"status": "success", "conversion_id": 71}, "71"),
            ({"conversion_id": "c1"}, "c1"),
            ({"status": "success"}, None),
            ({"status": "success", "conversion_id": ["odd"]}, None),
        ],
    )
    @pytest.mark.parametrize("code", [200, 201, 202])
    async def test_a_confirmed_conversion_is_delivered(
        self, code: int, body: dict[str, Any], remote_id: str | None
    ):
        outcomes = await sink(Wire(status(code, body))).deliver([sale()])

        assert outcomes == [Outcome.delivered(remote_id)]

    @pytest.mark.parametrize(
        "content", [b"", b"<html>", b"[]", b"{}", b'{"status": "error", "conversion_id": "c1"}']
    )
    async def test_a_2xx_that_confirms_nothing_is_tried_again(self, content: bytes):
        wire = Wire(first(1, lambda _, __: httpx.Response(200, content=content)))
        outcomes = await sink(wire, connections=1).deliver(sales(2))

        assert outcomes[0] == Outcome.retry(
            "AnyTrack answered 200 without confirming the conversion"
        )
        assert outcomes[1].status is Status.DELIVERED

    @pytest.mark.parametrize("code", [400, 404, 409, 413, 422])
    async def test_a_refused_conversion_is_rejected_with_the_reason(self, code: int):
        refusal = {"status": "error", "code": "bad_click", "message": "ada@x.org has no click"}
        outcomes = await sink(Wire(status(code, refusal))).deliver([sale()])

        assert outcomes == [Outcome.rejected(f"*** has no click (status {code})", code="bad_click")]

    async def test_without_a_code_the_status_is_the_code(self):
        (outcome,) = await sink(Wire(status(422))).deliver([sale()])

        assert outcome.code == "422"

    async def test_a_duplicate_with_its_id_is_delivered(self):
        outcomes = await sink(Wire(status(409, {"conversion_id": "c7"}))).deliver([sale()])

        assert outcomes == [Outcome.delivered("c7")]

    @pytest.mark.parametrize("code", [302, 405, 408, 500, 502, 503])
    async def test_a_passing_failure_is_tried_again(self, code: int):
        wire = Wire(first(1, status(code, {"message": "busy"}, **{"Retry-After": "3"})))
        outcomes = await sink(wire, connections=1).deliver(sales(2))

        assert outcomes[0].status is Status.RETRY
        assert outcomes[0].error == f"busy (status {code})"
        assert outcomes[0].retry_after == 3.0
        assert outcomes[1].status is Status.DELIVERED

    async def test_a_lost_answer_is_tried_again(self):
        outcomes = await sink(Wire(first(1, broken)), connections=1).deliver(sales(2))

        assert outcomes[0].status is Status.RETRY
        assert "no response" in str(outcomes[0].error)

    async def test_no_request_is_repeated_by_the_sink(self):
        wire = Wire(status(503))
        await signalled(Unavailable, sink(wire), [sale()])

        assert len(wire.requests) == 1

    @given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60))
    async def test_any_event_id_is_a_header_and_stays_distinct(self, event_id: str):
        wire = Wire(status(201, {"status": "success"}))
        await sink(wire).deliver([Conversion.lead(event_id=event_id)])

        key = wire.requests[0].headers["idempotency-key"]
        assert key.isascii()
        assert unquote(key) == event_id

    async def test_a_plain_event_id_is_sent_as_it_is(self):
        wire = Wire(status(201, {"status": "success"}))
        event_id = "sale:2026/A-7_x.y~(1) {a}"
        await sink(wire).deliver([Conversion.lead(event_id=event_id)])

        assert wire.requests[0].headers["idempotency-key"] == event_id


@pytest.mark.asyncio
class TestSignals:
    """What concerns the batch."""

    @pytest.mark.parametrize("code", [401, 403])
    async def test_refused_credentials_stop_the_batch_and_keep_what_was_settled(self, code: int):
        refusal = status(code, {"code": "bad_key", "message": "API key is not valid"})
        wire = Wire(first(2, taken, refusal))
        signal = await signalled(NeedsOperator, sink(wire, connections=1), sales(9))

        assert [one and one.remote_id for one in signal.outcomes] == ["c-o0", "c-o1", *[None] * 7]
        assert len(wire.requests) == 3
        assert signal.reason == f"API key is not valid (status {code})"
        assert signal.code == "bad_key"

    @pytest.mark.parametrize(("headers", "after"), [({"Retry-After": "7"}, 7.0), ({}, 1.0)])
    async def test_a_429_stops_the_batch_for_as_long_as_asked(
        self, headers: dict[str, str], after: float
    ):
        wire = Wire(first(2, taken, status(429, **headers)))
        signal = await signalled(Throttled, sink(wire, connections=1), sales(9))

        assert isinstance(signal, Throttled)
        assert signal.after == after
        assert signal.code == "429"
        assert [bool(one) for one in signal.outcomes] == [True, True, *[False] * 7]
        assert len(wire.requests) == 3

    async def test_requests_in_flight_are_waited_for_when_a_signal_stops_the_batch(self):
        wire = Wire(first(1, status(429)))
        signal = await signalled(Throttled, sink(wire, connections=4), sales(20))

        assert len(wire.requests) == 4
        assert [bool(one) for one in signal.outcomes] == [False, True, True, True, *[False] * 16]

    @pytest.mark.parametrize("codes", [(401, 429), (429, 401)])
    async def test_credentials_outrank_throttling(self, codes: tuple[int, int]):
        wire = Wire(lambda _, before: httpx.Response(codes[before]))

        await signalled(NeedsOperator, sink(wire, connections=2), sales(2))

    async def test_the_longest_wait_counts(self):
        hints = ("1", "9", "3")
        wire = Wire(lambda _, before: httpx.Response(429, headers={"Retry-After": hints[before]}))
        signal = await signalled(Throttled, sink(wire, connections=3), sales(3))

        assert isinstance(signal, Throttled)
        assert signal.after == 9.0

    async def test_a_fault_of_the_transport_comes_out_as_itself(self):
        def fault(*_: object) -> httpx.Response:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await sink(Wire(fault)).deliver([sale()])

    async def test_what_failed_before_a_signal_stays_a_retry(self):
        wire = Wire(first(1, status(500), status(401)))
        signal = await signalled(NeedsOperator, sink(wire, connections=1), sales(3))

        assert signal.outcomes[0] is not None
        assert signal.outcomes[0].status is Status.RETRY

    @pytest.mark.parametrize("answer", [broken, status(500), status(503), status(302)])
    async def test_a_service_that_settles_nothing_is_unavailable(self, answer: Answer):
        signal = await signalled(Unavailable, sink(Wire(answer)), sales(3))

        assert signal.reason
        assert not signal.outcomes

    async def test_a_dead_service_does_not_get_the_whole_batch(self):
        wire = Wire(status(503))
        await signalled(Unavailable, sink(wire, connections=4), sales(100))

        assert len(wire.requests) < 4 + 8

    async def test_a_flaky_service_gets_the_whole_batch(self):
        wire = Wire(
            lambda request, before: taken(request) if before % 3 == 2 else httpx.Response(503)
        )
        outcomes = await sink(wire, connections=4).deliver(sales(60))

        assert len(wire.requests) == 60
        assert Counter(one.status for one in outcomes) == {Status.DELIVERED: 20, Status.RETRY: 40}

    async def test_a_rejection_counts_as_an_answer(self):
        wire = Wire(first(1, status(400), status(503)))
        outcomes = await sink(wire, connections=1).deliver(sales(3))

        assert [one.status for one in outcomes] == [Status.REJECTED, Status.RETRY, Status.RETRY]


class TestPlan:
    """For how long a batch sends, and when it ends."""

    @given(st.floats(0.001, 1e6) | st.just(inf), st.floats(0.001, 1e6) | st.just(inf))
    def test_the_last_request_has_its_time_out_if_the_batch_has(self, timeout: float, most: float):
        sending, patience = _batch_times(timeout, most)

        assert 0 <= sending <= patience <= most
        assert sending <= 30
        if timeout <= most:
            assert patience - sending == pytest.approx(timeout)


@pytest.mark.asyncio
class TestTime:
    """A batch takes no longer than it may."""

    async def test_a_batch_ends_with_what_it_has(self):
        async def hang_later() -> None:
            if len(wire.requests) > 3:
                await anyio.sleep_forever()

        wire = Wire(pause=hang_later)
        signal = await signalled(Unfinished, sink(wire, connections=1, timeout=0.02), sales(10))

        assert [one and one.status for one in signal.outcomes] == [
            *[Status.DELIVERED] * 3,
            Status.RETRY,
            *[None] * 6,
        ]
        assert "no response" in str(signal.outcomes[3].error)
        assert "not sent" in signal.reason
        assert wire.now == 0

    async def test_requests_under_way_are_waited_for_when_time_is_up(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        wire = Wire(pause=slowly(monkeypatch, 2.5))
        signal = await signalled(Unfinished, sink(wire, connections=4, timeout=10), sales(10))

        sent = len(wire.requests)
        assert 4 <= sent < 10
        assert [one and one.status for one in signal.outcomes] == [
            *[Status.DELIVERED] * sent,
            *[None] * (10 - sent),
        ]

    @pytest.mark.parametrize("timeout", [0.02, 30.0])
    async def test_a_lease_that_ends_costs_nothing_that_was_delivered(self, timeout: float):
        """Through a real lane: it never ends a batch that the sink would end itself."""
        delivery = DeliverySettings(lease=0.25, retry=Retry(base=0.001), drain=5)

        async def hang_once() -> None:
            if len(wire.requests) == 4:
                await anyio.sleep_forever()

        wire = Wire(pause=hang_once)
        target = sink(wire, connections=1, timeout=timeout, batch_timeout=delivery.batch_timeout)
        dispatcher = Dispatcher(MemoryOutbox(), [target], delivery, notify=lambda _: None)
        async with dispatcher:
            with anyio.fail_after(10):
                reports = [await handle for handle in await dispatcher.submit(sales(8))]

        assert all(one.delivered for one in reports)
        assert {order: count for order, count in wire.orders.items() if count > 1} == {"o3": 2}

    @pytest.mark.parametrize(("timeout", "sending"), [(10, 10), (30, 30), (60, 30)])
    async def test_requests_are_started_for_one_time_out_and_never_for_long(
        self, monkeypatch: pytest.MonkeyPatch, timeout: int, sending: int
    ):
        wire = Wire(pause=slowly(monkeypatch, 1))
        await signalled(Unfinished, sink(wire, connections=10, timeout=timeout), sales(80))

        assert sending <= len(wire.requests) <= sending + 10

    async def test_a_slow_service_gets_each_conversion_once_and_none_is_given_up(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        """Through a real lane: each batch takes many rounds, and two attempts are all there are."""
        wire = Wire(pause=slowly(monkeypatch, 2))
        target = sink(wire, connections=4, timeout=10)
        delivery = DeliverySettings(retry=Retry(attempts=2, base=0.001), drain=5)
        told: list[Event] = []
        dispatcher = Dispatcher(MemoryOutbox(), [target], delivery, notify=told.append)
        async with dispatcher:
            with anyio.fail_after(10):
                reports = [await handle for handle in await dispatcher.submit(sales(100))]

        assert {one.outcomes["anytrack"].attempts for one in reports} == {1}
        assert set(wire.orders.values()) == {1}
        assert len(wire.orders) == 100
        assert {type(one) for one in told} == {Submitted, Retried, Delivered}

    async def test_a_batch_without_any_answer_is_unavailable(self):
        wire = Wire(pause=anyio.sleep_forever)
        signal = await signalled(Unavailable, sink(wire, timeout=0.01), sales(3))

        assert "no response" in signal.reason

    async def test_cancelling_cancels_the_requests_and_the_sink_stays_usable(self):
        gate = anyio.Event()
        wire = Wire(pause=gate.wait)
        target = sink(wire, connections=4)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.deliver, sales(10))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        gate.set()

        assert wire.now == 0
        assert len(await target.deliver(sales(10))) == 10


@pytest.mark.asyncio
class TestSharing:
    """Several batches share the connections."""

    async def test_the_second_batch_gets_its_share_while_the_first_goes_on(self):
        gates: dict[str, anyio.Event] = {}

        class Gated(Wire):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                order = json.loads(request.content)["order_id"]
                gates[order] = anyio.Event()
                await gates[order].wait()
                return taken(request)

        async def answer(*orders: str) -> None:
            for order in orders:
                gates.pop(order).set()
            await anyio.wait_all_tasks_blocked()

        target = sink(Gated(), connections=4)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.deliver, sales(20))
            await anyio.wait_all_tasks_blocked()
            alone = set(gates)
            tasks.start_soon(target.deliver, [sale(number) for number in range(50, 70)])
            await anyio.wait_all_tasks_blocked()
            before = set(gates)
            await answer("o0", "o1", "o2", "o3")
            shared = set(gates)
            while firsts := [order for order in gates if int(order[1:]) < 50]:
                await answer(*firsts)
            after = set(gates)
            while gates:
                await answer(*gates)

        assert alone == before == {"o0", "o1", "o2", "o3"}
        assert shared == {"o4", "o5", "o50", "o51"}
        assert after == {"o50", "o51", "o52", "o53"}

    @pytest.mark.parametrize("connections", [1, 2, 3, 8])
    @pytest.mark.parametrize("batches", [1, 2, 5])
    async def test_however_many_batches_there_are_each_conversion_is_sent_once(
        self, connections: int, batches: int
    ):
        wire = Wire()
        target = sink(wire, connections=connections)
        outcomes: list[Sequence[Outcome]] = []

        async def deliver(start: int) -> None:
            outcomes.append(await target.deliver([sale(start + at) for at in range(20)]))

        async with anyio.create_task_group() as tasks:
            for number in range(batches):
                tasks.start_soon(deliver, 100 * number)

        assert set(wire.orders.values()) == {1}
        assert len(wire.orders) == 20 * batches
        assert wire.peak <= connections
        assert {one.status for each in outcomes for one in each} == {Status.DELIVERED}

    async def test_a_batch_that_ends_early_leaves_its_slots_to_the_other(self):
        wire = Wire(first(2, status(401)))
        target = sink(wire, connections=2)
        await signalled(NeedsOperator, target, sales(9))

        assert len(await target.deliver(sales(9))) == 9
        assert wire.peak == 2

    async def test_a_batch_that_is_cancelled_leaves_its_slots_to_the_other(self):
        gate = anyio.Event()
        wire = Wire(pause=gate.wait)
        target = sink(wire, connections=4)
        outcomes: list[Outcome] = []

        async def deliver() -> None:
            outcomes.extend(await target.deliver([sale(number) for number in range(50, 70)]))

        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as cancelled:
                cancelled.start_soon(target.deliver, sales(20))
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(deliver)
                await anyio.wait_all_tasks_blocked()
                cancelled.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked()
            now = wire.now
            gate.set()

        assert now == wire.peak == 4
        assert [one.status for one in outcomes] == [Status.DELIVERED] * 20

    async def test_what_gets_a_slot_too_late_is_left_open(self, monkeypatch: pytest.MonkeyPatch):
        gate, pass_time = anyio.Event(), slowly(monkeypatch, 20)
        wire = Wire(pause=gate.wait)
        target = sink(wire, connections=1, timeout=10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.deliver, [sale()])
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(signalled, Unfinished, target, [sale(2)])
            await anyio.wait_all_tasks_blocked()
            await pass_time()
            gate.set()

        assert set(wire.orders) == {"o1"}

    async def test_a_batch_that_gets_no_hand_in_time_is_unavailable(self):
        wire = Wire(pause=anyio.sleep_forever)
        target = sink(wire, connections=1, timeout=0.01)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(signalled, Unavailable, target, sales(2))

        assert wire.now == 0

    async def test_a_batch_that_is_cancelled_at_once_gives_its_slots_back(self):
        wire = Wire()
        target = sink(wire, connections=4)
        async with anyio.create_task_group() as tasks:
            tasks.cancel_scope.cancel()
            await target.deliver(sales(10))
        await target.deliver(sales(10))

        assert wire.peak == 4


@pytest.mark.asyncio
class TestHousekeeping:
    """Name, limits, token, closing."""

    async def test_limits_follow_the_connections(self):
        assert sink().limits.batch == 256
        assert sink().limits.concurrency == 2
        assert sink(connections=1).limits.batch == 8
        assert sink(connections=1).limits.concurrency == 1
        assert sink().limits.required_seconds is None
        assert sink(timeout=60).limits.required_seconds == pytest.approx(60 / 0.95)
        assert sink().name == "anytrack"

    async def test_a_new_token_is_used_from_now_on(self):
        wire = Wire()
        target = sink(wire)
        target.use_token("new-key")
        await target.deliver([sale()])

        assert wire.requests[0].headers.get_list("authorization") == ["Bearer new-key"]
        with pytest.raises(ConfigurationError):
            target.use_token("a\nb")

    async def test_closing_closes_the_transport(self):
        wire = Wire()
        await sink(wire).aclose()

        assert wire.closed == 1

    async def test_respx_can_stand_in(self):
        with respx.mock as router:
            route = router.post(f"{BASE}/conversions").respond(201, json={"conversion_id": "c1"})
            target = sink()
            outcomes = await target.deliver(sales(3))
            await target.aclose()

        assert route.call_count == 3
        assert {one.remote_id for one in outcomes} == {"c1"}

    async def test_the_repr_shows_no_key(self):
        assert "key" not in repr(sink())
