from __future__ import annotations

import anyio
import anyio.lowlevel
import httpx
import pytest

from anytrack_async.transport.limit import Limit
from anytrack_async.transport.message import Request, Response

pytestmark = pytest.mark.asyncio

REQUEST = Request("anytrack", "GET", "https://api.test", {})


class Counting:
    """An engine that holds each request until told, and counts how many it holds."""

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.now = self.peak = self.seen = self.closed = 0
        self.failure: Exception | None = None

    async def exchange(self, request: Request) -> Response:
        self.seen += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            if self.failure:
                raise self.failure
            await self.gate.wait()
        finally:
            self.now -= 1
        return request.build_response(200, {}, b"")

    async def aclose(self) -> None:
        self.closed += 1


async def test_never_more_than_slots_on_the_wire():
    wire = Counting()
    limit = Limit(wire, slots=3)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(limit.exchange, REQUEST)
        await anyio.wait_all_tasks_blocked()
        held = wire.seen
        wire.gate.set()

    assert held == wire.peak == 3
    assert wire.seen == 10


async def test_a_failure_frees_its_slot():
    wire = Counting()
    wire.failure = httpx.ConnectError("refused")
    limit = Limit(wire, slots=1)

    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await limit.exchange(REQUEST)


async def test_a_cancelled_request_frees_its_slot():
    wire = Counting()
    limit = Limit(wire, slots=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.exchange, REQUEST)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    wire.gate.set()

    with anyio.fail_after(5):
        assert (await limit.exchange(REQUEST)).status == 200


async def test_who_is_cancelled_while_waiting_takes_no_slot():
    wire = Counting()
    limit = Limit(wire, slots=1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.exchange, REQUEST)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(limit.exchange, REQUEST)
            await anyio.wait_all_tasks_blocked()
            waiting.cancel_scope.cancel()
        wire.gate.set()
    with anyio.fail_after(5):
        await limit.exchange(REQUEST)

    assert wire.seen == 2


async def test_waiting_for_a_slot_ends():
    wire = Counting()
    limit = Limit(wire, slots=1, patience=0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.exchange, REQUEST)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(httpx.PoolTimeout):
            await limit.exchange(REQUEST)
        wire.gate.set()


async def test_closing_closes_the_inner_engine():
    wire = Counting()
    await Limit(wire, slots=1).aclose()

    assert wire.closed == 1
