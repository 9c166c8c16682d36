"""The outbox in PostgreSQL fulfils the contract of outboxes, on the servers of two releases."""

import os

import psycopg
import pytest

from anytrack_async.codec.encryption import KeyRing, new_key
from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.outbox.postgres.schema import in_schema, migrate_sql
from anytrack_async.testing.outbox_contract import OutboxContract
from anytrack_async.testing.outbox_rules.claim import ClaimRules
from anytrack_async.testing.outbox_rules.dead_letters import DeadLetterRules
from anytrack_async.testing.outbox_rules.erasing import ErasingRules
from anytrack_async.testing.outbox_rules.history import AttemptRules, FindRules
from anytrack_async.testing.outbox_rules.remote_ids import RemoteIdRules
from anytrack_async.testing.outbox_rules.retention import RetentionRules

TABLES = (
    *("arrival", "checkpoint", "destination", "discarded", "dropped", "exception", "ids", "late"),
    *("lease", "log", "numbering", "page", "progress", "reclaimable", "remote_ids", "retention"),
    *("span", "history_accepted", "history_attempts", "history_batches", "history_outcomes"),
    *("new_accepted", "new_outcomes", "encryption_key"),
)

KEYS = KeyRing(new_key())

_EMPTY = "".join(f"DELETE FROM anytrack.{table};" for table in TABLES) + (
    "INSERT INTO anytrack.retention (pruned) VALUES (0);"
    "INSERT INTO anytrack.numbering VALUES (0, 0, pg_current_snapshot())"
)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr("anytrack_async.outbox.postgres.dead_letters._CHANGED_PER_STEP", 8)


# Between them, these run every function in the database.
if os.environ.get("THOROUGH"):
    OlderContract = OutboxContract
else:

    class OlderContract(ClaimRules, RetentionRules, RemoteIdRules, ErasingRules):
        """The part of the contract that is run on the older server."""


class OnOneSchema:
    """The contract on one schema, emptied before each test: that takes less than a new one."""

    @pytest.fixture(autouse=True)
    def _server(self, emptied):
        emptied.execute(in_schema(_EMPTY, "contract"))
        info = emptied.info
        self.dsn = f"postgresql://{info.user}@{info.host}:{info.port}/{info.dbname}"

    def make(self, folder, clock, capacity):
        return PostgresOutbox(self.dsn, schema="contract", capacity=capacity, clock=clock)


def _migrated(dsn):
    connection = psycopg.connect(dsn, autocommit=True)
    connection.execute("DROP SCHEMA IF EXISTS contract CASCADE")
    connection.execute(migrate_sql("contract"))
    return connection


@pytest.fixture(scope="session")
def newest(postgres_dsn):
    with _migrated(postgres_dsn) as connection:
        yield connection


@pytest.fixture(scope="session")
def older(postgres_15):
    with _migrated(postgres_15.dsn) as connection:
        yield connection


class TestPostgresOutbox(OnOneSchema, OutboxContract):
    @pytest.fixture
    def emptied(self, newest):
        return newest


class TestPostgres15Outbox(OnOneSchema, OlderContract):
    @pytest.fixture
    def emptied(self, older):
        return older


class TestEncryptedPostgresOutbox(
    OnOneSchema, DeadLetterRules, ErasingRules, AttemptRules, FindRules
):
    @pytest.fixture
    def emptied(self, newest):
        return newest

    def make(self, folder, clock, capacity):
        return PostgresOutbox(
            self.dsn, schema="contract", capacity=capacity, clock=clock, keys=KEYS
        )
