"""A client belongs to one event loop of asyncio and to one process: anything else is an error."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
import sniffio

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    Delivery,
    MemoryOutbox,
    OutboxError,
    SQLiteOutbox,
    WrongEventLoopError,
)
from tests.client.service import QUICK, SALE, Service

ROOT = Path(__file__).parents[2]

Call = Callable[[AnyTrackClient], Awaitable[object]]


async def replace_key(client: AnyTrackClient) -> None:
    client.use_api_key("another")


async def limit_drain(client: AnyTrackClient) -> None:
    client.limit_drain(1)


async def resume(client: AnyTrackClient) -> None:
    client.resume("anytrack")


CALLS: dict[str, Call] = {
    "submit": lambda client: client.submit(SALE),
    "submit_many": lambda client: client.submit_many([SALE]),
    "track_many": lambda client: anext(client.track_many([SALE])),
    "track_conversion": lambda client: client.track_conversion(SALE),
    "track_sale": lambda client: client.track_sale("k1", 5),
    "sync_with_meta_capi": lambda client: client.sync_with_meta_capi(SALE),
    "get_conversions": lambda client: client.get_conversions(),
    "get_daily_report": lambda client: client.get_daily_report(),
    "stats": lambda client: client.stats(),
    "dead_letters": lambda client: anext(client.dead_letters()),
    "replay": lambda client: client.replay("meta"),
    "discard": lambda client: client.discard("meta", ["sale:1001"]),
    "edit": lambda client: client.edit("sale:1001", SALE),
    "edit_fields": lambda client: client.edit("sale:1001", revenue=1),
    "start": lambda client: client.start(),
    "use_api_key": replace_key,
    "limit_drain": limit_drain,
    "resume": resume,
}


def in_another_loop(main: Callable[[], Coroutine[Any, Any, object]]) -> Coroutine[Any, Any, object]:
    """Run *main* in an event loop of its own, in a thread."""
    return asyncio.to_thread(lambda: asyncio.run(asyncio.wait_for(main(), 5)))


async def refusal(call: Call, client: AnyTrackClient) -> str:
    """Return the message of the error that *call* must raise at once."""
    with pytest.raises(WrongEventLoopError) as caught:
        await call(client)
    return str(caught.value)


# Another event loop


@pytest.mark.asyncio
@pytest.mark.parametrize("call", [*CALLS.values(), lambda client: client.aclose()])
async def test_every_call_from_another_event_loop_is_an_error(service: Service, call: Call):
    async with service.client(sinks=[service.meta()]) as client:
        message = await in_another_loop(lambda: refusal(call, client))
        await client.track_conversion(SALE)  # undisturbed

    assert "open in another event loop" in str(message)
    assert "run_coroutine_threadsafe" in str(message)
    assert [body["custom_data"]["event_id"] for body in service.bodies()] == [SALE.event_id]


@pytest.mark.asyncio
@pytest.mark.parametrize("at", [False, True])
@pytest.mark.parametrize("many", [False, True])
async def test_a_delivery_cannot_be_awaited_in_another_event_loop(
    service: Service, at: bool, many: bool
):
    async def wait(delivery: Delivery) -> object:
        return await (delivery.at("anytrack") if at else delivery)

    service.gate = anyio.Event()
    async with service.client() as client:
        if many:
            _, delivery = await client.submit_many([attrs.evolve(SALE, order_id="1"), SALE])
        else:
            delivery = await client.submit(SALE)
        with pytest.raises(WrongEventLoopError, match="'sale:1001' was submitted in another"):
            await in_another_loop(lambda: wait(delivery))
        service.gate.set()
        await wait(delivery)
        assert await in_another_loop(lambda: wait(delivery))  # nothing to wait for


def test_a_client_works_in_one_event_loop_after_another(service: Service, tmp_path: Path):
    """Everything that belongs to an event loop is made when the client is opened."""
    client = service.client(
        sinks=[service.meta(), service.hubspot()],
        outbox=MemoryOutbox(capacity=5),
        delivery=attrs.evolve(QUICK, prune_every=0.01, accept_within=60.0),
    )
    service.answer("/v1/reports/daily", {"total_revenue": 5})

    async def main(run: int) -> None:
        async with client:
            await anyio.wait_all_tasks_blocked()  # idle tasks wait for the events of this loop
            for number in range(30 if run else 3):  # back-pressure too, but not at first
                await client.submit(Conversion.sale(revenue=1, order_id=f"{run}-{number}"))
            await client.get_daily_report()

    for run in range(3):
        asyncio.run(main(run))

    assert len(service.bodies()) == 63


@pytest.mark.parametrize("closes", [False, True])
def test_an_event_loop_that_was_closed_too_early_is_named(service: Service, closes: bool):
    loop = asyncio.new_event_loop()
    client = service.client()
    loop.run_until_complete(client.start())
    loop.close()
    call: Call = (lambda client: client.aclose()) if closes else CALLS["submit"]
    try:
        assert "has ended" in asyncio.run(refusal(call, client))
    finally:
        forget(client)


def forget(client: AnyTrackClient) -> None:
    """Spare the report at the end of the process."""
    run = client._supervisor._run
    assert run is not None
    run.was_opened = False
    run.task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_reads_of_a_client_that_was_never_open_use_one_event_loop(service: Service):
    service.answer("/v1/reports/daily", {"total_revenue": 5})
    client = service.client()
    asyncio.run(client.get_daily_report())

    message = asyncio.run(refusal(CALLS["get_daily_report"], client))
    assert "connections in another event loop" in message
    asyncio.run(client.aclose())


# Another process


def in_child(check: Callable[[], None]) -> None:
    """Run *check* in a forked child, which must not raise."""
    if not (child := os.fork()):
        try:
            check()
        except BaseException as exc:
            os.write(2, f"in the child: {exc!r}\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.parametrize("durable", [False, True], ids=["memory", "file"])
def test_a_forked_process_gets_an_error_at_once_and_closing_there_does_nothing(
    service: Service, tmp_path: Path, durable: bool
):
    outbox: Any = SQLiteOutbox(tmp_path / "outbox.db") if durable else MemoryOutbox()
    client = service.client(sinks=[service.meta()], outbox=outbox)

    async def child() -> None:
        for call in CALLS.values():
            assert "before this process was forked" in await refusal(call, client)
        await client.aclose()
        for call in CALLS.values():
            assert "before this process was forked" in await refusal(call, client)

    with asyncio.Runner() as runner:
        runner.run(client.start())
        delivery = runner.run(client.submit(SALE))
        in_child(lambda: asyncio.run(asyncio.wait_for(child(), 5)))
        # The event loop of the parent, which nobody should run in a child.
        in_child(lambda: runner.get_loop().run_until_complete(child()))
        assert runner.run(await_it(delivery)).delivered
        runner.run(client.aclose())

    assert len(service.bodies()) == len(service.bodies("graph.facebook.com")) == 1


async def await_it(delivery: Delivery) -> Any:
    return await delivery


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.asyncio
async def test_a_child_that_is_forked_in_the_block_may_leave_it(service: Service):
    async with service.client() as client:
        await client.submit(SALE)

        def leave() -> None:
            asyncio.run(client.__aexit__(None, None, None))

        in_child(leave)

    assert len(service.bodies()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.parametrize("durable", [False, True], ids=["memory", "file"])
def test_a_forked_process_may_use_a_client_of_its_own(
    service: Service, tmp_path: Path, durable: bool
):
    outbox: Any = SQLiteOutbox(tmp_path / "outbox.db") if durable else MemoryOutbox()

    async def own_client() -> None:
        if not durable:
            with pytest.raises(OutboxError, match="before this process was forked"):
                await service.client(outbox=outbox).start()
        async with service.client(outbox=outbox if durable else MemoryOutbox()) as client:
            await client.track_sale("k1", 5, order_id="child")

    with asyncio.Runner() as runner:
        parent = service.client(outbox=outbox)
        runner.run(parent.start())
        in_child(lambda: asyncio.run(asyncio.wait_for(own_client(), 5)))
        runner.run(parent.track_conversion(SALE))
        runner.run(parent.aclose())


# Another library


@pytest.mark.asyncio
@pytest.mark.parametrize("opening", ["start", "__aenter__"])
async def test_trio_is_an_error_on_opening(service: Service, opening: str):
    """Also trio as a guest of asyncio, so that both run in this thread."""
    client = service.client()
    token = sniffio.current_async_library_cvar.set("trio")
    try:
        with pytest.raises(WrongEventLoopError, match="needs asyncio, but trio runs this task"):
            await getattr(client, opening)()
    finally:
        sniffio.current_async_library_cvar.reset(token)
    async with client:
        await client.track_conversion(SALE)


def test_no_event_loop_at_all_is_an_error(service: Service):
    with pytest.raises(WrongEventLoopError, match="no async library"):
        service.client().start().send(None)


# An event loop that ends


@pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("durable", [False, True], ids=["memory", "file"])
def test_a_client_that_was_not_closed_names_what_it_had_and_can_be_opened_again(
    service: Service, durable: bool, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    options = {"outbox": tmp_path / "outbox.db"} if durable else {}
    client = service.client(delivery=attrs.evolve(QUICK, drain=60), **options)
    caplog.set_level(logging.ERROR)

    async def abandon() -> None:
        service.gate = anyio.Event()
        await client.start()
        await client.submit(SALE)
        await anyio.wait_all_tasks_blocked()

    with pytest.warns(ResourceWarning, match="not closed before its event loop ended"):
        asyncio.run(abandon())
    service.gate.set()

    assert SALE.event_id in caplog.text.split("event loop ended")[1]
    assert not [*tmp_path.glob("*-owner-*")]

    async def again() -> None:
        async with client:
            await client.track_sale("k1", 5, order_id="2")

    requests = len(service.requests)
    asyncio.run(again())
    assert len(service.requests) == requests + 2


SCRIPT = """
import asyncio, sys
import httpx
from anytrack_async import AnyTrackClient

client = AnyTrackClient(
    "key",
    "account",
    outbox=sys.argv[1],
    transport=httpx.MockTransport(lambda _: httpx.Response(503)),
)

async def main():
    await client.start()
    await client.submit_many([])
    delivery = await asyncio.wait_for(track(), 5)

async def track():
    from anytrack_async import Conversion
    return await client.submit(Conversion.sale(order_id="1001", revenue=5))

if sys.argv[2] == "run":
    asyncio.run(main())
else:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    if sys.argv[2] == "close":
        loop.close()
"""


@pytest.mark.parametrize("end", ["run", "close", "forget"])
def test_a_process_ends_although_a_client_was_not_closed(tmp_path: Path, end: str):
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", SCRIPT]
    result = subprocess.run(
        [*command, tmp_path / "outbox.db", end],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert result.stderr.count("ResourceWarning: the client was not closed before") == 1
    assert "await client.aclose()" in result.stderr
