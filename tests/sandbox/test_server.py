"""The real server: its process, its connections, and how they break."""

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


def raw(sandbox, data, answers=1):
    """Send *data* as it is and return what comes back, until it holds so many *answers*."""
    where = urlsplit(sandbox.url)
    got = b""
    with socket.create_connection((where.hostname, where.port), timeout=5) as connection:
        connection.sendall(data)
        while got.count(b'"}') < answers:
            got += connection.recv(65_536)
    return got


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


def test_a_connection_survives_a_change_of_weather(sandbox):
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


def test_a_lost_answer_comes_after_the_work(sandbox):
    sandbox.faults(Faults(rate=1, kinds=("lost",)))

    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending"):
        track(sandbox)

    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == {"e1": 1}


def test_a_cut_answer_is_shorter_than_it_said(sandbox):
    sandbox.faults(Faults(rate=1, kinds=("cut",)))

    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        track(sandbox)

    assert sandbox.ledger()["anytrack"]["accepted"] == 1


def test_after_the_faults_all_is_well(sandbox):
    sandbox.faults(Faults(rate=1, kinds=("error",)))
    assert track(sandbox).status_code == 500

    sandbox.faults(Faults())

    assert track(sandbox).status_code == 201
    assert sandbox.ledger()["anytrack"]["faults"] == {"error": 1}


def test_late_answers(sandbox):
    sandbox.latency(0.05, "anytrack")

    assert track(sandbox).elapsed.total_seconds() >= 0.05


def test_tokens_are_replaced(sandbox):
    sandbox.credentials("anytrack", "new", "newer")

    assert track(sandbox).status_code == 401


def test_a_bad_command_is_an_error_here(sandbox):
    with pytest.raises(ValueError, match="rejected 'down'"):
        sandbox.down("crm")


def test_requests_may_be_sent_in_one_go(sandbox):
    answer = raw(sandbox, REQUEST * 3, answers=3)

    assert answer.count(b"HTTP/1.1 201 Created") == 3


def test_late_answers_keep_their_order(sandbox):
    sandbox.latency(0.01, "anytrack")

    answer = raw(sandbox, REQUEST * 3, answers=3)

    ids = re.findall(rb'"conversion_id":"(\w+)"', answer)
    assert len(ids) == 3
    assert ids == sorted(ids)


def test_work_is_done_for_a_client_that_has_gone(sandbox):
    sandbox.latency(0.05, "anytrack")

    with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.02) as impatient:
        track(sandbox, client=impatient)

    # As late as the first one, so it comes after it: and finds the work done.
    assert track(sandbox).status_code == 200


def test_half_a_request_is_waited_for(sandbox):
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


def test_a_thread_is_a_server_too():
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


def test_a_port_that_is_taken_is_an_error():
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


def test_serving_says_where_and_how_to_get_there(monkeypatch):
    lines = []
    monkeypatch.setattr(
        "anytrack_async.sandbox.server.Server.run",
        lambda self: self._on_ready(self.url),
    )

    serve(port=0, echo=lines.append)

    assert lines[0].startswith("Sandbox listening on http://127.0.0.1:")
    assert "export ANYTRACK_API_KEY=sandbox-api-key" in lines


def test_serving_ends_with_an_interrupt(monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "run", interrupted)

    serve(port=0, echo=print)


def test_without_the_extra_the_import_says_what_to_install():
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "try: import anytrack_async.sandbox\n"
        "except ImportError as exc: print(exc)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "pip install 'anytrack_async[sandbox]'" in said.stdout


def test_the_ledger_is_plain_json(sandbox):
    assert json.loads(httpx.get(f"{sandbox.url}/_sandbox/ledger").text) == sandbox.ledger()
