"""`anytrack destinations`, `anytrack check` and `anytrack setup`."""

from __future__ import annotations

import json

import anyio
import pytest

from anytrack_async import TransportError
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.destinations.sink import SetupStep
from anytrack_async.sandbox import HubSpotPortal, SandboxSettings, in_thread

ANYTRACK = {
    "ANYTRACK_API_KEY": True,
    "ANYTRACK_ACCOUNT_ID": True,
    "ANYTRACK_BASE_URL": True,
    "ANYTRACK_CONSENT_DENIED": False,
    "ANYTRACK_CONSENT_UNKNOWN": False,
}


@pytest.fixture
def bare_portal(monkeypatch):
    settings = SandboxSettings(hubspot=HubSpotPortal(prepared=False))
    with in_thread(settings) as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        yield sandbox


@pytest.fixture
def meta_test_code(monkeypatch):
    monkeypatch.setenv("META_TEST_EVENT_CODE", "TEST123")


# List


def test_destinations_are_listed_with_state_and_variables(run, sandbox, monkeypatch):
    monkeypatch.delenv("META_PIXEL_ID")
    monkeypatch.delenv("HUBSPOT_ACCESS_TOKEN")

    result = run("destinations")

    header, *lines = result.out.splitlines()
    rows = {line.split()[0]: line for line in lines}
    first_unset = header.index("not set")
    assert "ANYTRACK_API_KEY" in rows["anytrack"][:first_unset]
    assert "ANYTRACK_CONSENT_DENIED" in rows["anytrack"][first_unset:]
    assert list(rows) == ["anytrack", "anytrack-collect", "meta", "hubspot", "signed-webhook"]
    assert rows["anytrack"].split()[1] == "configured"
    assert "set META_PIXEL_ID in the environment" in rows["meta"]
    assert "not configured" in rows["hubspot"]
    assert "HUBSPOT_CLIENT_SECRET" in rows["hubspot"]


def test_destinations_as_json(run, sandbox):
    anytrack, collect, meta, hubspot, _ = json.loads(run("destinations", "--json").out)

    assert anytrack == {"name": "anytrack", "state": "configured", "variables": ANYTRACK}
    assert collect["variables"] == {"ANYTRACK_COLLECT_URL": False}
    assert meta["variables"]["META_API_VERSION"] is False
    assert hubspot["variables"]["HUBSPOT_ACCESS_TOKEN"] is True


def test_the_list_shows_no_value(run, sandbox, monkeypatch):
    monkeypatch.setenv("META_ACCESS_TOKEN", "s3cret")

    result = run("destinations")

    assert "s3cret" not in result.out + result.err


# Check


@pytest.mark.usefixtures("meta_test_code")
def test_check_of_everything_passes_when_all_is_ready(run, sandbox):
    result = run("check", "--currency", "EUR")

    assert result.code == 0
    assert {line.split()[1] for line in result.out.splitlines()} == {
        "anytrack:",
        "meta:",
        "hubspot:",
    }
    assert "FAIL" not in result.out
    assert "ok   anytrack: credentials: accepted" in result.out
    assert "ok   hubspot: token: " in result.out


@pytest.mark.usefixtures("meta_test_code")
def test_one_destination_that_is_not_ready_fails_the_check_and_hides_no_other(
    run, sandbox, monkeypatch
):
    monkeypatch.setenv("ANYTRACK_API_KEY", "old")

    result = run("check")

    assert result.code == 1
    assert "FAIL anytrack: credentials: anytrack: " in result.out
    assert "; check api_key and account_id (ANYTRACK_API_KEY, ANYTRACK_ACCOUNT_ID)" in result.out
    assert "ok   meta: test event: " in result.out
    assert "ok   hubspot: token: " in result.out


@pytest.mark.usefixtures("meta_test_code")
def test_a_destination_configured_in_part_fails_the_check_of_everything(run, sandbox, monkeypatch):
    monkeypatch.delenv("META_PIXEL_ID")

    result = run("check")

    assert result.code == 1
    assert "FAIL meta: settings: set META_PIXEL_ID in the environment" in result.out


def test_check_without_a_configured_destination_says_where_to_look(run, monkeypatch):
    monkeypatch.setenv("ANYTRACK_CONSOLE_TOKEN", "x")  # is no destination's
    result = run("check")

    assert result.code == 2
    assert result.err == (
        "error: no destination is configured; `anytrack destinations` lists the variables to set\n"
    )


def test_anytrack_is_checked_even_if_it_is_not_configured(run, sandbox, monkeypatch):
    for name in ANYTRACK:
        monkeypatch.delenv(name, raising=False)

    result = run("check")

    assert result.code == 1
    assert result.out.startswith("FAIL anytrack: settings: anytrack is not configured; it reads")
    assert "ok   hubspot: token: " in result.out


def test_all_destinations_are_checked_at_once(run, sandbox, monkeypatch):
    running = []

    async def check(sink, *, currencies):
        running.append(sink)
        while len(running) < 3:
            await anyio.lowlevel.checkpoint()
        return []

    for sink_class in (AnyTrackSink, MetaSink, HubSpotSink):
        monkeypatch.setattr(sink_class, "check", check)

    assert run("check").code == 0


def test_a_check_that_takes_too_long_fails(run, sandbox):
    sandbox.latency(60, "anytrack")

    result = run("check", "anytrack", "--timeout", "0.05")

    assert result.code == 1
    assert result.out == (
        "FAIL anytrack: check: no complete result within 0.05 s: check the network and the URL of "
        "anytrack, or allow more with --timeout\n"
    )


@pytest.mark.parametrize(
    ("exc", "message"),
    [
        (TransportError("no route", service="meta"), "no route"),
        (RuntimeError("t0ken"), "destination 'meta': RuntimeError in check"),
    ],
)
def test_a_check_that_raises_hides_no_other(run, sandbox, monkeypatch, exc, message):
    async def check(self, *, currencies):
        raise exc

    monkeypatch.setattr(MetaSink, "check", check)

    result = run("check")

    assert result.code == 1
    assert "FAIL meta: check: " in result.out
    assert message in result.out
    assert "t0ken" not in result.out + result.err
    assert "ok   anytrack: credentials: accepted" in result.out


def test_check_of_an_unknown_destination_lists_the_known_ones(run):
    result = run("check", "pigeon")

    assert result.code == 2
    assert (
        "'pigeon'; known destinations: anytrack, anytrack-collect, meta, hubspot, signed-webhook"
        in result.err
    )


@pytest.mark.parametrize(
    ("name", "variables"),
    [("hubspot", "HUBSPOT_ACCESS_TOKEN"), ("meta", "META_PIXEL_ID, META_ACCESS_TOKEN")],
)
def test_check_without_variables_says_what_to_set(run, name, variables):
    result = run("check", name)

    assert result.code == 1
    assert result.out.startswith(
        f"FAIL {name}: settings: {name} is not configured; it reads {variables}"
    )


def test_check_says_what_is_missing_and_what_to_do(run, bare_portal):
    result = run("check", "hubspot")

    assert result.code == 1
    assert "FAIL hubspot: property anytrack_event_id" in result.out
    assert result.err == "hint: create what is missing with: anytrack setup hubspot\n"


def test_check_of_a_currency_that_is_not_enabled_fails(run, sandbox):
    result = run("check", "hubspot", "--currency", "THB")

    assert result.code == 1
    assert "FAIL hubspot: currency THB" in result.out
    assert result.err == ""


@pytest.mark.usefixtures("meta_test_code")
def test_meta_accepts_a_test_event(run, sandbox):
    result = run("check", "meta")

    assert result.code == 0
    assert "accepted it; see it in Events Manager under TEST123" in result.out
    assert sandbox.ledger()["meta"]["unique"] == 1


def test_without_a_test_code_nothing_is_sent_to_meta(run, sandbox):
    result = run("check", "meta")

    assert result.code == 1
    assert "FAIL meta: test event: set META_TEST_EVENT_CODE" in result.out
    assert sandbox.ledger()["meta"]["requests"] == 0


@pytest.mark.usefixtures("meta_test_code")
def test_a_token_that_meta_rejects_is_reported(run, sandbox, monkeypatch):
    monkeypatch.setenv("META_ACCESS_TOKEN", "expired")

    result = run("check", "meta")

    assert result.code == 1
    assert "FAIL meta: test event: " in result.out
    assert "190" in result.out
    assert "expired" not in result.out.replace("Session has expired", "")


# Setup


def test_setup_creates_what_is_missing_once(run, bare_portal):
    planned = run("setup", "hubspot", "--dry-run")
    first, second = run("setup", "hubspot"), run("setup")

    assert "create property anytrack_event_id" in planned.out
    assert "created property anytrack_event_id" in first.out
    assert "exists property anytrack_event_id" in second.out
    assert [result.code for result in (planned, first, second)] == [0, 0, 0]
    assert run("check", "hubspot").code == 0


def test_setup_that_is_refused_fails(run, bare_portal, monkeypatch):
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "wrong")

    result = run("setup", "hubspot")

    assert result.code == 1
    assert result.err.startswith("error: hubspot: ")
    assert result.err.count("\n") == 1


def test_a_dry_run_that_finds_an_unfit_property_fails(run, sandbox, monkeypatch):
    async def refuse(self, *, dry_run):
        return [SetupStep(action="refused", kind="property", name="x", reason="it is a number")]

    monkeypatch.setattr(HubSpotSink, "setup", refuse)

    result = run("setup", "hubspot", "--dry-run")

    assert result.code == 1
    assert "refused property x: it is a number" in result.out


def test_a_destination_without_setup_has_nothing_to_set_up(run, sandbox):
    result = run("setup", "meta")

    assert (result.code, result.out) == (0, "nothing to set up\n")


def test_setup_without_variables_says_what_to_set(run):
    result = run("setup", "hubspot")

    assert result.code == 2
    assert result.err.startswith(
        "error: hubspot is not configured; it reads HUBSPOT_ACCESS_TOKEN, HUBSPOT_BASE_URL"
    )
