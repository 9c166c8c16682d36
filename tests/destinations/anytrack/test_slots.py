"""How batches share the request slots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack

import anyio
import anyio.lowlevel
import httpx
import pytest

from anytrack_async.destinations.anytrack.batch import BatchSender, RequestSlots
from anytrack_async.destinations.anytrack.settings import anytrack_session
from anytrack_async.destinations.sink import (
    NeedsOperator,
    Unavailable,
    Unfinished,
)
from anytrack_async.models.outcome import Outcome, Status
from tests.destinations.anytrack.doubles import (
    FakeService,
    accept,
    advancing_clock,
    first_then,
    make_settings,
    make_sink,
    respond_with,
    sale,
    sales,
    signal_from,
)


@pytest.mark.asyncio
class TestSharing:
    """Batches that share the connections."""

    async def test_a_second_batch_gets_its_share_while_the_first_continues(self):
        gates: dict[str, anyio.Event] = {}

        class Gated(FakeService):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                order = json.loads(request.content)["order_id"]
                gates[order] = anyio.Event()
                await gates[order].wait()
                return accept(request)

        async def respond(*orders: str) -> None:
            for order in orders:
                gates.pop(order).set()
            await anyio.wait_all_tasks_blocked()

        target = make_sink(Gated(), connections=4)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.deliver, sales(20))
            await anyio.wait_all_tasks_blocked()
            alone = set(gates)
            tasks.start_soon(target.deliver, [sale(number) for number in range(50, 70)])
            await anyio.wait_all_tasks_blocked()
            before = set(gates)
            await respond("o0", "o1", "o2", "o3")
            shared = set(gates)
            while first_batch := [order for order in gates if int(order[1:]) < 50]:
                await respond(*first_batch)
            after = set(gates)
            while gates:
                await respond(*gates)

        assert alone == before == {"o0", "o1", "o2", "o3"}
        assert shared == {"o4", "o5", "o50", "o51"}
        assert after == {"o50", "o51", "o52", "o53"}

    @pytest.mark.parametrize("connections", [1, 2, 3, 8])
    @pytest.mark.parametrize("batches", [1, 2, 5])
    async def test_each_conversion_is_sent_once_with_any_number_of_batches(
        self, connections: int, batches: int
    ):
        service = FakeService()
        target = make_sink(service, connections=connections)
        outcomes: list[Sequence[Outcome]] = []

        async def deliver(start: int) -> None:
            outcomes.append(await target.deliver([sale(start + index) for index in range(20)]))

        async with anyio.create_task_group() as tasks:
            for number in range(batches):
                tasks.start_soon(deliver, 100 * number)

        assert set(service.orders.values()) == {1}
        assert len(service.orders) == 20 * batches
        assert service.peak <= connections
        assert {outcome.status for batch in outcomes for outcome in batch} == {Status.DELIVERED}

    async def test_a_batch_that_ends_early_releases_its_slots(self):
        service = FakeService(first_then(2, respond_with(401)))
        target = make_sink(service, connections=2)
        await signal_from(NeedsOperator, target, sales(9))

        assert len(await target.deliver(sales(9))) == 9
        assert service.peak == 2

    async def test_a_cancelled_batch_releases_its_slots_to_the_other(self):
        gate = anyio.Event()
        service = FakeService(pause=gate.wait)
        target = make_sink(service, connections=4)
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
            in_flight = service.in_flight
            gate.set()

        assert in_flight == service.peak == 4
        assert [outcome.status for outcome in outcomes] == [Status.DELIVERED] * 20

    async def test_a_slot_that_comes_too_late_is_not_used(self, monkeypatch: pytest.MonkeyPatch):
        gate, pass_time = anyio.Event(), advancing_clock(monkeypatch, 20)
        service = FakeService(pause=gate.wait)
        target = make_sink(service, connections=1, timeout=10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.deliver, [sale()])
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(signal_from, Unfinished, target, [sale(2)])
            await anyio.wait_all_tasks_blocked()
            await pass_time()
            gate.set()

        assert set(service.orders) == {"o1"}

    @pytest.mark.parametrize("count", [1, 2])
    async def test_a_batch_without_a_slot_is_unavailable_when_its_time_is_up(self, count: int):
        service = FakeService()
        slots = RequestSlots(1)
        assert slots.take(0)  # for another batch, which keeps it
        session = anytrack_session(make_settings(), transport=service)
        sender = BatchSender(session, slots, sales(count), seconds=60)
        with anyio.move_on_after(0.01):
            await sender.run()

        with pytest.raises(Unavailable, match="no response"):
            sender.result(in_time=False)
        assert service.requests == []

    async def test_a_batch_that_is_cancelled_at_once_releases_its_slots(self):
        service = FakeService()
        target = make_sink(service, connections=4)
        async with anyio.create_task_group() as tasks:
            tasks.cancel_scope.cancel()
            await target.deliver(sales(10))
        await target.deliver(sales(10))

        assert service.peak == 4

    async def test_two_batches_need_few_workers(self, monkeypatch: pytest.MonkeyPatch):
        """A worker per request would cost one task per conversion."""
        workers = 0
        work = BatchSender._work

        async def counting_work(sender: BatchSender) -> None:
            nonlocal workers
            workers += 1
            await work(sender)

        monkeypatch.setattr(BatchSender, "_work", counting_work)
        service = FakeService()
        target = make_sink(service, connections=4)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.deliver, sales(100))
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(target.deliver, [sale(number) for number in range(200, 320)])

        assert len(service.requests) == 220
        assert workers <= 12


class TestRequestSlots:
    """The shares of several batches."""

    @pytest.mark.parametrize(("batches", "share"), [(0, 32), (1, 32), (2, 16), (3, 11), (40, 1)])
    def test_the_share_is_equal_and_rounded_up(self, batches: int, share: int):
        slots = RequestSlots(32)
        with ExitStack() as stack:
            for _ in range(batches):
                stack.enter_context(slots.join())
            assert slots.share == share

        assert slots.share == 32

    def test_no_batch_takes_more_than_its_share(self):
        slots = RequestSlots(4)
        with slots.join(), slots.join():
            taken = [slots.take(used) for used in range(4)]

        assert taken == [True, True, False, False]

    def test_no_more_slots_are_taken_than_there_are(self):
        slots = RequestSlots(2)

        assert [slots.take(used) for used in (0, 1, 0)] == [True, True, False]
        slots.release()
        assert slots.take(1)
