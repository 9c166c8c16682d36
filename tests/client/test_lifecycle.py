"""`start` and `aclose`, from any task: what opens once, closes once, never stays half open."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import attrs
import httpx
import pytest

from anytrack_async import (
    AnyTrackClient,
    ClosedError,
    Conversion,
    MemoryOutbox,
    OutboxError,
    Outcome,
    SinkLimits,
    UndeliveredError,
)
from tests.client.service import QUICK, Service

pytestmark = pytest.mark.asyncio

SALE = Conversion.sale(revenue="49.90", order_id="1001", click_id="k1")
AT_ONCE = attrs.evolve(QUICK, drain=0)


class SlowOutbox(MemoryOutbox):
    """Opens when the test lets it, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.opening, self.may_open = anyio.Event(), anyio.Event()
        self.opened = self.closed = 0

    async def open(self, destinations: Any, *, from_start: Any = ()) -> None:
        self.opening.set()
        await self.may_open.wait()
        await super().open(destinations, from_start=from_start)
        self.opened += 1

    async def aclose(self) -> None:
        await super().aclose()
        self.closed += 1


# Opening and closing


async def test_one_task_starts_and_another_closes(service: Service):
    client = service.client()
    await asyncio.create_task(client.start())
    await client.submit(SALE)
    await asyncio.create_task(client.aclose())

    assert len(service.requests) == 1
    with pytest.raises(ClosedError, match=r"client\.start\(\)"):
        await client.submit(SALE)


async def test_starting_and_closing_again_changes_nothing(service: Service):
    outbox = SlowOutbox()
    outbox.may_open.set()
    client = service.client(outbox=outbox)
    await client.aclose()
    for _ in range(2):
        await client.start()
    await client.track_conversion(SALE)
    for _ in range(2):
        await client.aclose()

    assert (outbox.opened, outbox.closed) == (1, 1)


async def test_a_client_can_be_started_again(service: Service):
    client = service.client()
    for order in "12":
        await client.start()
        await client.track_sale("k1", 5, order_id=order)
        await client.aclose()

    assert len(service.requests) == 2


async def test_a_block_may_follow_start(service: Service):
    client = service.client()
    await client.start()
    async with client:
        await client.submit(SALE)

    assert len(service.requests) == 1
    with pytest.raises(ClosedError):
        await client.submit(SALE)


async def test_calls_at_the_same_time_open_and_close_once(service: Service):
    outbox = SlowOutbox()
    client = service.client(outbox=outbox)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(client.start)
        await outbox.opening.wait()
        outbox.may_open.set()
    await client.submit(SALE)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(client.aclose)

    assert (outbox.opened, outbox.closed) == (1, 1)
    assert len(service.requests) == 1


async def test_the_task_that_started_may_be_cancelled_afterwards(service: Service):
    client = service.client()
    started = anyio.Event()

    async def hook() -> None:
        with anyio.fail_after(5):
            await client.start()
            started.set()
            await anyio.sleep_forever()

    task = asyncio.create_task(hook())
    await started.wait()
    task.cancel()
    await asyncio.wait([task])
    receipt = await client.track_conversion(SALE)
    await client.aclose()

    assert receipt.event_id == SALE.event_id


async def test_starting_while_it_closes_opens_it_afterwards(service: Service):
    client = service.client()
    service.gate = anyio.Event()
    await client.start()
    await client.submit(SALE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.aclose)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(client.start)
        await anyio.wait_all_tasks_blocked()
        service.gate.set()
    await client.track_sale("k1", 5, order_id="2")
    await client.aclose()

    assert len(service.requests) == 2


# Cancelled


async def test_a_cancelled_start_leaves_nothing_open(service: Service):
    outbox = SlowOutbox()
    client = service.client(outbox=outbox)
    task = asyncio.create_task(client.start())
    await outbox.opening.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert outbox.closed == 1
    with pytest.raises(ClosedError):
        await client.submit(SALE)
    outbox.may_open.set()
    async with client:
        await client.track_conversion(SALE)


async def test_a_cancelled_start_does_not_disturb_another(service: Service):
    outbox = SlowOutbox()
    client = service.client(outbox=outbox)
    first, second = (asyncio.create_task(client.start()) for _ in range(2))
    await outbox.opening.wait()
    first.cancel()
    await asyncio.wait([first])
    outbox.may_open.set()
    await second
    await client.track_conversion(SALE)
    await client.aclose()

    assert first.cancelled()
    assert (outbox.opened, outbox.closed) == (1, 1)


async def test_closing_gives_up_an_opening_that_hangs(service: Service):
    outbox = SlowOutbox()
    client = service.client(outbox=outbox)
    task = asyncio.create_task(client.start())
    await outbox.opening.wait()
    await client.aclose()

    with pytest.raises(ClosedError, match="while it was being opened"):
        await task
    assert outbox.closed == 1


@pytest.mark.parametrize("times", [1, 3])
async def test_cancelling_the_task_that_closes_still_delivers(service: Service, times: int):
    service.gate = anyio.Event()
    client = service.client()
    await client.start()
    await client.submit(SALE)
    task = asyncio.create_task(client.aclose())
    for _ in range(times):
        await anyio.wait_all_tasks_blocked()
        task.cancel()
    await anyio.wait_all_tasks_blocked()
    assert not task.done()
    service.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(service.requests) == 1
    with pytest.raises(OutboxError, match="not open"):
        await client.outbox.depths()


async def test_closing_in_a_cancelled_scope_delivers(service: Service):
    client = service.client()
    await client.start()
    await client.submit(SALE)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await client.aclose()

    assert len(service.requests) == 1
    with pytest.raises(OutboxError, match="not open"):
        await client.outbox.depths()


# Errors


async def test_an_outbox_that_does_not_open_raises_in_every_start(service: Service):
    class Shut(SlowOutbox):
        async def open(self, destinations: Any, *, from_start: Any = ()) -> None:
            await super().open(destinations)
            raise OutboxError("no such folder")

    outbox = Shut()
    client = service.client(outbox=outbox)
    tasks = [asyncio.create_task(client.start()) for _ in range(2)]
    await outbox.opening.wait()
    outbox.may_open.set()
    for task in tasks:
        with pytest.raises(OutboxError, match="no such folder"):
            await task

    await client.aclose()
    with pytest.raises(ClosedError):
        await client.submit(SALE)


async def test_every_waiting_close_tells_what_is_lost_and_later_ones_nothing(service: Service):
    service.refuse(503)
    client = service.client(delivery=AT_ONCE)
    await client.start()
    await client.submit(SALE)
    results = await asyncio.gather(client.aclose(), client.aclose(), return_exceptions=True)

    assert [type(result) for result in results] == [UndeliveredError] * 2
    assert SALE.event_id in str(results[0])
    await client.aclose()


async def test_closing_inside_the_block_tells_what_is_lost_once(service: Service):
    service.refuse(503)
    with pytest.raises(UndeliveredError) as caught:
        async with service.client(delivery=AT_ONCE) as client:
            await client.submit(SALE)
            await client.aclose()

    assert not getattr(caught.value, "__notes__", ())


async def test_a_lane_that_fails_stops_the_client_and_closing_raises_why(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    client = service.client(delivery=AT_ONCE)
    await client.start()
    delivery = await client.submit(SALE)
    monkeypatch.setattr("anytrack_async.delivery.lane.Lane._attempt", lambda *_: {}["jane"])
    with pytest.raises(UndeliveredError):
        await delivery
    with anyio.fail_after(5):
        while client._supervisor.is_open:
            await anyio.wait_all_tasks_blocked()

    assert "the client has stopped: KeyError in" in caplog.text
    assert "jane" not in caplog.text
    with pytest.raises(ClosedError):
        await client.submit(SALE)
    with pytest.raises(ExceptionGroup):
        await client.aclose()
    await client.aclose()


async def test_a_sink_that_closes_the_client_does_not_wait_for_itself(service: Service):
    class Quitting:
        name = "quitting"
        limits = SinkLimits(batch=10, concurrency=1)
        client: AnyTrackClient

        async def deliver(self, batch: Any, /) -> list[Outcome]:
            await self.client.aclose()
            return [Outcome.delivered() for _ in batch]

    sink = Quitting()
    sink.client = client = service.client(sinks=[sink])
    with anyio.fail_after(5):
        await client.start()
        delivery = await client.submit(SALE)
        assert (await delivery).delivered
        await client.aclose()


# Reads


async def test_connections_of_reads_are_closed_although_the_client_was_never_open(
    service: Service,
):
    closed = []

    class Closing(httpx.MockTransport):
        async def aclose(self) -> None:
            closed.append(True)

    service.answer("/v1/reports/daily", {"total_revenue": 5})
    client = service.client(transport=Closing(service))
    await client.get_daily_report()
    await client.aclose()
    await client.aclose()

    assert closed == [True]
    with pytest.raises(ClosedError):
        await client.get_daily_report()
