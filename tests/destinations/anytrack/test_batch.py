"""`BatchSender`: signals, time limits, and slots that several batches share."""

from __future__ import annotations

import json
from collections import Counter

import anyio
import anyio.lowlevel
import httpx
import pytest

from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.destinations.anytrack.batch import Refusals
from anytrack_async.destinations.sink import (
    NeedsOperator,
    Throttled,
    Unavailable,
    Unfinished,
)
from anytrack_async.events import Delivered, Event, Retried, Submitted
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry
from tests.destinations.anytrack.doubles import (
    FakeService,
    Respond,
    accept,
    advancing_clock,
    first_then,
    make_sink,
    respond_with,
    sale,
    sales,
    signal_from,
    time_out,
)

UNEXPLAINED = {"error": {"code": "E1043", "message": "request refused"}}
REFUSAL = {"status": "error", "code": "bad_click", "message": "unknown click"}


def page(code: int) -> Respond:
    return lambda _, __: httpx.Response(code, html="<html>Blocked</html>")


@pytest.mark.asyncio
class TestRefusals:
    """Answers that are not AnyTrack's: is the base URL wrong, or one conversion blocked?"""

    @pytest.mark.parametrize("count", [1, 100])
    @pytest.mark.parametrize("code", [400, 403, 404, 405])
    async def test_a_wrong_base_url_needs_an_operator(self, code: int, count: int):
        service = FakeService(page(code))
        signal = await signal_from(NeedsOperator, make_sink(service), sales(count))

        assert isinstance(signal, NeedsOperator)
        assert signal.cause == "configuration"
        assert "is AnyTrackSettings.base_url (ANYTRACK_BASE_URL) right?" in signal.reason
        assert not signal.outcomes
        assert len(service.requests) <= 8 + 32

    @pytest.mark.parametrize("code", [400, 403])
    async def test_a_blocked_conversion_among_others_is_retried(self, code: int):
        def firewall(request: httpx.Request, before: int) -> httpx.Response:
            blocked = json.loads(request.content)["order_id"] == "o3"
            return page(code)(request, before) if blocked else accept(request)

        target = make_sink(FakeService(firewall), connections=2)
        outcomes = await target.deliver(sales(9))
        alone = await signal_from(Unavailable, target, [sale(3)])

        assert [outcome.status for outcome in outcomes].count(Status.DELIVERED) == 8
        assert outcomes[3].status is Status.RETRY
        assert "is AnyTrackSettings.base_url" in alone.reason

    async def test_the_second_blocked_conversion_needs_an_operator(self):
        target = make_sink(FakeService(first_then(1, accept, page(403))))
        await target.deliver([sale(1)])
        await signal_from(Unavailable, target, [sale(2)])
        await signal_from(Unavailable, target, [sale(2)])

        await signal_from(NeedsOperator, target, [sale(3)])
        await signal_from(NeedsOperator, target, [sale(2)])

    async def test_a_missing_path_needs_an_operator_at_once(self):
        target = make_sink(FakeService(first_then(1, accept, page(404))))
        await target.deliver([sale(1)])

        await signal_from(NeedsOperator, target, [sale(2)])

    async def test_an_answer_of_anytrack_ends_the_doubt(self):
        service = FakeService()
        target = make_sink(service)
        for respond, kind in ((accept, None), (page(403), Unavailable), (accept, None)):
            service.respond = respond
            await (signal_from(kind, target, [sale()]) if kind else target.deliver([sale()]))
        service.respond = page(403)

        await signal_from(Unavailable, target, [sale(2)])

    async def test_rejected_credentials_outrank_a_page(self):
        service = FakeService(first_then(1, page(403), respond_with(401, REFUSAL)))
        signal = await signal_from(NeedsOperator, make_sink(service, connections=1), sales(3))

        assert isinstance(signal, NeedsOperator)
        assert signal.cause == "credentials"

    @pytest.mark.parametrize("count", [1, 100])
    async def test_without_a_cause_all_conversions_wait_for_an_operator(self, count: int):
        target = make_sink(FakeService(respond_with(400, UNEXPLAINED)))
        for _ in range(3):
            signal = await signal_from(NeedsOperator, target, sales(count))

            assert signal.reason == "request refused (status 400)"
            assert not signal.outcomes

    async def test_what_is_refused_again_while_others_are_accepted_is_rejected(
        self,
    ):
        def refuse_the_first(request: httpx.Request, before: int) -> httpx.Response:
            refused = b'"o0"' in request.content
            return httpx.Response(400, json=UNEXPLAINED) if refused else accept(request)

        target = make_sink(FakeService(refuse_the_first))
        first = await target.deliver(sales(3))
        (again,) = await target.deliver(sales(1))

        assert [outcome.status for outcome in first] == ["retry", "delivered", "delivered"]
        assert (again.status, again.code) == (Status.REJECTED, "E1043")

    async def test_refused_twice_without_others_between_it_is_retried(self):
        service = FakeService()
        target = make_sink(service)
        await target.deliver(sales(2))
        service.respond = respond_with(400, UNEXPLAINED)
        for _ in range(3):
            await signal_from(Unavailable, target, [sale(7)])

    async def test_a_limited_number_of_suspects_is_remembered(self):
        refusals = Refusals()
        refusals.confirms("first")
        for number in range(1_000):
            refusals.confirms(str(number))
        refusals.record_answers([Outcome.delivered()])

        assert refusals.confirms("999")
        assert not refusals.confirms("first")


@pytest.mark.asyncio
class TestSignals:
    """Signals that concern the whole batch."""

    @pytest.mark.parametrize("code", [401, 403])
    async def test_rejected_credentials_stop_the_batch_and_keep_its_outcomes(self, code: int):
        refusal = respond_with(code, {"code": "bad_key", "message": "API key is not valid"})
        service = FakeService(first_then(2, accept, refusal))
        signal = await signal_from(NeedsOperator, make_sink(service, connections=1), sales(9))

        assert [outcome and outcome.remote_id for outcome in signal.outcomes] == [
            "c-o0",
            "c-o1",
            *[None] * 7,
        ]
        assert len(service.requests) == 3
        assert signal.reason == f"API key is not valid (status {code})"
        assert signal.code == "bad_key"

    @pytest.mark.parametrize(("headers", "after"), [({"Retry-After": "7"}, 7.0), ({}, 1.0)])
    async def test_a_429_stops_the_batch_for_the_requested_time(
        self, headers: dict[str, str], after: float
    ):
        service = FakeService(first_then(2, accept, respond_with(429, **headers)))
        signal = await signal_from(Throttled, make_sink(service, connections=1), sales(9))

        assert isinstance(signal, Throttled)
        assert signal.after == after
        assert signal.code == "429"
        assert [bool(outcome) for outcome in signal.outcomes] == [True, True, *[False] * 7]
        assert len(service.requests) == 3

    async def test_a_signal_waits_for_requests_in_flight(self):
        service = FakeService(first_then(1, respond_with(429)))
        signal = await signal_from(Throttled, make_sink(service, connections=4), sales(20))

        assert len(service.requests) == 4
        assert [bool(outcome) for outcome in signal.outcomes] == [
            False,
            True,
            True,
            True,
            *[False] * 16,
        ]

    @pytest.mark.parametrize("codes", [(401, 429), (429, 401)])
    async def test_credentials_outrank_throttling(self, codes: tuple[int, int]):
        service = FakeService(lambda _, before: httpx.Response(codes[before]))

        await signal_from(NeedsOperator, make_sink(service, connections=2), sales(2))

    async def test_the_longest_wait_counts(self):
        hints = ("1", "9", "3")
        service = FakeService(
            lambda _, before: httpx.Response(429, headers={"Retry-After": hints[before]})
        )
        signal = await signal_from(Throttled, make_sink(service, connections=3), sales(3))

        assert isinstance(signal, Throttled)
        assert signal.after == 9.0

    async def test_an_unexpected_exception_is_raised_unchanged(self):
        def fault(*_: object) -> httpx.Response:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await make_sink(FakeService(fault)).deliver([sale()])

    async def test_a_failure_before_a_signal_stays_a_retry(self):
        service = FakeService(first_then(1, respond_with(500), respond_with(401)))
        signal = await signal_from(NeedsOperator, make_sink(service, connections=1), sales(3))

        assert signal.outcomes[0] is not None
        assert signal.outcomes[0].status is Status.RETRY

    @pytest.mark.parametrize(
        "respond", [time_out, respond_with(500), respond_with(503), respond_with(302)]
    )
    async def test_a_service_without_a_conclusive_outcome_is_unavailable(self, respond: Respond):
        signal = await signal_from(Unavailable, make_sink(FakeService(respond)), sales(3))

        assert signal.reason
        assert not signal.outcomes

    async def test_a_batch_stops_when_the_service_looks_down(self):
        service = FakeService(respond_with(503))
        await signal_from(Unavailable, make_sink(service, connections=4), sales(100))

        assert len(service.requests) < 4 + 8

    async def test_a_batch_goes_on_when_some_requests_succeed(self):
        service = FakeService(
            lambda request, before: accept(request) if before % 3 == 2 else httpx.Response(503)
        )
        outcomes = await make_sink(service, connections=4).deliver(sales(60))

        assert len(service.requests) == 60
        assert Counter(outcome.status for outcome in outcomes) == {
            Status.DELIVERED: 20,
            Status.RETRY: 40,
        }

    async def test_a_rejection_is_a_conclusive_outcome(self):
        service = FakeService(first_then(1, respond_with(400, REFUSAL), respond_with(503)))
        outcomes = await make_sink(service, connections=1).deliver(sales(3))

        assert [outcome.status for outcome in outcomes] == [
            Status.REJECTED,
            Status.RETRY,
            Status.RETRY,
        ]


@pytest.mark.asyncio
class TestTime:
    """The time of a batch."""

    async def test_a_batch_out_of_time_keeps_its_outcomes(self):
        async def hang_later() -> None:
            if len(service.requests) > 3:
                await anyio.sleep_forever()

        service = FakeService(pause=hang_later)
        signal = await signal_from(
            Unfinished, make_sink(service, connections=1, timeout=0.02), sales(10)
        )

        assert [outcome and outcome.status for outcome in signal.outcomes] == [
            *[Status.DELIVERED] * 3,
            Status.RETRY,
            *[None] * 6,
        ]
        assert "no response" in str(signal.outcomes[3].error)
        assert "not sent" in signal.reason
        assert service.in_flight == 0

    async def test_requests_in_flight_are_waited_for_after_the_sending_time(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        service = FakeService(pause=advancing_clock(monkeypatch, 2.5))
        signal = await signal_from(
            Unfinished, make_sink(service, connections=4, timeout=10), sales(10)
        )

        sent = len(service.requests)
        assert 4 <= sent < 10
        assert [outcome and outcome.status for outcome in signal.outcomes] == [
            *[Status.DELIVERED] * sent,
            *[None] * (10 - sent),
        ]

    @pytest.mark.parametrize("timeout", [0.02, 30.0])
    async def test_a_batch_ends_before_its_lease_so_outcomes_are_kept(self, timeout: float):
        """Through a real lane: it never ends a batch that the sink would end itself."""
        delivery = DeliverySettings(lease=0.25, retry=Retry(base=0.001), drain=5)

        async def hang_once() -> None:
            if len(service.requests) == 4:
                await anyio.sleep_forever()

        service = FakeService(pause=hang_once)
        target = make_sink(
            service, connections=1, timeout=timeout, batch_timeout=delivery.batch_timeout
        )
        dispatcher = Dispatcher(MemoryOutbox(), [target], delivery, notify=lambda _: None)
        async with dispatcher:
            with anyio.fail_after(10):
                reports = [await handle for handle in await dispatcher.submit(sales(8))]

        assert all(report.delivered for report in reports)
        assert {order: count for order, count in service.orders.items() if count > 1} == {"o3": 2}

    @pytest.mark.parametrize(("timeout", "sending"), [(10, 10), (30, 30), (60, 30)])
    async def test_requests_are_started_for_one_timeout_but_30_seconds_at_most(
        self, monkeypatch: pytest.MonkeyPatch, timeout: int, sending: int
    ):
        service = FakeService(pause=advancing_clock(monkeypatch, 1))
        await signal_from(
            Unfinished, make_sink(service, connections=10, timeout=timeout), sales(80)
        )

        assert sending <= len(service.requests) <= sending + 10

    async def test_a_slow_service_gets_each_conversion_once_and_no_attempt_is_counted(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        """Through a real lane that gives up after two attempts; a batch needs many more calls."""
        service = FakeService(pause=advancing_clock(monkeypatch, 2))
        target = make_sink(service, connections=4, timeout=10)
        delivery = DeliverySettings(retry=Retry(attempts=2, base=0.001), drain=5)
        events: list[Event] = []
        dispatcher = Dispatcher(MemoryOutbox(), [target], delivery, notify=events.append)
        async with dispatcher:
            with anyio.fail_after(10):
                reports = [await handle for handle in await dispatcher.submit(sales(100))]

        assert {report.outcomes["anytrack"].attempts for report in reports} == {1}
        assert set(service.orders.values()) == {1}
        assert len(service.orders) == 100
        assert {type(event) for event in events} == {Submitted, Retried, Delivered}

    async def test_a_batch_without_any_response_is_unavailable(self):
        service = FakeService(pause=anyio.sleep_forever)
        signal = await signal_from(Unavailable, make_sink(service, timeout=0.01), sales(3))

        assert "no response" in signal.reason

    async def test_cancelling_cancels_the_requests_and_the_sink_stays_usable(self):
        gate = anyio.Event()
        service = FakeService(pause=gate.wait)
        target = make_sink(service, connections=4)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.deliver, sales(10))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        gate.set()

        assert service.in_flight == 0
        assert len(await target.deliver(sales(10))) == 10
