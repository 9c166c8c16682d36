"""Fixtures with real servers, and what a test run says about servers that it does not have.

==================  ==========================================================================
fixture             what it is
==================  ==========================================================================
`postgres`          a `Database`: PostgreSQL 18, or what ``ANYTRACK_TEST_POSTGRES`` names
`postgres_15`       the same of version 15, for the contract suite
`postgres_dsn`      the address of a database in `postgres` that this process's tests share
`postgres_schema`   the name of a schema in it that no other test uses; it does not exist yet
`own_database`      the address of an empty database in `postgres`, dropped after the test
`own_postgres`      a `PostgresServer` that only the module's tests use: they may crash it
`pgbouncer`         a `PgBouncer` in transaction mode in front of `postgres_dsn`
`nats_url`          the address of a NATS server with JetStream, or ``ANYTRACK_TEST_NATS``
`own_nats`          a `NatsServer` that only the module's tests use: they may kill it
==================  ==========================================================================

Each process of a parallel run starts its own servers, when a test first asks for them: 0.7 seconds
for PostgreSQL, less for NATS. A test whose server is missing is skipped, and the end of the run
says so; with ``ANYTRACK_REQUIRE_SERVERS=1`` it fails, unless no wheel has the server (PostgreSQL
15, PgBouncer): those fail with ``ANYTRACK_REQUIRE_SERVERS=all``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import pytest

from tests.servers import nats as nats_servers
from tests.servers import postgres as postgres_servers
from tests.servers.nats import NatsServer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import Database, PostgresServer
from tests.servers.process import ServerMissingError

REQUIRE = "ANYTRACK_REQUIRE_SERVERS"

_SKIPPED = "no server: "

_schemas = itertools.count()


class _Closable(Protocol):
    def close(self) -> None: ...


_Server = TypeVar("_Server", bound=_Closable)


@contextmanager
def running(start: Callable[[], _Server], *, wheel: bool = True) -> Iterator[_Server]:
    """Start a server for the tests in the block; skip them, or fail, if it is missing.

    Args:
        start: starts the server.
        wheel: whether a wheel has it, so that every machine can.
    """
    try:
        server = start()
    except ServerMissingError as error:
        if os.environ.get(REQUIRE) in (("1", "all") if wheel else ("all",)):
            pytest.fail(f"{error} ({REQUIRE})", pytrace=False)
        pytest.skip(f"{_SKIPPED}{error}")
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Database]:
    if dsn := os.environ.get(postgres_servers.VARIABLE):
        yield Database(dsn)
        return
    with running(lambda: PostgresServer(postgres_servers.find_programs())) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_15() -> Iterator[Database]:
    with running(lambda: PostgresServer(postgres_servers.find_programs(15)), wheel=False) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_dsn(postgres: Database) -> Iterator[str]:
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def postgres_schema() -> str:
    return f"test_{os.getpid()}_{next(_schemas)}"


@pytest.fixture
def own_database(postgres: Database) -> Iterator[str]:
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    with running(lambda: PostgresServer(postgres_servers.find_programs())) as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres_dsn: str) -> Iterator[PgBouncer]:
    with running(lambda: PgBouncer(postgres_dsn), wheel=False) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    if url := os.environ.get(nats_servers.VARIABLE):
        yield url
        return
    with running(NatsServer) as server:
        yield server.url


@pytest.fixture(scope="module")
def own_nats() -> Iterator[NatsServer]:
    with running(NatsServer) as server:
        yield server


def say_what_was_not_run(reporter: pytest.TerminalReporter) -> None:
    """Print one line for each server whose tests were skipped, with how to get it."""
    reasons: dict[str, int] = {}
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if _SKIPPED in reason:
            missing = reason.partition(_SKIPPED)[2]
            reasons[missing] = reasons.get(missing, 0) + 1
    for missing, count in reasons.items():
        line = f"NOT RUN: {count} tests, because {missing}"
        reporter.write_line(line, red=True, bold=True)


def leave_out_uncovered(config: pytest.Config) -> None:
    """Leave code out of the coverage report that only tests with a missing server run."""
    plugin = config.pluginmanager.get_plugin("_cov")
    patterns = [pattern for missing, pattern in _UNCOVERED if missing()]
    if plugin is None or plugin.cov_controller is None or not patterns:
        return
    for coverage in (plugin.cov_controller.cov, plugin.cov_controller.combining_cov):
        if coverage is not None:
            coverage.set_option("report:omit", patterns)


def _missing(variable: str, find: Callable[[], object]) -> bool:
    if os.environ.get(variable):
        return False
    try:
        find()
    except ServerMissingError:
        return True
    return False


def _postgres_is_missing() -> bool:
    return _missing(postgres_servers.VARIABLE, postgres_servers.find_programs)


def _nats_is_missing() -> bool:
    return _missing(nats_servers.VARIABLE, nats_servers.find_program)


_UNCOVERED = [
    (_postgres_is_missing, "*/outbox/postgres/*"),
    (_nats_is_missing, "*/feeds/jetstream/*"),
]

__all__ = [
    "nats_url",
    "own_database",
    "own_nats",
    "own_postgres",
    "pgbouncer",
    "postgres",
    "postgres_15",
    "postgres_dsn",
    "postgres_schema",
]
