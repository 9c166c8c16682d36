"""`anytrack outbox verify` and `anytrack outbox vacuum`."""

import json
import sqlite3
from contextlib import closing

import anyio
import pytest

from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import sales
from anytrack_async.testing.outbox_rules.base import dead_letter


@pytest.fixture
def file(outbox_path):
    path = outbox_path

    async def fill():
        outbox = SQLiteOutbox(path)
        await outbox.open(["meta"])
        await outbox.append(sales(1, 2, 3))
        await dead_letter(outbox, "meta", 2)
        await outbox.append(sales(4))
        await outbox.aclose()

    anyio.run(fill)
    return path


def test_an_intact_file(file, run):
    result = run("outbox", "verify")

    assert result.code == 0
    assert "the file is intact" in result.out
    (line,) = [line for line in result.out.splitlines() if "meta" in line]
    assert line.split()[-5:] == ["4", "2", "1", "1", "0"]


def test_a_damaged_file(file, run):
    with closing(sqlite3.connect(file)) as sql:
        sql.execute("UPDATE destination SET cursor = 1")
        sql.commit()
    result = run("outbox", "verify")

    assert result.code == 1
    assert "-2 are missing" in result.err
    assert ".recover" in result.err


def test_json(file, run):
    result = run("outbox", "verify", "--json")

    account = {"accepted": 4, "delivered": 2, "waiting": 1, "dead": 1, "discarded": 0}
    assert json.loads(result.out) == {"accounts": {"meta": account}, "problems": []}


def test_vacuum(file, run):
    result = run("outbox", "vacuum")

    assert result.code == 0
    assert result.out.startswith("0.2 MB before, 0.2 MB now")
