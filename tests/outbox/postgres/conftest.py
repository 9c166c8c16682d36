"""Outboxes in PostgreSQL: each test has a schema of its own, on one server for all."""

import pytest

from anytrack_async.outbox.postgres.outbox import PostgresOutbox


@pytest.fixture
def make_outbox(postgres_dsn, postgres_schema):
    """Return outboxes in the schema of the test, not open yet."""

    def make(**options):
        return PostgresOutbox(postgres_dsn, schema=postgres_schema, **options)

    return make
