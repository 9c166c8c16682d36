"""Outboxes in PostgreSQL: each test has a schema of its own, on one server for all."""

import asyncpg
import pytest
import pytest_asyncio

from anytrack_async.outbox.postgres.outbox import PostgresOutbox


@pytest.fixture
def make_outbox(postgres_dsn, postgres_schema):
    """Return outboxes in the schema of the test, not open yet."""

    def make(**options):
        return PostgresOutbox(postgres_dsn, schema=postgres_schema, **options)

    return make


@pytest_asyncio.fixture
async def outbox(make_outbox):
    """An open outbox for "alpha" and "beta"."""
    outbox = make_outbox()
    await outbox.open(["alpha", "beta"])
    yield outbox
    await outbox.aclose()


@pytest.fixture
def note_statements(monkeypatch):
    """Return a function that begins to note the statements that outboxes run, and their list."""

    def note(*outboxes):
        ran = []

        def noting(run):
            def run_and_note(sql, *args):
                ran.append(sql)
                return run(sql, *args)

            return run_and_note

        for outbox in outboxes:
            for name in ("fetch_raw", "execute_raw"):
                monkeypatch.setattr(outbox._db, name, noting(getattr(outbox._db, name)))
        return ran

    return note


@pytest_asyncio.fixture
async def connect(postgres_dsn):
    """Open connections to the database, as the program of a user would."""
    connections = []

    async def connect():
        connections.append(await asyncpg.connect(postgres_dsn, timeout=10, command_timeout=10))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.terminate()
