"""Running a client: stats, lanes, replay, closing, and use in a web application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
import respx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from anytrack_async import (
    AnyTrackClient,
    ConfigurationError,
    Conversion,
    Customer,
    DestinationStats,
    Event,
    LaneHeld,
    LaneState,
    MetaSettings,
    MetaSink,
    Outcome,
    SinkLimits,
    Status,
    Submitted,
    UndeliveredError,
)
from anytrack_async.client.stats import Counters
from anytrack_async.events import DeadLettered, Delivered, Dropped, LaneResumed, Retried
from tests.client.service import KEY, META_TOKEN, QUICK, SECRETS, Service

pytestmark = pytest.mark.asyncio

SALE = Conversion.sale(
    revenue="49.90",
    order_id="1001",
    click_id="k1",
    user_agent="Mozilla/5.0",
    customer=Customer(email="jane@example.com"),
)


HOSTS = {
    "anytrack": "api.anytrack.io",
    "meta": "graph.facebook.com",
    "hubspot": "api.hubapi.com",
}


class Remembering:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event, /) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def until(condition: Any) -> None:
    """Let others run until *condition* holds."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.wait_all_tasks_blocked()


# One transport


async def test_one_injected_transport_serves_client_and_sinks(service: Service):
    sinks = [service.meta(), service.hubspot()]

    async with service.client(sinks=sinks) as client:
        service.answer("/v1/reports/daily", {"total_revenue": 5})
        await client.get_daily_report()
        report = await (await client.submit(SALE))

    assert report.delivered
    assert {request.url.host for request in service.requests} == {
        "api.anytrack.io",
        "graph.facebook.com",
        "api.hubapi.com",
    }


async def test_a_transport_serves_the_sinks_of_the_environment(service: Service):
    environ = {
        "ANYTRACK_API_KEY": KEY,
        "ANYTRACK_ACCOUNT_ID": "a",
        "META_PIXEL_ID": "p1",
        "META_ACCESS_TOKEN": "t",
        "HUBSPOT_ACCESS_TOKEN": "t",
    }

    async with AnyTrackClient.from_env(
        environ, transport=service.transport, delivery=QUICK
    ) as client:
        assert (await (await client.submit(SALE))).delivered

    assert len({request.url.host for request in service.requests}) == 3


async def test_respx_serves_client_and_sinks(service: Service):
    with respx.mock() as mock:
        mock.post("https://api.anytrack.io/v1/conversions").respond(
            json={"status": "success", "conversion_id": "c1"}
        )
        events = mock.post("https://graph.facebook.com/v26.0/p1/events").respond(
            json={"events_received": 1}
        )
        sink = MetaSink(MetaSettings(pixel_id="p1", access_token=META_TOKEN))
        async with AnyTrackClient(KEY, "a", sinks=[sink], delivery=QUICK) as client:
            receipt = await client.track_conversion(SALE)
            await (await client.submit(SALE))

    assert receipt.conversion_id == "c1"
    assert events.call_count == 1


async def test_the_transport_is_closed_with_the_client(service: Service):
    closed = []

    class Closing(httpx.MockTransport):
        async def aclose(self) -> None:
            closed.append(True)

    async with service.client(transport=Closing(service)) as client:
        await client.track_conversion(SALE)
        assert closed == []

    assert len(closed) == 2  # by the session that reads and by the sink


async def test_an_error_while_closing_does_not_hide_the_blocks_exception(
    service: Service, caplog: pytest.LogCaptureFixture
):
    class Stuck(httpx.MockTransport):
        async def aclose(self) -> None:
            raise RuntimeError(KEY)

    with pytest.raises(LookupError, match="the caller's own"):
        async with service.client(transport=Stuck(service)):
            raise LookupError("the caller's own")

    assert "closing the connections to AnyTrack failed: RuntimeError" in caplog.text
    assert KEY not in caplog.text


async def test_a_new_destination_can_start_at_the_beginning_of_the_outbox(
    service: Service, tmp_path: Path
):
    path = tmp_path / "a.db"
    service.refuse(503)
    async with service.client(outbox=path, delivery=attrs.evolve(QUICK, drain=0)) as client:
        await client.submit(SALE)
    service.answers.clear()

    options = {"sinks": [service.meta()], "from_start": ["meta"]}
    async with service.client(outbox=path, **options) as client:
        assert (await (await client.submit(SALE))).delivered

    assert len(service.bodies("graph.facebook.com")) == 1


# Stats


async def test_stats_count_the_events_of_each_destination(service: Service):
    service.refuse(422, "no")
    service.answer("/v26.0/p1/events", {"events_received": 1})

    async with service.client(sinks=[service.meta()]) as client:
        assert (await client.stats()).destinations["anytrack"] == DestinationStats(
            state=LaneState.RUNNING
        )
        await (await client.submit(SALE))
        await client.submit(SALE)
        stats = await client.stats()

    assert stats.submitted == 1
    assert stats.destinations == {
        "anytrack": DestinationStats(state=LaneState.RUNNING, dead_lettered=1, dead=1),
        "meta": DestinationStats(
            state=LaneState.RUNNING,
            delivered=1,
            weakened={"website events without an http(s) page_url": 1},
        ),
    }


async def test_stats_show_the_backlog(service: Service):
    service.gate = anyio.Event()

    async with service.client() as client:
        await client.submit(SALE)
        await until(lambda: service.requests)
        waiting = (await client.stats()).destinations["anytrack"]
        service.gate.set()

    assert (waiting.waiting, waiting.in_flight, waiting.delivered) == (1, 1, 0)


async def test_a_destination_without_a_sink_shows_its_backlog(service: Service, tmp_path: Path):
    path = tmp_path / "a.db"
    service.refuse(503, path="/v26.0/p1/events")
    settings = attrs.evolve(QUICK, drain=0)
    async with service.client(sinks=[service.meta()], outbox=path, delivery=settings) as client:
        await client.submit(SALE, to=["meta"])

    async with service.client(outbox=path) as client:
        meta = (await client.stats()).destinations["meta"]

    assert (meta.state, meta.waiting) == (None, 1)


async def test_counters_count_every_event():
    counters = Counters()
    for event in (
        Submitted(event_ids=["a", "b"]),
        Delivered(destination="m", event_ids=["a", "b"], seconds=1),
        Retried(destination="m", event_ids=["a"], reason="", seconds=1),
        DeadLettered(destination="m", event_id="a", reason=""),
        Dropped(destination="m", event_ids=["a", "b", "c"], reason=""),
        LaneResumed(destination="m"),
    ):
        counters.notify(event)

    assert counters.submitted == 2
    assert counters.for_destination("m") == {
        "delivered": 2,
        "retried": 1,
        "dead_lettered": 1,
        "dropped": 3,
    }
    assert counters.for_destination("other") == {}


# Observers and the log


async def test_an_observer_that_raises_does_not_affect_the_others(
    service: Service, caplog: pytest.LogCaptureFixture
):
    class Raising:
        def notify(self, event: Event, /) -> None:
            raise RuntimeError(SECRETS[0])

    observer = Remembering()

    async with service.client(observers=[Raising(), observer]) as client:
        await client.track_conversion(SALE)

    assert [type(event) for event in observer.events] == [Submitted, Delivered]
    assert "observer Raising failed with RuntimeError" in caplog.text
    assert SECRETS[0] not in caplog.text


@pytest.mark.parametrize("log", [True, False])
async def test_the_log_can_be_switched_off(
    log: bool, service: Service, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "anytrack_async")

    async with service.client(log=log) as client:
        await client.track_conversion(SALE)

    assert ("accepted 1 conversions" in caplog.messages) is log


async def test_neither_log_nor_events_contain_a_secret_or_customer_data(
    service: Service, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    private = "jane@example.com"
    message = f"key {KEY}-0123456789 of {private} is not accepted"
    service.refuse(401, message)
    service.answers["/v26.0/p1/events"] = lambda _: httpx.Response(
        400, json={"error": {"message": message, "code": 190}}
    )
    observer = Remembering()
    conversion = attrs.evolve(SALE, customer=Customer(email=private), ip_address="203.0.113.9")
    settings = attrs.evolve(QUICK, drain=0)

    with pytest.raises(UndeliveredError) as caught:
        await hold(
            service.client(sinks=[service.meta()], observers=[observer], delivery=settings),
            conversion,
        )

    shown = f"{caplog.text} {observer.events} {caught.value!r} {caught.value!s}"
    assert "held" in caplog.text
    for word in (*SECRETS, private, "203.0.113.9", "k1"):
        assert word not in shown


async def hold(client: AnyTrackClient, conversion: Conversion) -> None:
    async with client:
        delivery = await client.submit(conversion)
        await until(lambda: all(outcome.error for outcome in delivery.report.outcomes.values()))


# Held lanes and dead letters


async def test_a_held_lane_continues_with_a_new_key(service: Service):
    def answer(request: httpx.Request) -> httpx.Response:
        good = request.headers["authorization"] == "Bearer new-key"
        return httpx.Response(200 if good else 401, json={"conversion_id": "c1"})

    service.answers["/v1/conversions"] = answer
    service.answer("/v1/reports/daily", {})
    observer = Remembering()

    async with service.client(observers=[observer]) as client:
        delivery = await client.submit(SALE)
        await until(lambda: observer.of(LaneHeld))
        assert (await client.stats()).destinations["anytrack"].state is LaneState.HELD
        client.use_api_key("new-key")
        assert (await delivery).delivered
        await client.get_daily_report()

    assert service.last.headers["authorization"] == "Bearer new-key"
    assert len(observer.of(LaneHeld)) == len(observer.of(LaneResumed)) == 1


@pytest.mark.parametrize("name", [*HOSTS])
async def test_a_held_lane_continues_with_a_new_token(service: Service, name: str):
    def answer(request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        quoted = {"message": f"not {token}", "error": {"code": 190, "message": f"not {token}"}}
        return httpx.Response(401, json=quoted)

    observer = Remembering()
    sinks = [service.meta(), service.hubspot()]
    async with service.client(sinks=sinks, observers=[observer]) as client:
        service.answers[HOSTS[name]] = answer
        delivery = await client.submit(SALE)
        await until(lambda: len(observer.of(LaneHeld)) == 1)
        client.use_token(name, "wrong-t0ken")
        await until(lambda: len(observer.of(LaneHeld)) == 2)
        assert not observer.of(LaneResumed)
        service.answers.clear()
        client.use_token(name, "right-t0ken")
        assert (await delivery.at(name)).status is Status.DELIVERED

    reasons = [event.reason for event in observer.of(LaneHeld)]
    assert all("***" in reason and "t0ken" not in reason for reason in reasons)
    assert not any(secret in reason for reason in reasons for secret in SECRETS)
    assert [event.destination for event in observer.of(LaneResumed)] == [name]
    requests = [request for request in service.requests if request.url.host == HOSTS[name]]
    assert requests[-1].headers["authorization"] == "Bearer right-t0ken"


@pytest.mark.parametrize("token", ["", " ", "new\nkey", "n3w ", 7])
async def test_a_token_that_is_not_valid_in_a_header_changes_nothing(service: Service, token: Any):
    service.answer("/v1/reports/daily", {})
    async with service.client() as client:
        with pytest.raises(ConfigurationError, match=r"^token must") as caught:
            client.use_token("anytrack", token)
        await client.get_daily_report()

    assert service.last.headers["authorization"] == f"Bearer {KEY}"
    assert "key" not in str(caught.value)


async def test_a_destination_without_use_token_is_named(service: Service):
    class OwnSink:
        name = "own"
        limits = SinkLimits()

        async def deliver(self, batch: Any, /) -> Any:
            return [Outcome.delivered() for _ in batch]

    client = service.client(sinks=[OwnSink()])

    with pytest.raises(ConfigurationError, match="use_token: OwnSink, the sink of own, cannot"):
        client.use_token("own", "t0ken")
    with pytest.raises(ConfigurationError, match="use_token: no destination 'mata'; known"):
        client.use_token("mata", "t0ken")


async def test_a_held_lane_can_be_resumed(service: Service):
    service.refuse(401)
    observer = Remembering()

    async with service.client(observers=[observer]) as client:
        delivery = await client.submit(SALE)
        await until(lambda: observer.of(LaneHeld))
        service.answers.clear()
        client.resume("anytrack")
        assert (await delivery).delivered
        with pytest.raises(
            ConfigurationError, match="no destination 'meta'; known destinations: anytrack"
        ):
            client.resume("meta")


async def test_replayed_dead_letters_are_sent_again(service: Service):
    service.refuse(422)
    leads = [Conversion.lead(click_id="k", order_id=str(number)) for number in range(3)]

    async with service.client() as client:
        for delivery in await client.submit_many(leads):
            assert (await delivery.at("anytrack")).status is Status.DEAD
        service.answers.clear()
        assert await client.replay("anytrack", ["lead:1", "unknown"]) == 1
        assert await client.replay("anytrack") == 2
        await until(lambda: len(service.requests) == 6)
        with pytest.raises(ConfigurationError, match="event_ids must be a list"):
            await client.replay("anytrack", "lead:1")

    accepted = {body["order_id"] for body in service.bodies()[3:]}
    assert accepted == {"0", "1", "2"}


# Closing


async def test_leaving_the_block_delivers_submitted_conversions(service: Service):
    async with service.client() as client:
        await client.submit_many(Conversion.lead(order_id=str(number)) for number in range(50))

    assert len(service.requests) == 50


async def test_closing_lists_conversions_lost_with_a_memory_outbox(service: Service):
    service.refuse(503)

    with pytest.raises(UndeliveredError, match="the outbox was only in memory") as caught:
        async with service.client(delivery=attrs.evolve(QUICK, drain=0)) as client:
            await client.submit(SALE)

    assert caught.value.event_ids == {"anytrack": [SALE.event_id]}


async def test_the_next_client_delivers_from_the_outbox_on_disk(service: Service, tmp_path: Path):
    service.refuse(503)
    settings = attrs.evolve(QUICK, drain=0)
    async with service.client(delivery=settings, outbox=tmp_path / "a.db") as client:
        await client.submit(SALE)
    service.answers.clear()

    async with service.client(outbox=tmp_path / "a.db") as client:
        receipt = await client.track_conversion(SALE)

    assert receipt.event_id == SALE.event_id


async def test_a_client_can_be_opened_again(service: Service):
    client = service.client()

    for order in "12":
        async with client:
            await client.track_sale("k1", 5, order_id=order)

    assert len(service.requests) == 2


class OwnError(Exception):
    pass


class OwnGroup(ExceptionGroup[Exception]):
    pass


@pytest.mark.parametrize(
    "own",
    [
        OwnError("mine"),
        ValueError(),
        TimeoutError(),
        SystemExit(3),
        KeyboardInterrupt(),
        OwnGroup("mine", [OwnError()]),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_the_blocks_exception_is_raised_unchanged(own: BaseException, service: Service):
    with pytest.raises(type(own)) as caught:
        await fail_inside(service.client(), own)

    assert caught.value is own
    assert len(service.requests) == 1


async def test_the_blocks_exception_gets_a_note_about_lost_conversions(service: Service):
    service.refuse(503)
    error = OwnError("mine")

    with pytest.raises(OwnError) as caught:
        await fail_inside(service.client(delivery=attrs.evolve(QUICK, drain=0)), error)

    assert caught.value is error
    assert SALE.event_id in "".join(error.__notes__)


async def fail_inside(client: AnyTrackClient, own: BaseException) -> None:
    async with client:
        await client.submit(SALE)
        raise own


async def test_cancelling_the_block_still_delivers(service: Service):
    with anyio.CancelScope() as scope:
        async with service.client() as client:
            await client.submit(SALE)
            scope.cancel()
            await anyio.sleep_forever()

    assert len(service.requests) == 1


# Inside a web application


async def test_a_client_works_in_a_starlette_lifespan(service: Service):
    service.refuse(503, path="/v26.0/p1/events")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        settings = attrs.evolve(QUICK, drain=5)
        async with service.client(sinks=[service.meta()], delivery=settings) as client:
            yield {"client": client}

    async def buy(request: Request) -> JSONResponse:
        client: AnyTrackClient = request.state.client
        receipt = await client.track_sale(
            "k1", 5, order_id=request.query_params["order"], customer=SALE.customer
        )
        return JSONResponse({"id": receipt.conversion_id})

    app = Starlette(routes=[Route("/buy", buy, methods=["POST"])], lifespan=lifespan)

    async with app.router.lifespan_context(app) as state:
        transport = httpx.ASGITransport(_with_state(app, state))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as shop:
            answers = []

            async def order(number: int) -> None:
                answers.append(await shop.post("/buy", params={"order": str(number)}))

            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(order, number)
        service.answers.clear()

    assert {answer.json()["id"] for answer in answers} == {f"at-sale:{n}" for n in range(10)}
    events = [event for body in service.bodies("graph.facebook.com") for event in body["data"]]
    assert {event["event_id"] for event in events} == {f"sale:{n}" for n in range(10)}


def _with_state(app: Starlette, state: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"state": dict(state)}, receive, send)

    return wrapped


async def test_a_request_does_not_wait_for_a_slow_destination(service: Service):
    meta, ended = service.meta(), anyio.Event()

    async def slow(batch: Any, /) -> Any:
        await ended.wait()
        return [Outcome.delivered() for _ in batch]

    meta.deliver = slow  # type: ignore[method-assign]

    async with service.client(sinks=[meta]) as client:
        await client.track_conversion(SALE)
        assert (await client.stats()).destinations["meta"].waiting == 1
        ended.set()
