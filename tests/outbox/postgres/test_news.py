"""Notices between processes, and the networks and poolers that swallow them."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import asyncpg
import pytest

from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.postgres import news as news_module
from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.testing.outbox_rules.base import deliver, sale, sales
from tests.delivery.doubles import World

pytestmark = pytest.mark.asyncio


class Ears:
    """Counts what wakes a process."""

    def __init__(self):
        self.count, self.changed = 0, anyio.Event()

    def __call__(self, destination):
        self.count += 1
        self.changed.set()

    async def hear(self, count):
        with anyio.fail_after(20):
            while self.count < count:
                self.changed = anyio.Event()
                await self.changed.wait()


@pytest.fixture
def make(postgres_dsn, postgres_schema):
    return lambda dsn=postgres_dsn, **options: PostgresOutbox(
        dsn, schema=postgres_schema, **options
    )


@asynccontextmanager
async def watched(here, there):
    """Open two outboxes of one schema, each watched by its own `Ears`, which listen already."""
    ears, others = Ears(), Ears()
    await here.open(["alpha"])
    await there.open(["alpha"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there.watch, others)
        tasks.start_soon(here.watch, ears)
        await ears.hear(1)
        await others.hear(1)
        yield ears, others
        tasks.cancel_scope.cancel()
    await here.aclose()
    await there.aclose()


async def test_a_process_hears_of_the_conversions_of_another_but_not_of_its_own(
    make, monkeypatch, postgres_dsn
):
    monkeypatch.setattr(news_module, "_AFTER_JOINING", (0.001,))
    here, there = make(), make()
    async with watched(here, there) as (ears, own_ears):
        await there.append(sales(1))
        await ears.hear(2)
        assert own_ears.count == 1

        connection = await asyncpg.connect(postgres_dsn)
        async with connection.transaction():
            await there.append_within(connection, sales(2))
        await connection.close()
        await own_ears.hear(2)


async def test_many_appends_make_one_notice(make, monkeypatch):
    monkeypatch.setattr(news_module, "NOTICE_EVERY", 3600.0)
    here, there = make(), make()
    async with watched(here, there) as (ears, _):
        for number in range(20):
            await there.append(sales(number))
        await ears.hear(2)
        await here.depths()  # whatever else was sent has arrived by now
        assert ears.count == 2


async def test_a_cut_connection_is_made_again(make, monkeypatch, postgres_dsn):
    monkeypatch.setattr(news_module, "_RECONNECT", (0.01, 0.01))
    other = make()
    async with watched(make(), other) as (ears, _):
        admin = await asyncpg.connect(postgres_dsn)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
        )
        await admin.close()
        await ears.hear(2)
        await other.append(sales(1))
        await ears.hear(3)


async def test_without_notices_conversions_are_found_by_the_next_poll(make, caplog, monkeypatch):
    monkeypatch.setattr(news_module, "_RECONNECT", (0.01, 0.01))
    other = make()
    world = World(outbox=make(listen_dsn="postgresql://x:secret@127.0.0.1:9/x"), poll=0.05)
    async with world.open():
        await other.open(["anytrack"])
        await other.append(sales(1))
        await world.until(lambda: world.sinks[0].delivered == ["sale:1"])
        await other.aclose()

    assert caplog.text.count("cannot listen for new conversions") == 1
    assert "secret" not in caplog.text


async def test_a_pooler_that_swallows_notices_is_told_once(make, pgbouncer, caplog, monkeypatch):
    monkeypatch.setattr(news_module, "_PROBE_TIMEOUT", 0.5)
    monkeypatch.setattr(news_module, "_RETRY_WITHOUT_NOTICES", 0.01)
    outbox, ears = make(pgbouncer.dsn, listen_dsn=pgbouncer.dsn), Ears()
    await outbox.open(["alpha"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.watch, ears)
        await ears.hear(3)
        tasks.cancel_scope.cancel()
    await outbox.aclose()

    assert caplog.text.count("notices of PostgreSQL do not arrive") == 1
    assert "listen_dsn" in caplog.text


async def test_behind_a_pooler_everything_works_with_a_direct_address_to_listen_at(
    make, pgbouncer, postgres_dsn
):
    outbox, other, ears = make(pgbouncer.dsn, listen_dsn=postgres_dsn), make(), Ears()
    await outbox.open(["alpha"])
    await other.open(["alpha"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.watch, ears)
        tasks.start_soon(other.watch, Ears())
        await ears.hear(1)
        await other.append([sale(1)])
        await ears.hear(2)
        # More calls than the pooler has connections: each statement meets another session.
        async with anyio.create_task_group() as calls:
            for number in range(2, 12):
                calls.start_soon(outbox.append, [sale(number)])
        assert await outbox.append([sale(1)]) == [Appended.REPEAT]
        assert sorted(await deliver(outbox, "alpha")) == [*range(1, 12)]
        tasks.cancel_scope.cancel()
    await outbox.aclose()
    await other.aclose()


async def test_a_connection_that_hears_its_probes_stays(make, monkeypatch, caplog):
    monkeypatch.setattr(news_module, "_PROBE_EVERY", 0.001)
    outbox, ears, probes = make(), Ears(), Ears()
    await outbox.open(["alpha"])
    notify = outbox._news._notify

    async def count(sender):
        probes(sender)
        return await notify(sender)

    outbox._news._notify = count
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.watch, ears)
        await probes.hear(5)
        tasks.cancel_scope.cancel()
    await outbox.aclose()

    assert ears.count == 1
    assert not caplog.records
