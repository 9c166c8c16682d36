from __future__ import annotations

import json
import socket
from urllib.request import Request, urlopen

from anytrack_async.sandbox import HubSpotPortal, server


def get(url: str, **headers: str) -> dict:
    with urlopen(Request(url, headers=headers), timeout=10) as answer:
        return json.load(answer)


def test_the_sandbox_prints_exports_and_answers_until_ctrl_c(child):
    sandbox = child("sandbox", "--port", "0")
    variables = {}
    assert sandbox.line_with("Sandbox listening on http://127.0.0.1:").startswith("# ")
    while "HUBSPOT_BASE_URL" not in variables:
        name, _, value = sandbox.line_with("export ").removeprefix("export ").partition("=")
        variables[name] = value.strip()

    key = {"Authorization": f"Bearer {variables['ANYTRACK_API_KEY']}"}
    account = {"X-Account-ID": variables["ANYTRACK_ACCOUNT_ID"]}
    response = get(f"{variables['ANYTRACK_BASE_URL']}/conversions", **key, **account)
    sandbox.interrupt()
    code, _, err = sandbox.end()

    assert response == {"data": []}
    assert (code, err) == (130, "")


def test_options_reach_the_sandbox(run, monkeypatch):
    arguments = {}

    def serve(settings, *, host, port, echo):
        arguments.update(settings=settings, host=host, port=port)
        echo("Sandbox listening on http://[::1]:8400")
        echo("export A=b")

    monkeypatch.setattr("anytrack_async.sandbox.serve", serve)

    result = run(
        *("sandbox", "--host", "::1", "--port", 8400, "--faults", 0.2, "--seed", 7),
        "--unprepared",
    )

    settings = arguments["settings"]
    assert (arguments["host"], arguments["port"]) == ("::1", 8400)
    assert (settings.faults.rate, settings.faults.seed, settings.seed) == (0.2, 7, 7)
    assert settings.hubspot == HubSpotPortal(prepared=False)
    assert "export A=b\n" in result.out
    assert all(line.startswith(("# ", "export ")) for line in result.out.splitlines())


def test_the_suggested_command_works(run, sandbox, monkeypatch):
    monkeypatch.setattr(
        "anytrack_async.sandbox.serve", lambda *_, echo, **__: echo("Sandbox listening on x")
    )

    output = run("sandbox").out
    result = run(*output[output.index("anytrack track") :].split()[1:])

    assert result.code == 0
    assert [line.split()[1] for line in result.out.splitlines()[1:]] == ["delivered"] * 3


def test_a_port_that_is_taken_is_reported_on_one_line(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = run("sandbox", "--port", port)

    assert result.code == 1
    assert result.err == (
        f"error: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        "try another --port\n"
    )


def test_a_host_that_is_not_an_address_is_reported(run, monkeypatch):
    def refuse(host, port):
        raise OSError("no such host")

    monkeypatch.setattr(server, "listen", refuse)

    result = run("sandbox", "--host", "nowhere.invalid")

    assert result.code == 1
    assert "no such host" in result.err
