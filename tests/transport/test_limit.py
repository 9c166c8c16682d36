from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import httpx
import pytest

from anytrack_async.transport import LimitTransport
from anytrack_async.transport.limit import TotalTimeout

pytestmark = pytest.mark.asyncio

REQUEST = httpx.Request("GET", "https://api.test")


class Body(httpx.AsyncByteStream):
    """A body that arrives when told."""

    def __init__(self, gate: anyio.Event) -> None:
        self.gate = gate
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"half, "
        await self.gate.wait()
        yield b"whole"

    async def aclose(self) -> None:
        self.closed = True


class CountingWire(httpx.AsyncBaseTransport):
    """Holds each request until told, and counts how many it holds."""

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.now = self.peak = self.seen = 0
        self.bodies: list[Body] = []
        self.failure: Exception | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            await anyio.lowlevel.checkpoint()
            if self.failure:
                raise self.failure
        finally:
            self.now -= 1
        self.bodies.append(Body(self.gate))
        return httpx.Response(200, stream=self.bodies[-1])


async def settled() -> None:
    await anyio.wait_all_tasks_blocked()


async def test_never_more_than_slots_on_the_wire():
    wire = CountingWire()
    limit = LimitTransport(wire, slots=3)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(limit.handle_async_request, REQUEST)
        await settled()
        held = wire.seen
        wire.gate.set()

    assert held == 3
    assert wire.seen == 10


async def test_a_slot_is_held_until_the_body_is_read():
    wire = CountingWire()
    limit = LimitTransport(wire, slots=1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.handle_async_request, REQUEST)
        tasks.start_soon(limit.handle_async_request, REQUEST)
        await settled()
        seen = wire.seen
        wire.gate.set()

    assert seen == 1
    response = await limit.handle_async_request(REQUEST)
    assert response.content == b"half, whole"


async def test_a_failure_frees_its_slot():
    wire = CountingWire()
    wire.failure = httpx.ConnectError("refused")
    limit = LimitTransport(wire, slots=1)

    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await limit.handle_async_request(REQUEST)


async def test_a_cancelled_request_frees_its_slot_and_closes_its_response():
    wire = CountingWire()
    limit = LimitTransport(wire, slots=1)

    with anyio.move_on_after(0.01):
        await limit.handle_async_request(REQUEST)
    wire.gate.set()

    assert wire.bodies[0].closed
    assert (await limit.handle_async_request(REQUEST)).status_code == 200


async def test_waiting_for_a_slot_ends():
    wire = CountingWire()
    limit = LimitTransport(wire, slots=1, patience=0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.handle_async_request, REQUEST)
        await settled()
        with pytest.raises(httpx.PoolTimeout):
            await limit.handle_async_request(REQUEST)
        wire.gate.set()


async def test_a_dripping_answer_is_given_up():
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await anyio.sleep(0.001)

    wire = httpx.MockTransport(lambda _: httpx.Response(200, content=drip()))
    limit = LimitTransport(wire, slots=1, total=0.02)

    for _ in range(2):
        with pytest.raises(TotalTimeout):
            await limit.handle_async_request(REQUEST)


async def test_closing_closes_the_inner_transport():
    class Closable(CountingWire):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    wire = Closable()
    await LimitTransport(wire, slots=1).aclose()

    assert wire.closed
