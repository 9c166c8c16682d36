"""`anytrack console` serves an outbox file, and asks for a token where others can reach it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse

import anyio
import pytest

from anytrack_async import SQLiteOutbox
from anytrack_async.testing.outbox_rules.base import sales


@pytest.fixture
def outbox(tmp_path):
    async def with_outbox(path):
        outbox = SQLiteOutbox(path)
        await outbox.open(["meta"])
        await outbox.append(sales(1, 2))
        await outbox.aclose()
        return path

    return anyio.run(with_outbox, tmp_path / "outbox.db")


@contextmanager
def get(port: int, path: str, **headers: str) -> Iterator[HTTPResponse]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path, headers=headers)
        with closing(connection.getresponse()) as response:
            yield response


def test_it_serves_a_file_and_ends_open_streams_on_sigterm(child, outbox, monkeypatch):
    monkeypatch.delenv("ANYTRACK_CONSOLE_TOKEN", raising=False)
    console = child("console", "--outbox", str(outbox), "--port", "0")
    line = console.line_with("console on ")
    port = int(re.search(r":(\d+)/", line)[1])
    with get(port, "/") as page:
        text = page.read().decode()
    with get(port, "/", Host="evil.example") as foreign:
        pass
    with get(port, "/live") as stream:
        stream.readline()
        console.process.send_signal(signal.SIGTERM)
        stream.read()  # ends
    code, _, err = console.end()

    assert page.status == 200
    assert "nothing is sending" in text
    assert "read-only" in text
    assert foreign.status == 421
    assert code == 0
    assert "Traceback" not in err


def test_other_machines_need_a_token(run, outbox, monkeypatch):
    monkeypatch.delenv("ANYTRACK_CONSOLE_TOKEN", raising=False)
    without = run("console", "--outbox", str(outbox), "--host", "0.0.0.0", "--port", "0")
    monkeypatch.setenv("ANYTRACK_CONSOLE_TOKEN", "short")
    short = run("console", "--outbox", str(outbox), "--port", "0")

    assert without.code == short.code == 2
    assert "set ANYTRACK_CONSOLE_TOKEN in the environment, e.g. to " in without.err
    assert "16 characters or more" in short.err


def test_it_says_which_outbox_it_needs(run, tmp_path, monkeypatch):
    monkeypatch.delenv("ANYTRACK_OUTBOX", raising=False)
    none = run("console")
    missing = run("console", "--outbox", str(tmp_path / "nowhere.db"))

    assert none.code == missing.code == 2
    assert "name an outbox: set ANYTRACK_OUTBOX, or use --outbox" in none.err
    assert "nowhere.db, which does not exist" in missing.err
