"""Pauses in the outbox: they outlive clients, and each client on the outbox honours them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest

from anytrack_async import AnyTrackClient, Conversion, LaneState, MemoryOutbox, SQLiteOutbox
from anytrack_async.errors import OutboxError
from anytrack_async.outbox.pauses import Pause, read_pauses, save_pause
from anytrack_async.testing.recording import RecordingSink
from tests.delivery.doubles import FakeSink, World

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch):
    monkeypatch.setattr("anytrack_async.delivery.pauses._POLL", 0.02)


def client_of(outbox, sink=None) -> AnyTrackClient:
    return AnyTrackClient(anytrack=False, sinks=[sink or RecordingSink("crm")], outbox=outbox)


async def until(client: AnyTrackClient, state: LaneState) -> None:
    async def is_in_state() -> bool:
        return (await client.stats()).destinations["crm"].state is state

    await wait_for(is_in_state)


async def wait_for(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(10):
        while not await condition():  # noqa: ASYNC110 - other processes send no event
            await anyio.sleep(0.005)


def lead(number: int) -> Conversion:
    return Conversion.lead(click_id=f"c{number}", event_id=f"lead-{number}")


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_pause_outlives_the_client(tmp_path, kind):
    memory, sink = MemoryOutbox(), RecordingSink("crm")

    def outbox():
        return memory if kind == "memory" else SQLiteOutbox(tmp_path / "outbox.db")

    async with client_of(outbox()) as client:
        client.pause("crm", "stock-taking\nuntil noon", by="anna")
    async with client_of(outbox(), sink) as client:
        delivery = await client.submit(lead(1))
        stats = (await client.stats()).destinations["crm"]
        client.resume("crm")
        with anyio.fail_after(10):
            await delivery
        again = (await client.stats()).destinations["crm"]
    async with client_of(outbox()) as client:
        last = (await client.stats()).destinations["crm"]

    assert (stats.state, stats.pause.by) == (LaneState.PAUSED, "anna")
    assert stats.pause.reason == "stock-taking until noon"
    assert stats.reason == "paused by anna: stock-taking until noon"
    assert 0 <= stats.state_for < 3_600
    assert (again.state, again.pause, last.pause) == (LaneState.RUNNING, None, None)
    assert len(sink.conversions) == 1


async def test_every_client_on_the_outbox_obeys(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path, sink = tmp_path / "outbox.db", RecordingSink("crm")
    async with client_of(path, sink) as worker, client_of(path) as other:
        other.pause("crm", by="anna")
        await until(worker, LaneState.PAUSED)
        await until(other, LaneState.PAUSED)
        delivery = await worker.submit(lead(1))
        worker.resume("crm")
        await until(other, LaneState.RUNNING)
        with anyio.fail_after(10):
            await delivery

    assert caplog.text.count("crm: paused by anna") == 2


async def test_a_program_without_lanes_pauses_those_of_others(tmp_path):
    path = tmp_path / "outbox.db"
    tool = SQLiteOutbox(path)
    async with client_of(path) as worker:
        await tool.open([])
        await save_pause(tool, "crm", Pause(destination="crm", since=1.0, by="cron"))
        await until(worker, LaneState.PAUSED)
        state_for = (await worker.stats()).destinations["crm"].state_for
        await save_pause(tool, "crm", None)
        await until(worker, LaneState.RUNNING)
        await tool.aclose()

    assert state_for > 1e9  # since 1970, not since the worker noticed


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"since": null}', b'{"since": 1e999}'])
async def test_a_pause_that_cannot_be_read_is_one(value):
    outbox = MemoryOutbox()
    await outbox.open(["crm"])
    await outbox.save_checkpoint("pause of crm", value)

    pauses = await read_pauses(outbox, ["crm", "other"])
    assert list(pauses) == ["crm"]
    assert "cannot be read" in pauses["crm"].reason or value == b'{"since": 1e999}'


async def test_a_pause_is_stored_when_the_outbox_can_be_written_again(monkeypatch, caplog):
    outbox = MemoryOutbox()
    save, failures = outbox.save_checkpoint, [OutboxError("the disk is full")] * 2

    async def failing(name, value):
        if failures:
            raise failures.pop()
        await save(name, value)

    monkeypatch.setattr(outbox, "save_checkpoint", failing)
    async with client_of(outbox) as client:
        client.pause("crm", by="anna")

        async def is_stored() -> bool:
            return bool(await read_pauses(outbox, ["crm"]))

        await wait_for(is_stored)
        assert (await client.stats()).destinations["crm"].state is LaneState.PAUSED

    assert caplog.text.count("cannot store or read pauses") == 1


async def test_without_checkpoints_a_pause_is_the_clients_own():
    class Plain:
        """An outbox with the required methods only."""

        def __init__(self) -> None:
            self._outbox = MemoryOutbox()

        def __getattr__(self, name):
            if "checkpoint" in name:
                raise AttributeError(name)
            return getattr(self._outbox, name)

    world = World(FakeSink(), outbox=Plain())
    async with world.open():
        world.dispatcher.pause("anytrack", "why", "anna")
        assert world.dispatcher.states() == {"anytrack": LaneState.PAUSED}
        assert (await world.dispatcher.pauses.read(["anytrack"]))["anytrack"].by == "anna"
        world.dispatcher.resume("anytrack")
        assert world.dispatcher.states() == {"anytrack": LaneState.RUNNING}


async def test_a_name_is_one_line_without_control_signs():
    pause = Pause(destination="crm", since=0.0, by="a\nb\x1b[2J\u202ec", reason="x" * 500)

    assert (pause.by, len(pause.reason)) == ("a b?[2J?c", 200)
