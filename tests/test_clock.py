"""Setting the wall clock of the machine changes neither waits nor ages nor retention."""

import runpy
import subprocess
import sys
import textwrap
import time

import pytest

from anytrack_async import clock

DAY = 86_400.0


def test_steady_time_is_the_date(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)

    assert runpy.run_path(clock.__file__)["steady_time"]() == 1_000_000.0


@pytest.mark.parametrize("jump", [-3_600.0, 31 * DAY])
def test_steady_time_continues_when_the_wall_clock_is_set(monkeypatch, jump):
    monotonic, wall = [50.0], [1_000_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: monotonic[0])
    monkeypatch.setattr(time, "time", lambda: wall[0])
    steady_time = runpy.run_path(clock.__file__)["steady_time"]

    monotonic[0], wall[0] = 650.0, wall[0] + jump

    assert steady_time() == 1_000_600.0


# In a process of its own, because its wall clock must be a fake before anything is imported.
SCENARIO = """
import asyncio, sys, time

real_time, offset = time.time, 0.0
time.time = lambda: real_time() + offset

from anytrack_async import MemoryOutbox, SQLiteOutbox
from anytrack_async.destinations.sink import Throttled
from anytrack_async.events import Retried
from anytrack_async.models.outcome import Outcome
from anytrack_async.settings.delivery import DAY, DeliverySettings
from anytrack_async.settings.http import Retry
from tests.delivery.doubles import FakeSink, World, ids, sales, statuses

SETTINGS = DeliverySettings(
    retry=Retry(attempts=8, base=0.01, cap=0.02),
    probe=Retry(base=0.01, cap=0.02),
    poll=0.01,
    drain=2.0,
)
answers = []


def answer(batch):
    return answers.pop()(batch) if answers else None


def throttle(_):
    raise Throttled("slow down", after=0.2)


def retry(batch):
    return [Outcome.retry("locked", after=0.2)] + [Outcome.delivered(None)] * (len(batch) - 1)


async def main(outbox):
    global offset
    sink = FakeSink(answer=answer, batch=20)
    world = World(sink, outbox=outbox, settings=SETTINGS)
    async with world.dispatcher:
        for jump in (-3_600.0, 8 * DAY, 31 * DAY, -400 * DAY):
            for failure in (throttle, retry):
                batch = sales(20, f"{jump}{failure.__name__}")
                answers[:] = [failure]
                deliveries = list(await world.submit(*batch))
                await world.until(lambda: world.events and type(world.events[-1]) is Retried)
                offset += jump
                await outbox.prune(remember=30 * DAY)
                deliveries += await world.submit(*sales(3, f"new{jump}{failure.__name__}"))
                for delivery in deliveries:
                    await asyncio.wait_for(asyncio.shield(wait(delivery)), 10)
                assert {statuses(delivery)["anytrack"] for delivery in deliveries} == {"delivered"}
                calls = len(sink.calls)
                await outbox.prune(remember=30 * DAY)
                for delivery in await world.submit(*batch):
                    await delivery
                assert len(sink.calls) == calls, "sent again"
        # A day forth and back in small steps, as a clock that is corrected gradually, while
        # batches are in flight, wait for another attempt, and are pruned.
        for step in (2_400.0, -2_400.0):
            answers[:] = [retry, throttle, retry]
            batch = sales(60, f"step{step}")
            deliveries = await world.submit(*batch)
            for _ in range(36):
                offset += step
                await outbox.prune(remember=30 * DAY)
                await asyncio.sleep(0)
            for delivery in deliveries:
                await asyncio.wait_for(asyncio.shield(wait(delivery)), 10)
            assert {statuses(delivery)["anytrack"] for delivery in deliveries} == {"delivered"}
            calls = len(sink.calls)
            for delivery in await world.submit(*batch):
                await delivery
            assert len(sink.calls) == calls, "sent again"
    assert not await world_dead(outbox)


async def wait(delivery):
    await delivery


async def world_dead(outbox):
    await outbox.open([])
    dead = await outbox.dead_letters(limit=1000)
    await outbox.aclose()
    return dead


asyncio.run(main(SQLiteOutbox(sys.argv[1]) if len(sys.argv) > 1 else MemoryOutbox()))
"""


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_a_running_client_does_not_notice_that_the_date_is_set(tmp_path, engine):
    arguments = [str(tmp_path / "outbox.db")] if engine == "sqlite" else []

    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCENARIO), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert process.returncode == 0, process.stderr
