"""`AnyTrackSink`: requests, limits, token, closing."""

from __future__ import annotations

import json
from math import inf

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.sink import AnyTrackSink, batch_times
from anytrack_async.destinations.sink import (
    Unavailable,
)
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.outcome import Outcome, Status
from tests.destinations.anytrack.doubles import (
    BASE,
    FakeService,
    Respond,
    first_then,
    make_sink,
    respond_with,
    sale,
    sales,
    signal_from,
    time_out,
)


@pytest.mark.asyncio
class TestDeliver:
    """Requests and the order of outcomes."""

    async def test_each_conversion_is_one_signed_request(self):
        service = FakeService()
        (outcome,) = await make_sink(service).deliver([sale(click_id="clk")])

        (request,) = service.requests
        assert (request.method, str(request.url)) == ("POST", f"{BASE}/conversions")
        assert request.headers["authorization"] == "Bearer key"
        assert request.headers["x-account-id"] == "acc"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["idempotency-key"] == "sale:o1"
        assert json.loads(request.content)["click_id"] == "clk"
        assert outcome == Outcome.delivered("c-o1")

    async def test_outcomes_are_in_the_order_of_the_batch(self):
        outcomes = await make_sink(FakeService()).deliver(sales(100))

        assert [outcome.remote_id for outcome in outcomes] == [
            f"c-o{number}" for number in range(100)
        ]

    async def test_a_conversion_that_json_cannot_hold_fails_alone(self):
        changed = sale(9)
        changed.custom_data["added"] = object()  # type: ignore[index]
        service = FakeService()
        outcomes = await make_sink(service).deliver([changed, *sales(2)])

        assert [outcome.status for outcome in outcomes] == [
            Status.REJECTED,
            *[Status.DELIVERED] * 2,
        ]
        assert "check its custom_data" in str(outcomes[0].error)
        assert len(service.requests) == 2

    async def test_every_conversion_is_sent_once(self):
        service = FakeService()
        await make_sink(service, connections=7).deliver(sales(50))

        assert set(service.orders.values()) == {1}
        assert len(service.orders) == 50

    @pytest.mark.parametrize(
        ("batches", "connections", "peak"), [(1, 8, 8), (2, 8, 8), (1, 99, 40)]
    )
    async def test_requests_in_flight_are_as_many_as_connections(
        self, batches: int, connections: int, peak: int
    ):
        gate = anyio.Event()
        service = FakeService(pause=gate.wait)
        target = make_sink(service, connections=connections)
        async with anyio.create_task_group() as tasks:
            for _ in range(batches):
                tasks.start_soon(target.deliver, sales(40))
            await anyio.wait_all_tasks_blocked()
            now = service.in_flight
            gate.set()

        assert now == service.peak == peak

    async def test_an_empty_batch_has_no_outcomes(self):
        assert list(await make_sink(FakeService()).deliver([])) == []

    async def test_a_request_without_response_is_retried(self):
        outcomes = await make_sink(FakeService(first_then(1, time_out)), connections=1).deliver(
            sales(2)
        )

        assert outcomes[0].status is Status.RETRY
        assert "no response" in str(outcomes[0].error)

    async def test_the_sink_sends_each_request_once(self):
        service = FakeService(respond_with(503))
        await signal_from(Unavailable, make_sink(service), [sale()])

        assert len(service.requests) == 1


class TestBatchTimes:
    """The time in which requests are started, and the end of the batch."""

    @given(st.floats(0.001, 1e6) | st.just(inf), st.floats(0.001, 1e6) | st.just(inf))
    def test_the_last_request_has_its_whole_timeout_if_the_batch_allows(
        self, timeout: float, available: float
    ):
        sending_time, total_time = batch_times(timeout, available)

        assert 0 <= sending_time <= total_time <= available
        assert sending_time <= 30
        if timeout <= available:
            assert total_time - sending_time == pytest.approx(timeout)

    @pytest.mark.parametrize(
        ("timeout", "available", "expected"),
        [(30, 91.2, (30, 60)), (30, 22.8, (11.4, 22.8)), (60, 91.2, (30, 90)), (5, 91.2, (5, 10))],
    )
    def test_sending_time_and_end_of_a_batch(
        self, timeout: float, available: float, expected: tuple[float, float]
    ):
        assert batch_times(timeout, available) == pytest.approx(expected)


@pytest.mark.asyncio
class TestSink:
    """Name, limits, token, closing."""

    async def test_limits_follow_the_connections(self):
        assert make_sink().limits.batch == 256
        assert make_sink().limits.concurrency == 2
        assert make_sink(connections=1).limits.batch == 8
        assert make_sink(connections=1).limits.concurrency == 1
        assert make_sink().limits.required_seconds is None
        assert make_sink(timeout=60).limits.required_seconds == pytest.approx(60 / 0.95)
        assert make_sink().name == "anytrack"

    async def test_a_new_token_is_used_from_now_on(self):
        service = FakeService()
        target = make_sink(service)
        target.use_token("new-key")
        await target.deliver([sale()])

        assert service.requests[0].headers.get_list("authorization") == ["Bearer new-key"]
        with pytest.raises(ConfigurationError):
            target.use_token("a\nb")

    async def test_closing_closes_the_transport(self):
        service = FakeService()
        await make_sink(service).aclose()

        assert service.closed == 1

    async def test_respx_can_replace_the_service(self):
        with respx.mock as router:
            route = router.post(f"{BASE}/conversions").respond(201, json={"conversion_id": "c1"})
            target = make_sink()
            outcomes = await target.deliver(sales(3))
            await target.aclose()

        assert route.call_count == 3
        assert {outcome.remote_id for outcome in outcomes} == {"c1"}

    async def test_the_repr_shows_no_key(self):
        assert "key" not in repr(make_sink())

    async def test_the_environment_configures_the_sink(self):
        service = FakeService()
        variables = {"ANYTRACK_API_KEY": "k1", "ANYTRACK_ACCOUNT_ID": "a1"}
        await AnyTrackSink.from_env(variables, transport=service).deliver([sale()])

        assert service.requests[0].headers["authorization"] == "Bearer k1"
        assert service.requests[0].headers["x-account-id"] == "a1"

    @pytest.mark.parametrize("respond", [respond_with(404), lambda *_: httpx.Response(200)])
    async def test_the_check_asks_whether_the_base_url_is_right(self, respond: Respond):
        (finding,) = await make_sink(FakeService(respond)).check()

        assert not finding.ok
        assert finding.message.endswith("is AnyTrackSettings.base_url (ANYTRACK_BASE_URL) right?")

    @pytest.mark.parametrize(("code", "ok"), [(200, True), (401, False), (403, False)])
    async def test_the_check_reads_a_report_to_try_the_credentials(self, code: int, ok: bool):
        service = FakeService(respond_with(code, {"message": "key revoked"}))
        (finding,) = await make_sink(service).check(currencies=["EUR"])

        assert (finding.name, finding.ok) == ("credentials", ok)
        assert ok or "key revoked" in finding.message
        assert [request.method for request in service.requests] == ["GET"]
