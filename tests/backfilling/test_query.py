"""Queries that fail: told in a line, without the password of the database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from anytrack_async.backfilling.query import connector
from anytrack_async.cli.app import app

MAP = '[columns]\norder_id = "id"\ntimestamp = "at"\n[amounts]\ngross = "total"\n'


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE orders (id, at, total)")
    (tmp_path / "map.toml").write_text(MAP, encoding="utf-8")
    return path


def run(shop: Path, sql: str, database: str = "") -> Result:
    options = ["--sql", sql, "--database", database or f"sqlite:///{shop}", "--dry-run"]
    return CliRunner().invoke(app, ["backfill", *options, "--map", f"{shop.parent}/map.toml"])


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT nope FROM orders", "no such column: nope"),
        ("SELEC", "syntax error"),
        ("DELETE FROM orders", "readonly"),
    ],
)
def test_a_query_that_fails_is_told_in_a_line(sql: str, problem: str, shop: Path):
    result = run(shop, sql)

    assert result.exit_code == 1
    assert "error: the query failed: " in result.stderr
    assert problem in result.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:s3cret@127.0.0.1:1/shop",
        "postgresql://shop:s3cret@127.0.0.1:s3cret/shop",
        "postgresql://shop:s3:cret@127.0.0.1:x/shop",
    ],
)
def test_a_database_that_cannot_be_opened_does_not_show_its_password(url: str, shop: Path):
    result = run(shop, "SELECT 1", url)

    assert result.exit_code == 1
    assert "the database cannot be opened" in result.stderr
    assert "cret" not in result.stderr
    with pytest.raises(ConnectionError) as raised:
        connector(url)()
    assert "cret" not in f"{raised.value}{raised.value.__cause__}"
