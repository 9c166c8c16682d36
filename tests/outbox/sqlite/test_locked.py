"""Appending while another program has the outbox file locked."""

import asyncio
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.sqlite import group_commit
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from tests.delivery.doubles import FakeSink, World

pytestmark = pytest.mark.asyncio

ACCEPT_WITHIN = 0.3
LIMIT = 15.0  # seconds; without `accept_within` each call waits for the 30 s of `busy_timeout`


@pytest.fixture
def other(outbox, path):
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as sql:
        sql.execute("BEGIN IMMEDIATE")
        yield sql


async def test_a_client_fails_in_time_and_writes_nothing_later(path):
    started = time.monotonic()
    world = World(FakeSink(), outbox=SQLiteOutbox(path), accept_within=ACCEPT_WITHIN)
    async with world.open():
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OutboxError, match=r"locked by another program.*nothing of it was"):
                await world.submit(*sales(1, 2))
            other.execute("ROLLBACK")
        assert time.monotonic() - started < LIMIT
        await world.submit(*sales(3))
        assert set(await world.outbox.reports(["sale:1", "sale:2", "sale:3"])) == {"sale:3"}


async def test_a_claim_that_waits_for_the_lock_does_not_delay_the_error(outbox, other):
    outbox.limit_waiting(ACCEPT_WITHIN)
    forgetting = asyncio.create_task(outbox.forget("beta"))
    await asyncio.sleep(0)
    started = time.monotonic()
    with pytest.raises(OutboxError, match="locked by another program"):
        await outbox.append(sales(1))

    assert time.monotonic() - started < LIMIT
    assert not forgetting.done()
    other.execute("ROLLBACK")
    await forgetting
    await outbox.append(sales(2))
    assert list(await outbox.reports(["sale:1", "sale:2"])) == ["sale:2"]


async def test_a_later_call_of_the_same_group_may_wait_longer(outbox, other, monkeypatch):
    now = 0.0
    monkeypatch.setattr(group_commit, "monotonic", lambda: now)
    outbox.limit_waiting(10.0)
    may_go_on = threading.Event()
    blocking = asyncio.create_task(outbox._run(lambda _: may_go_on.wait()))
    early = asyncio.create_task(outbox.append(sales(1)))
    await asyncio.sleep(0)
    now = 5.0
    late = asyncio.create_task(outbox.append([sale(2), sale(3)]))
    await asyncio.sleep(0)
    now = 12.0
    may_go_on.set()
    await blocking

    with pytest.raises(OutboxError, match=r"for the 12\.0 s that this call waited"):
        await early
    assert not late.done()
    other.execute("ROLLBACK")
    assert len(await late) == 2
    claim = await outbox.claim("alpha", 9, LEASE)
    assert [c.event_id for c in claim.entries.conversions] == ["sale:2", "sale:3"]


async def test_the_time_that_a_caller_waited_for_room_counts(outbox, other, monkeypatch):
    now = 100.0
    monkeypatch.setattr(group_commit, "monotonic", lambda: now)
    outbox.limit_waiting(10.0)
    may_go_on = threading.Event()
    blocking = asyncio.create_task(outbox._run(lambda _: may_go_on.wait()))
    patient = asyncio.create_task(outbox.append(sales(1)))
    await asyncio.sleep(0)
    waited = asyncio.create_task(outbox.append(sales(2), waited=7.0))
    await asyncio.sleep(0)
    now = 104.0
    may_go_on.set()
    await blocking

    with pytest.raises(OutboxError, match=r"for the 11\.0 s that this call waited"):
        await waited
    assert not patient.done()
    other.execute("ROLLBACK")
    assert len(await patient) == 1
