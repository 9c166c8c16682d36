"""The outbox in PostgreSQL is shared as the contract says; `test_contract` has the rest of it."""

from contextlib import asynccontextmanager

import asyncpg
import pytest
from anyio import to_thread

from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.testing.shared_outbox_contract import SharedRules


class Transaction:
    """A transaction of asyncpg."""

    def __init__(self, connection):
        self.connection = connection
        self.execute = connection.execute
        self._transaction = connection.transaction()
        self.start = self._transaction.start
        self.commit = self._transaction.commit
        self.rollback = self._transaction.rollback


class TestSharedPostgresOutbox(SharedRules):
    @pytest.fixture(autouse=True)
    def _server(self, own_postgres, postgres_schema):
        self.postgres, self.schema = own_postgres, postgres_schema

    @property
    def server(self):
        return "127.0.0.1", self.postgres.port

    def make(self, folder, clock, capacity):
        return PostgresOutbox(self.postgres.dsn, schema=self.schema, capacity=capacity, clock=clock)

    def make_through(self, port, clock, timeout):
        dsn = self.postgres.dsn.replace(f":{self.postgres.port}/", f":{port}/")
        return PostgresOutbox(dsn, schema=self.schema, clock=clock, timeout=timeout)

    @asynccontextmanager
    async def begin(self):
        connection = await asyncpg.connect(self.postgres.dsn)
        transaction = Transaction(connection)
        await transaction.start()
        try:
            yield transaction
        finally:
            await connection.close()

    async def crash(self):
        await to_thread.run_sync(self.postgres.crash)
        await to_thread.run_sync(self.postgres.start)
