"""What wakes lanes: news of the outbox."""

from __future__ import annotations

import anyio
import pytest

from anytrack_async.delivery import lanes as lanes_module
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import FakeSink, World, run_ready_tasks, sales

pytestmark = pytest.mark.asyncio


class Telling(MemoryOutbox):
    """A shared outbox that tells its news when a test says so."""

    shared = True
    fails = 0

    def __init__(self):
        super().__init__()
        self.began = anyio.Event()

    async def watch(self, wake):
        if self.fails:
            self.fails -= 1
            raise OSError("jane@example.com")
        self.wake = wake
        self.began.set()
        await anyio.sleep_forever()


async def test_news_wake_a_lane_before_its_next_poll():
    outbox = Telling()
    world = World(FakeSink("meta"), FakeSink("anytrack"), outbox=outbox, poll=3600.0)
    meta, anytrack = world.sinks
    async with world.open():
        await run_ready_tasks()
        await outbox.append(sales(2))
        await run_ready_tasks()
        assert not meta.delivered

        outbox.wake("meta")
        outbox.wake("unknown here")
        await world.until(lambda: len(meta.delivered) == 2)
        assert not anytrack.delivered
        outbox.wake(None)
        await world.until(lambda: len(anytrack.delivered) == 2)


async def test_lanes_ask_again_for_news_that_ended(caplog, monkeypatch):
    monkeypatch.setattr(lanes_module, "_NEWS_AGAIN", 0.001)
    outbox = Telling()
    outbox.fails = 3
    async with World(outbox=outbox, poll=3600.0).open() as world:
        with anyio.fail_after(5):
            await outbox.began.wait()
        await outbox.append(sales(1))
        outbox.wake(None)
        await world.until(lambda: world.sinks[0].delivered)

    assert caplog.text.count("tells no news") == 1
    assert "jane" not in caplog.text
