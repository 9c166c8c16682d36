"""The real server: its process, its connections, and injected network faults."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import pytest

from anytrack_async.sandbox import (
    AnyTrackAccount,
    Faults,
    SandboxSettings,
    in_thread,
    running,
    serve,
)
from anytrack_async.sandbox.server import Server

LEAD = {"conversion_type": "lead"}
REQUEST = (
    b"POST /v1/conversions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sandbox-api-key\r\n"
    b"X-Account-ID: sandbox-account\r\nContent-Length: 26\r\n\r\n"
    b'{"conversion_type":"lead"}'
)


def headers(sandbox, key="e1"):
    environ = sandbox.environment()
    return {
        "Authorization": f"Bearer {environ['ANYTRACK_API_KEY']}",
        "X-Account-ID": environ["ANYTRACK_ACCOUNT_ID"],
        "Idempotency-Key": key,
    }


def track(sandbox, key="e1", client=httpx):
    url = f"{sandbox.environment()['ANYTRACK_BASE_URL']}/conversions"
    return client.post(url, json=LEAD, headers=headers(sandbox, key))


def raw(sandbox, data, responses=1):
    """Send raw *data* and return the bytes received, once they hold this many *responses*."""
    where = urlsplit(sandbox.url)
    received = b""
    with socket.create_connection((where.hostname, where.port), timeout=5) as connection:
        connection.sendall(data)
        while received.count(b'"}') < responses:
            received += connection.recv(65_536)
    return received


def test_the_environment_reaches_every_service(sandbox, now):
    environ = sandbox.environment()
    event = {
        "event_name": "Lead",
        "event_time": now,
        "event_id": "e1",
        "action_source": "website",
        "user_data": {"em": "a" * 64},
    }
    with httpx.Client() as client:
        tracked = track(sandbox, client=client)
        sent = client.post(
            f"{environ['META_BASE_URL']}/v26.0/{environ['META_PIXEL_ID']}/events",
            json={"data": [event]},
            headers={"Authorization": f"Bearer {environ['META_ACCESS_TOKEN']}"},
        )
        read = client.get(
            f"{environ['HUBSPOT_BASE_URL']}/crm/pipelines/2026-09/deals",
            headers={"Authorization": f"Bearer {environ['HUBSPOT_ACCESS_TOKEN']}"},
        )

    assert [tracked.status_code, sent.status_code, read.status_code] == [201, 200, 200]
    report = sandbox.ledger(ids=True)
    assert report["anytrack"]["ids"] == report["meta"]["ids"] == {"e1": 1}


def test_many_requests_share_a_connection(sandbox):
    with httpx.Client() as client:
        codes = [track(sandbox, f"e{n}", client).status_code for n in range(20)]

    assert codes == [201] * 20
    assert sandbox.ledger()["anytrack"]["unique"] == 20


def test_a_connection_survives_an_outage(sandbox):
    with httpx.Client() as client:
        before = track(sandbox, "e1", client)
        sandbox.down("anytrack")
        during = track(sandbox, "e2", client)
        sandbox.down("anytrack", down=False)
        after = track(sandbox, "e3", client)

    assert [r.status_code for r in (before, during, after)] == [201, 503, 201]


@pytest.mark.parametrize("how", ["reset", "503"])
def test_a_service_that_is_down(sandbox, how):
    sandbox.down("anytrack", how=how)

    if how == "503":
        assert track(sandbox).status_code == 503
    else:
        with pytest.raises(httpx.ReadError):
            track(sandbox)


def test_a_reset_happens_before_the_work(sandbox):
    sandbox.faults(Faults(rate=1, kinds=("reset",)))

    with pytest.raises(httpx.ReadError):
        track(sandbox)

    assert sandbox.ledger()["anytrack"]["accepted"] == 0


def test_a_lost_reply_comes_after_the_work(sandbox):
    sandbox.faults(Faults(rate=1, kinds=("lost",)))

    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending"):
        track(sandbox)

    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == {"e1": 1}


def test_a_cut_reply_is_shorter_than_its_content_length(sandbox):
    sandbox.faults(Faults(rate=1, kinds=("cut",)))

    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        track(sandbox)

    assert sandbox.ledger()["anytrack"]["accepted"] == 1


def test_requests_succeed_after_the_faults(sandbox):
    sandbox.faults(Faults(rate=1, kinds=("error",)))
    assert track(sandbox).status_code == 500

    sandbox.faults(Faults())

    assert track(sandbox).status_code == 201
    assert sandbox.ledger()["anytrack"]["faults"] == {"error": 1}


def test_latency_delays_replies(sandbox):
    sandbox.latency(0.05, "anytrack")

    assert track(sandbox).elapsed.total_seconds() >= 0.05


def test_tokens_are_replaced(sandbox):
    sandbox.credentials("anytrack", "new", "newer")

    assert track(sandbox).status_code == 401


def test_an_invalid_command_raises(sandbox):
    with pytest.raises(ValueError, match="rejected 'down'"):
        sandbox.down("crm")


def test_requests_may_be_pipelined(sandbox):
    response = raw(sandbox, REQUEST * 3, responses=3)

    assert response.count(b"HTTP/1.1 201 Created") == 3


def test_late_replies_keep_their_order(sandbox):
    sandbox.latency(0.01, "anytrack")

    response = raw(sandbox, REQUEST * 3, responses=3)

    ids = re.findall(rb'"conversion_id":"(\w+)"', response)
    assert len(ids) == 3
    assert ids == sorted(ids)


def test_work_is_done_after_the_client_disconnects(sandbox):
    sandbox.latency(0.05, "anytrack")

    with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.02) as impatient:
        track(sandbox, client=impatient)

    # As late as the first one, so it comes after it: and finds the work done.
    assert track(sandbox).status_code == 200


def test_an_incomplete_request_waits_for_the_rest(sandbox):
    where = urlsplit(sandbox.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=5)
    connection.putrequest("POST", "/v1/conversions")
    for name, value in {**headers(sandbox), "Content-Length": "26"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b'{"conversion_type":')
    assert sandbox.ledger()["anytrack"]["requests"] == 0

    connection.send(b'"lead"}')

    assert connection.getresponse().status == 201
    connection.close()


def test_the_sandbox_runs_in_a_thread():
    settings = SandboxSettings(anytrack=AnyTrackAccount(keys=("k1",)))
    with in_thread(settings) as sandbox:
        assert track(sandbox).status_code == 201
        sandbox.faults(Faults(rate=1, kinds=("cut",)))
        with pytest.raises(httpx.RemoteProtocolError):
            track(sandbox)
        sandbox.faults(Faults(rate=1, kinds=("reset",)))
        with pytest.raises(httpx.ReadError):
            track(sandbox)
        sandbox.reset()
        assert sandbox.ledger()["anytrack"]["requests"] == 0

    with pytest.raises(httpx.ConnectError):
        track(sandbox)


def test_a_port_in_use_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(OSError, match="in use"), running(port=port):
            pass
        with pytest.raises(OSError, match="in use"):
            serve(port=port, echo=print)


def test_a_process_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("true"))

    with pytest.raises(OSError, match="did not start"), running():
        pass


def test_a_process_that_does_not_stop_is_killed(monkeypatch):
    children = []

    class Known(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Known)
    monkeypatch.setattr("anytrack_async.sandbox.server._STOP_TIMEOUT", 0.05)

    with running() as sandbox:
        children[0].send_signal(signal.SIGSTOP)

    assert children[0].returncode == -signal.SIGKILL
    with pytest.raises(httpx.ConnectError):
        track(sandbox)


def test_serve_prints_the_address_and_the_exports(monkeypatch):
    lines = []
    monkeypatch.setattr(
        "anytrack_async.sandbox.server.Server.run",
        lambda self: self._on_ready(self.url),
    )

    serve(port=0, echo=lines.append)

    assert lines[0].startswith("Sandbox listening on http://127.0.0.1:")
    assert "export ANYTRACK_API_KEY=sandbox-api-key" in lines


def test_serve_ends_on_an_interrupt(monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "run", interrupted)

    serve(port=0, echo=print)


def test_without_the_extra_the_import_names_it():
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "try: import anytrack_async.sandbox\n"
        "except ImportError as exc: print(exc)"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "pip install 'anytrack_async[sandbox]'" in result.stdout


def test_the_ledger_is_plain_json(sandbox):
    assert json.loads(httpx.get(f"{sandbox.url}/_sandbox/ledger").text) == sandbox.ledger()
