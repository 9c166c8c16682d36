"""`anytrack listen` takes webhooks over sockets, survives kill -9, and ends cleanly on SIGTERM."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from http.client import HTTPConnection

import pytest

from tests.cli.conftest import wait_for

SECRET_VARIABLE = "ANYTRACK_WEBHOOK_SECRET"
SECRET = "listen-secret-of-30-characters"


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)


def event(number: int) -> dict:
    return {
        "assetId": "A1",
        "clickId": f"click-{number}",
        "eventName": "Lead",
        "eventTime": "2026-11-27T10:00:00.000Z",
        "email": f"jane{number}@example.com",
    }


def post(port: int, body: object, path: str = f"/{SECRET}", **headers: str) -> tuple[int, dict]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def start(child, *options):
    listener = child("listen", "--port", "0", *options)
    line = listener.line_with("listening on ")
    return listener, int(re.search(r":(\d+)/", line)[1]), line


def ids(sandbox, service) -> dict:
    return sandbox.ledger(ids=True)[service]["ids"]


def without_anytrack(monkeypatch) -> None:
    for name in os.environ:
        if name.startswith("ANYTRACK_") and name not in ("ANYTRACK_OUTBOX", SECRET_VARIABLE):
            monkeypatch.delenv(name)


def test_answered_webhooks_reach_the_destinations_once_after_kill_and_restart(
    child, sandbox, outbox_path, secret, monkeypatch
):
    without_anytrack(monkeypatch)  # its credentials are not needed: nothing is sent there
    sandbox.down("meta")
    listener, port, line = start(child, "--to", "meta,hubspot")
    answers = [post(port, event(number)) for number in range(3)]
    wrong = post(port, event(9), path="/wrong")
    too_large = post(port, {"eventName": "x" * 300_000})
    listener.process.kill()
    listener.process.wait()

    sandbox.down("meta", down=False)
    listener, port, _ = start(child, "--to", "meta,hubspot")
    repeat = post(port, event(0), "/", **{"X-Webhook-Secret": SECRET})
    wait_for(lambda: len(ids(sandbox, "meta")) == len(ids(sandbox, "hubspot")) == 3)
    listener.process.send_signal(signal.SIGTERM)
    code, out, err = listener.end()

    assert [status for status, _ in answers] == [200] * 3
    assert (wrong[0], too_large[0]) == (401, 413)
    assert repeat == (200, {"status": "ok", "accepted": 0, "repeats": 1})
    # HubSpot may have got one twice, if the process was killed before it recorded the answer.
    assert (set(ids(sandbox, "meta").values()), len(ids(sandbox, "hubspot"))) == ({1}, 3)
    assert sandbox.ledger()["anytrack"]["requests"] == 0
    assert code == 0
    assert "note: stopped by SIGTERM" in err
    assert SECRET not in line + out + err


def test_sigterm_answers_the_request_in_flight(child, sandbox, outbox_path, secret):
    listener, port, _ = start(child, "--to", "hubspot")
    body = json.dumps(event(1)).encode()
    head = f"POST /{SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode() + body[:10])
        assert post(port, event(2))[0] == 200  # so the first request has arrived as well
        listener.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refuses(port))
        connection.sendall(body[10:])
        answer = connection.recv(1_000)
    code, _, _ = listener.end()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert code == 0


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_the_rate_is_limited(child, sandbox, outbox_path, secret):
    _, port, _ = start(child, "--rate", "1", "--to", "hubspot")
    statuses: list[int] = []

    threads = [
        threading.Thread(target=lambda n=n: statuses.append(post(port, event(n))[0]))
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {200, 429} == {*statuses}


def test_what_is_missing_is_named(run, sandbox, monkeypatch):
    without = run("listen", "--port", "0")
    monkeypatch.setenv(SECRET_VARIABLE, "short")
    short = run("listen", "--port", "0")
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    unknown = run("listen", "--port", "0", "--to", "pigeon")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = run("listen", "--port", taken.getsockname()[1])

    assert (without.code, short.code, unknown.code, port.code) == (2, 2, 2, 1)
    assert "set ANYTRACK_WEBHOOK_SECRET in the environment, e.g. to " in without.err
    assert "ANYTRACK_WEBHOOK_SECRET needs 16 characters or more" in short.err
    assert "short" not in short.err
    assert "no destination 'pigeon'" in unknown.err
    assert "try another --port" in port.err


def test_credentials_of_anytrack_are_asked_for_only_if_it_gets_conversions(
    run, sandbox, secret, monkeypatch
):
    without_anytrack(monkeypatch)
    to_anytrack = run("listen", "--port", "0", "--to", "meta,anytrack")
    for name in os.environ:
        if name.startswith(("META_", "HUBSPOT_")):
            monkeypatch.delenv(name)
    to_nobody = run("listen", "--port", "0")

    assert (to_anytrack.code, to_nobody.code) == (2, 2)
    assert "ANYTRACK_API_KEY" in to_anytrack.err
    assert "the client has no destination" in to_nobody.err
