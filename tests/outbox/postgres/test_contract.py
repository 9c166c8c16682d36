"""The outbox in PostgreSQL fulfils the contract of outboxes."""

import pytest

from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.testing.outbox_contract import OutboxContract


class TestPostgresOutbox(OutboxContract):
    @pytest.fixture(autouse=True)
    def _server(self, make_outbox):
        self.make_outbox = make_outbox

    def make(self, folder, clock, capacity):
        return self.make_outbox(capacity=capacity, clock=clock)


class TestPostgres15Outbox(OutboxContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_15, postgres_schema):
        self.dsn, self.schema = postgres_15.dsn, postgres_schema

    def make(self, folder, clock, capacity):
        return PostgresOutbox(self.dsn, schema=self.schema, capacity=capacity, clock=clock)
