from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.models.outcome import Outcome
from anytrack_async.sandbox import Sandbox


@pytest.fixture
def folders(monkeypatch, tmp_path) -> Path:
    """Where this test's temporary folders are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_the_demo_accounts_for_every_line(child, folders):
    code, out, err = child("demo").end()

    assert (code, err) == (0, "")
    assert "1,000 made-up conversions" in out
    assert re.search(r"anytrack +959 +=  ?959 +0", out)
    assert re.search(r"meta +949 +=  ?949 +10", out)
    assert re.search(r"hubspot +953 +=  ?953 +6", out)
    assert "959 conversions; repeats, not sent again: 24" in out
    assert "Every line is accounted for" in out
    assert "anytrack sandbox" in out
    assert "\x1b" not in out
    assert list(folders.iterdir()) == []


def test_each_rejected_line_is_shown_with_its_reason(run, folders):
    result = run("demo", "--count", 260)

    assert result.code == 0
    for words in (
        "line 260",
        "order_id must be printable: no line breaks, tabs, control",
        "line 11 sale:T-612319, line 35 sale:T-083277",
        "too old: Meta takes this event for 7 days",
        "line 149 sale:T-245563",
        "KRW",
    ):
        assert words in result.out


def test_faults_do_not_change_the_count(run, folders):
    result = run("demo", "--count", 60, "--faults", 0.3, "--seed", 4)

    assert result.code == 0
    assert "30% of all requests go wrong on purpose" in result.out
    assert re.search(r"per s +faults +repeats\n", result.out)


def test_a_different_count_in_a_ledger_fails_the_demo(run, folders, monkeypatch):
    ledger_of = Sandbox.ledger

    def ledger_without_one(self: Sandbox, *, ids: bool = False) -> dict:
        ledger = ledger_of(self, ids=ids)
        ledger["hubspot"]["unique"] -= 1
        lost = ledger["hubspot"]["ids"].popitem()[0]
        return {**ledger, "lost": lost}

    monkeypatch.setattr(Sandbox, "ledger", ledger_without_one)

    result = run("demo", "--count", 20)

    assert result.code == 1
    assert "hubspot: its ledger counts 19 conversions, we delivered 20" in result.out
    assert "Every line is accounted for" not in result.out
    assert list(folders.iterdir()) == []


def test_a_lost_conversion_fails_the_demo(run, folders, monkeypatch):
    async def swallow(self, batch):
        return [Outcome.delivered() for _ in batch]

    monkeypatch.setattr(MetaSink, "deliver", swallow)

    result = run("demo", "--count", 20)

    assert result.code == 1
    assert "meta: its ledger counts 0 conversions, we delivered 20" in result.out


def test_keep_leaves_the_folder_with_the_outbox(run, folders):
    result = run("demo", "--count", 30, "--keep")

    (folder,) = folders.iterdir()
    path = folder / "outbox.db"
    assert path.is_file()
    assert f"ANYTRACK_OUTBOX={path}" in result.out.replace("\n", "")


def test_a_kept_outbox_has_its_dead_letters(run, folders, monkeypatch):
    run("demo", "--count", 30, "--keep")
    (folder,) = folders.iterdir()
    monkeypatch.setenv("ANYTRACK_OUTBOX", str(folder / "outbox.db"))

    result = run("outbox", "dead-letters")

    assert "sale:T-612319" in result.out
    assert "too old" in result.out


def test_the_demo_may_use_the_collect_url(run, folders):
    result = run("demo", "--count", 40, "--collect", "--faults", "0.3")

    assert result.code == 0, result.out
    assert "Every line is accounted for" in result.out


def test_the_callers_environment_is_ignored(run, folders, monkeypatch):
    monkeypatch.setenv("ANYTRACK_API_KEY", "real")
    monkeypatch.setenv("ANYTRACK_BASE_URL", "https://anytrack.example.com/v1")
    monkeypatch.setenv("HUBSPOT_CLIENT_ID", "half of a set-up, which is an error")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    assert run("demo", "--count", 10).code == 0


def test_ctrl_c_ends_the_demo_and_removes_its_folder(child, folders):
    demo = child("demo", "--count", "50000")
    demo.line_with("lines read")

    demo.interrupt()
    code, _, err = demo.end()

    assert (code, err) == (130, "interrupted: stopped\n")
    assert list(folders.iterdir()) == []


def test_a_sandbox_that_cannot_start_is_an_error_on_one_line(run, folders, monkeypatch):
    class Broken(subprocess.Popen):
        def __init__(self, command, **options):
            super().__init__([*command[:1], "-c", "pass"], **options)

    monkeypatch.setattr("anytrack_async.sandbox.server.subprocess.Popen", Broken)

    result = run("demo", "--count", 10)

    assert result.code == 1
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("options", [("--count", 0), ("--faults", 1), ("--count", "many")])
def test_invalid_options_are_a_usage_error(run, options):
    assert run("demo", *options).code == 2


def test_the_demo_shows_its_deliveries_in_the_console(child, folders):
    demo = child("demo", "--count", "20", "--console")
    address = re.search(r"http://127\.0\.0\.1:(\d+)/", demo.line_with("console on "))
    with closing(HTTPConnection("127.0.0.1", int(address[1]), timeout=20)) as connection:
        connection.request("GET", "/")
        page = connection.getresponse().read().decode()
    demo.process.send_signal(signal.SIGTERM)
    code, *_ = demo.end()

    assert code == 0
    assert "you may change things here" in page
    assert page.count("<article") == 3
    assert list(folders.iterdir()) == []
