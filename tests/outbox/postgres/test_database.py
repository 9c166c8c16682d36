"""Connections: a pool of the caller's, a server that allows no more, a pooler without its flag."""

from asyncio import gather

import asyncpg
import psycopg
import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.postgres import log
from anytrack_async.outbox.postgres.errors import describe
from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.testing.outbox_rules.base import deliver, sales

pytestmark = pytest.mark.asyncio


async def test_transactions_that_have_all_connections_of_a_pool_can_append(
    outbox, postgres_dsn, monkeypatch
):
    monkeypatch.setattr(log, "_COUNTS_WITHIN", 0.01)
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=1) as pool:
        joined = PostgresOutbox(pool, schema=outbox.schema, timeout=0.2)
        await joined.open(["alpha", "beta"])
        async with pool.acquire() as connection, connection.transaction():
            for number in (1, 2):
                appended = await joined.append_within(connection, sales(number))
                assert appended == [Appended.NEW]
            with pytest.raises(OutboxError, match=r"all 1 connections .* raise its max_size"):
                await joined.append(sales(3))
        assert await deliver(joined, "alpha") == [1, 2]
        await joined.aclose()
    with pytest.raises(OutboxError, match="the pool of asyncpg is closed"):
        await joined.open(["alpha"])


async def test_calls_share_the_connections_that_a_role_may_have(outbox, postgres_dsn):
    role = f"role_{outbox.schema}"
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
        owner.execute(f"GRANT USAGE ON SCHEMA {outbox.schema} TO {role}")
        owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {outbox.schema} TO {role}")
        owner.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {outbox.schema} TO {role}")
        try:
            address = postgres_dsn.replace("postgres@", f"{role}@")
            limited = PostgresOutbox(address, schema=outbox.schema)
            await limited.open(["alpha"])
            await gather(*(limited.depths() for _ in range(10)), limited.append(sales(1)))
            await limited.aclose()
        finally:
            owner.execute(f"DROP OWNED BY {role}")
            owner.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("code", ["26000", "42P05"])
async def test_a_pooler_that_the_program_does_not_know_of_is_named(code):
    class PreparedStatementError(Exception):
        sqlstate = code

    assert "behind_pooler=True" in describe(PreparedStatementError("prepared statement"))
