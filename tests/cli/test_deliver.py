from __future__ import annotations

import os
import signal

import anyio
import pytest

from anytrack_async import Conversion, Customer, SQLiteOutbox
from anytrack_async.cli import deliver
from tests.cli.conftest import wait_for

SERVICES = ("anytrack", "meta", "hubspot")


def leads(count: int, **fields) -> list[Conversion]:
    customer = Customer(email="someone@example.com")
    return [
        Conversion.lead(order_id=str(number), customer=customer, **fields)
        for number in range(count)
    ]


def store(path, conversions, names=SERVICES) -> None:
    async def append() -> None:
        outbox = SQLiteOutbox(path)
        await outbox.open(names)
        await outbox.append(conversions)
        await outbox.aclose()

    anyio.run(append)


def counts(sandbox, key="unique") -> list[int]:
    ledger = sandbox.ledger()
    return [ledger[name][key] for name in SERVICES]


def test_until_empty_delivers_everything_once(run, sandbox, outbox_path):
    store(outbox_path, leads(30))

    first = run("deliver", "--until-empty")
    again = run("deliver", "--until-empty")

    assert (first.code, again.code) == (0, 0)
    assert first.out.splitlines()[0] == f"delivering from {outbox_path}"
    assert first.out.splitlines()[-1] == " · ".join(
        f"{name}: 30 delivered, 0 waiting" for name in sorted(SERVICES)
    )
    assert counts(sandbox) == [30, 30, 30]
    assert counts(sandbox, "duplicates") == [0, 0, 0]


def test_the_option_names_another_file(run, sandbox, outbox_path, tmp_path):
    store(tmp_path / "other.db", leads(1))

    assert run("deliver", "--until-empty", "--outbox", tmp_path / "other.db").code == 0
    assert counts(sandbox) == [1, 1, 1]


def test_dead_letters_have_an_exit_code(run, sandbox, outbox_path):
    store(outbox_path, leads(1, currency="THB"))

    result = run("deliver", "--until-empty")

    assert result.code == 3
    assert "hubspot: 0 delivered, 0 waiting, 1 dead" in result.out
    assert "lead:0 is now a dead letter" in result.err


def test_a_destination_that_needs_an_operator_has_an_exit_code(run, sandbox, outbox_path):
    store(outbox_path, leads(2))
    sandbox.credentials("meta", "another")

    result = run("deliver", "--until-empty")

    assert result.code == 5
    assert "meta: 0 delivered, 2 waiting (held)" in result.out.splitlines()[-1]
    assert counts(sandbox) == [2, 0, 2]


def test_a_paused_destination_is_not_waited_for(run, sandbox, outbox_path):
    store(outbox_path, leads(2))
    run("outbox", "pause", "meta")

    result = run("deliver", "--until-empty")

    assert result.code == 5
    assert "meta: 0 delivered, 2 waiting (paused)" in result.out.splitlines()[-1]
    assert counts(sandbox) == [2, 0, 2]


def test_what_waits_for_a_destination_that_is_not_configured_has_an_exit_code(
    run, sandbox, outbox_path
):
    store(outbox_path, leads(1), (*SERVICES, "pigeon"))

    result = run("deliver", "--until-empty")

    assert result.code == 4
    assert "pigeon: 0 delivered, 1 waiting (not configured here)" in result.out
    assert "has no sink here" in result.err


@pytest.mark.parametrize(("option", "code"), [((), 0), (("--until-empty",), 4)])
def test_it_ends_after_the_given_time(run, sandbox, outbox_path, option, code):
    store(outbox_path, leads(1), (*SERVICES, "pigeon"))

    result = run("deliver", "--for", "0", *option)

    assert result.code == code
    assert "1 waiting" in result.out


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "name an outbox: set ANYTRACK_OUTBOX, or use --outbox"),
        (":memory:", "name an outbox: set ANYTRACK_OUTBOX, or use --outbox"),
        ("nowhere.db", "ANYTRACK_OUTBOX names nowhere.db, which does not exist"),
        (".", "ANYTRACK_OUTBOX names ., which is a folder: add the name of the outbox file"),
        ("outbox.db\n", r"the path of the outbox, 'outbox.db\n', must not be blank"),
    ],
)
def test_without_a_file_there_is_nothing_to_deliver(run, sandbox, monkeypatch, value, message):
    if value:
        monkeypatch.setenv("ANYTRACK_OUTBOX", value)

    result = run("deliver")

    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_missing_file_is_said_to_be_from_the_option(run, sandbox):
    result = run("deliver", "--outbox", "typo.db")

    assert result.code == 2
    assert "--outbox names typo.db, which does not exist" in result.err


def test_sigterm_lets_the_requests_in_flight_end(child, sandbox, outbox_path):
    store(outbox_path, leads(1))
    sandbox.latency(0.7)
    worker = child("deliver")

    wait_for(lambda: min(counts(sandbox, "requests")))
    worker.process.send_signal(signal.SIGTERM)
    code, out, err = worker.end()

    assert code == 0, err
    assert "delivering from" in out
    assert "note: stopped by SIGTERM" in err
    assert counts(sandbox) == [1, 1, 1]


def test_ctrl_c_leaves_what_waits_in_the_file(child, run, sandbox, outbox_path):
    store(outbox_path, leads(1))
    sandbox.latency(60, "meta")
    worker = child("deliver", "--until-empty")
    wait_for(lambda: sandbox.ledger()["meta"]["requests"])

    worker.interrupt()
    code, _, err = worker.end()

    assert code == 130
    assert f"1 conversion not delivered yet, kept in {outbox_path}: `anytrack deliver`" in err
    assert err.endswith("interrupted: stopped\n")
    sandbox.latency(0, "meta")
    assert run("deliver", "--until-empty").code == 0
    assert counts(sandbox) == [1, 1, 1]


@pytest.mark.parametrize(
    ("number", "options", "code"),
    [
        (signal.SIGTERM, (), 0),
        (signal.SIGTERM, ("--until-empty",), 4),
        (signal.SIGINT, ("--until-empty",), 130),
    ],
)
def test_a_signal_has_an_exit_code(run, sandbox, outbox_path, monkeypatch, number, options, code):
    store(outbox_path, leads(1), (*SERVICES, "pigeon"))
    look = deliver._Progress.update

    def interrupt_and_look(progress, destinations):
        if not progress.destinations:
            os.kill(os.getpid(), number)
        look(progress, {**destinations})

    monkeypatch.setattr(deliver._Progress, "update", interrupt_and_look)
    monkeypatch.setattr(deliver, "_has_ended", lambda _: False)

    assert run("deliver", *options).code == code


def test_several_workers_share_the_work(child, sandbox, outbox_path):
    store(outbox_path, leads(600))
    sandbox.latency(0.05, "anytrack")

    workers = [child("deliver", "--until-empty") for _ in range(2)]
    results = [worker.end() for worker in workers]

    assert [code for code, _, _ in results] == [0, 0], results
    assert counts(sandbox) == [600, 600, 600]
    assert counts(sandbox, "duplicates") == [0, 0, 0]
