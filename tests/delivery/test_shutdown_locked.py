"""Closing has an end, also while another process has the outbox file locked."""

import sqlite3
import time
from contextlib import closing

import anyio
import attrs
import pytest

from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE
from tests.delivery.doubles import QUICK, FakeSink, World, sales

pytestmark = pytest.mark.asyncio

DRAIN = 0.2
LIMIT = 10.0  # a write waits 30 s for the lock, and there are several


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("answers", [True, False])
async def test_closing_does_not_wait_for_another_process(tmp_path, is_cancelled, answers):
    path = tmp_path / "outbox.db"
    sink = FakeSink(answer=None if answers else lambda _: anyio.sleep_forever())
    settings = attrs.evolve(QUICK, drain=DRAIN)
    world = World(sink, FakeSink("meta"), outbox=SQLiteOutbox(path), settings=settings)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        with anyio.CancelScope() as scope:
            async with world.open():
                await world.submit(*sales(3))
                other.execute("BEGIN IMMEDIATE")
                started = time.monotonic()
                if is_cancelled:
                    scope.cancel()
        took = time.monotonic() - started
        other.execute("ROLLBACK")

    assert took < LIMIT
    again = SQLiteOutbox(path)
    await again.open(["anytrack"])
    assert (await again.depths())["anytrack"].waiting in (0, 3)
    await again.aclose()


async def test_a_claim_that_was_cancelled_is_released(tmp_path):
    path = tmp_path / "outbox.db"
    outbox = SQLiteOutbox(path)
    await outbox.open(["anytrack"])
    await outbox.append(sales(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with anyio.move_on_after(0.05) as scope:
            await outbox.claim("anytrack", 1, LEASE)
        other.execute("ROLLBACK")

    assert scope.cancelled_caught
    assert len((await outbox.claim("anytrack", 1, LEASE)).entries) == 1
    await outbox.aclose()
