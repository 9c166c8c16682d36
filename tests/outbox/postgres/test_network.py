"""An outbox whose server cannot be reached, or not written to."""

from __future__ import annotations

import anyio
import asyncpg
import psycopg
import pytest

from anytrack_async.errors import OutboxError, OutcomeUnknownError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.testing.outbox_rules.base import deliver, sale
from tests.outbox.postgres.proxy import Proxy

pytestmark = pytest.mark.asyncio


async def test_an_append_whose_answer_was_lost_is_a_repeat(postgres_dsn, postgres_schema):
    async with Proxy(postgres_dsn).running() as proxy:
        outbox = PostgresOutbox(proxy.dsn, schema=postgres_schema)
        await outbox.open(["alpha"])
        await outbox.append([sale(1)])
        proxy.cuts_answer_to = b"sale:2"
        with pytest.raises(OutcomeUnknownError, match="do it again, which is safe"):
            await outbox.append([sale(2)])
        assert await outbox.append([sale(2)]) == [Appended.REPEAT]

        claim = await outbox.claim("alpha", 10, 60)
        proxy.cuts_answer_to = b"alpha"
        with pytest.raises(OutcomeUnknownError):
            await outbox.settle(claim)
        assert await outbox.settle(claim) is False
        assert await deliver(outbox, "alpha") == []
        await outbox.aclose()


async def test_every_call_ends_when_the_network_swallows_everything(postgres_dsn, postgres_schema):
    outbox = PostgresOutbox(postgres_dsn, schema=postgres_schema)
    await outbox.open(["alpha"])  # makes the tables, which may take longer
    await outbox.aclose()
    async with Proxy(postgres_dsn).running() as proxy:
        outbox = PostgresOutbox(proxy.dsn, schema=postgres_schema, timeout=0.3)
        await outbox.open(["alpha"])
        await outbox.append([sale(1)])
        claim = await outbox.claim("alpha", 10, 60)
        proxy.is_silent = True
        calls = (
            lambda: outbox.append([sale(2)]),
            lambda: outbox.claim("alpha", 10, 60),
            lambda: outbox.settle(claim),
            lambda: outbox.renew(claim, 60),
            lambda: outbox.reports(["sale:1"]),
            outbox.depths,
            lambda: outbox.dead_letters(),
            lambda: outbox.prune(remember=60),
        )
        ended = []

        async def end(call):
            with anyio.fail_after(30), pytest.raises(OutboxError, match=r"in time|lost|connection"):
                await call()
            ended.append(call)

        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(end, call)
        with anyio.fail_after(30):
            await outbox.aclose()
            with pytest.raises(OutboxError):
                await outbox.open(["alpha"])

    assert len(ended) == len(calls)


async def test_an_append_waits_no_longer_than_it_may(postgres_dsn, postgres_schema):
    outbox = PostgresOutbox(postgres_dsn, schema=postgres_schema)
    await outbox.open(["alpha"])
    outbox.limit_waiting(10.05)
    connection = await asyncpg.connect(postgres_dsn)
    async with connection.transaction():
        await outbox.append_within(connection, [sale(1)])
        with anyio.fail_after(5), pytest.raises(OutcomeUnknownError, match="in time"):
            await outbox.append([sale(1)], waited=10.0)
    await connection.close()
    assert await outbox.append([sale(1)]) == [Appended.REPEAT]
    # A caller that is let in at the last moment gets an answer all the same.
    assert await outbox.append([sale(2)], waited=10.05) == [Appended.NEW]
    await outbox.aclose()


async def test_a_read_only_server_is_told_in_a_sentence(own_database):
    outbox = PostgresOutbox(own_database)
    await outbox.open(["alpha"])
    await outbox.append([sale(1)])
    await outbox.aclose()
    with psycopg.connect(own_database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        with pytest.raises(OutboxError, match=r"read-only.*connect to the primary.*read-write"):
            await outbox.open(["alpha"])
            await outbox.append([sale(2)])
    finally:
        await outbox.aclose()
