"""Real signals to this process, while a client is open; no drain would end in time."""

from __future__ import annotations

import os
import signal

import anyio
import httpx
import pytest

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    DeliverySettings,
    MemoryOutbox,
    UndeliveredError,
)
from anytrack_async.cli.output import Interrupted
from anytrack_async.cli.signals import interruptible

pytestmark = pytest.mark.asyncio

LEAD = Conversion.lead(order_id="1")


class Service:
    """AnyTrack, which answers once it is opened."""

    def __init__(self) -> None:
        self.asked, self.gate = anyio.Event(), anyio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        await self.gate.wait()
        return httpx.Response(201, json={"status": "success", "conversion_id": "c-1"})

    def client(self, outbox=None) -> AnyTrackClient:
        transport = httpx.MockTransport(self)
        slow = DeliverySettings(drain=600.0)
        return AnyTrackClient("key", "account", transport=transport, outbox=outbox, delivery=slow)


@pytest.fixture
def service() -> Service:
    return Service()


async def track(client: AnyTrackClient, outbox: str | None) -> None:
    async with interruptible(client, outbox):
        await client.submit(LEAD)
        await anyio.sleep_forever()


async def ctrl_c(capsys) -> str:
    """Send Ctrl-C; return what is written to standard error then."""
    os.kill(os.getpid(), signal.SIGINT)
    while not (written := capsys.readouterr().err):
        await anyio.lowlevel.checkpoint()
    return written


async def test_the_first_one_finishes_what_is_in_memory(service, capsys):
    written = []

    async def stop_and_answer() -> None:
        await service.asked.wait()
        written.append(await ctrl_c(capsys))
        service.gate.set()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tg:
            tg.start_soon(stop_and_answer)
            with pytest.raises(Interrupted) as caught:
                await track(service.client(), None)

    assert written == ["interrupted: finishing 1 conversion; press Ctrl-C again to stop at once\n"]
    assert caught.value.exit_code == 130
    assert caught.value.__cause__ is None


async def test_the_second_one_stops_and_names_what_is_lost(service, capsys):
    async def stop_twice() -> None:
        await service.asked.wait()
        await ctrl_c(capsys)
        os.kill(os.getpid(), signal.SIGINT)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tg:
            tg.start_soon(stop_twice)
            with pytest.raises(Interrupted) as caught:
                await track(service.client(), None)

    assert isinstance(caught.value.__cause__, UndeliveredError)
    assert caught.value.__cause__.event_ids == {"anytrack": ["lead:1"]}


async def test_an_outbox_on_disk_is_left_by_the_first_one(service, capsys, tmp_path):
    path = str(tmp_path / "outbox.db")
    written = []

    async def stop() -> None:
        await service.asked.wait()
        written.append(await ctrl_c(capsys))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tg:
            tg.start_soon(stop)
            with pytest.raises(Interrupted):
                await track(service.client(path), path)

    (line,) = written
    assert line == (
        f"interrupted: 1 conversion not delivered yet, kept in {path}: `anytrack deliver`, or the "
        "next client that opens it, continues\n"
    )


async def test_sigterm_has_its_own_exit_code_and_may_be_quiet(service, capsys):
    service.gate.set()
    with anyio.fail_after(30), pytest.raises(Interrupted) as caught:
        async with interruptible(service.client(), None, quiet=True):
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep_forever()

    assert caught.value.exit_code == 143
    assert capsys.readouterr().err == ""


async def test_a_signal_ends_the_opening(service):
    class Locked(MemoryOutbox):
        async def open(self, destinations, *, from_start=()):
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep_forever()

    with anyio.fail_after(30), pytest.raises(Interrupted):
        await track(service.client(Locked()), None)


async def test_a_signal_just_before_the_work_begins_ends_it():
    class Opening:
        """A client that is open, in spite of a signal."""

        outbox = MemoryOutbox()

        async def __aenter__(self):
            os.kill(os.getpid(), signal.SIGINT)
            with anyio.CancelScope(shield=True):
                for _ in range(50):  # the signal is handled meanwhile
                    await anyio.lowlevel.checkpoint()

        async def __aexit__(self, *_):
            pass

    with anyio.fail_after(30), pytest.raises(Interrupted):
        async with interruptible(Opening(), None):
            await anyio.sleep_forever()


async def test_an_outbox_that_cannot_be_counted_delays_nothing(service, capsys):
    class Locked(MemoryOutbox):
        async def depths(self):
            await anyio.sleep_forever()

    service.gate.set()
    with anyio.fail_after(30), pytest.raises(Interrupted):
        async with interruptible(service.client(Locked()), None):
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep_forever()

    assert capsys.readouterr().err == ""


async def test_without_a_signal_the_blocks_error_is_raised_unchanged(service):
    service.gate.set()
    with pytest.raises(LookupError, match="mine"):
        async with interruptible(service.client(), None):
            raise LookupError("mine")
