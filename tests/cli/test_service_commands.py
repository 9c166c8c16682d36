"""`anytrack hubspot` and `anytrack meta`."""

from __future__ import annotations

import pytest

from anytrack_async.destinations.hubspot.setup import Step
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.sandbox import HubSpotPortal, SandboxSettings, in_thread


@pytest.fixture
def bare_portal(monkeypatch):
    settings = SandboxSettings(hubspot=HubSpotPortal(prepared=False))
    with in_thread(settings) as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        yield sandbox


def test_check_passes_on_a_portal_that_is_ready(run, sandbox):
    ran = run("hubspot", "check", "--currency", "EUR")

    assert ran.code == 0
    assert "FAIL" not in ran.out
    assert "ok   token" in ran.out


def test_check_says_what_is_missing_and_what_to_do(run, bare_portal):
    ran = run("hubspot", "check")

    assert ran.code == 1
    assert "FAIL property anytrack_event_id" in ran.out
    assert ran.err == "hint: create the properties with: anytrack hubspot setup\n"


def test_check_of_a_currency_that_is_not_enabled_fails(run, sandbox):
    ran = run("hubspot", "check", "--currency", "THB")

    assert ran.code == 1
    assert "FAIL currency THB" in ran.out
    assert ran.err == ""


def test_setup_creates_what_is_missing_once(run, bare_portal):
    tried = run("hubspot", "setup", "--dry-run")
    first, second = run("hubspot", "setup"), run("hubspot", "setup")

    assert "create property anytrack_event_id" in tried.out
    assert "created property anytrack_event_id" in first.out
    assert "exists property anytrack_event_id" in second.out
    assert [one.code for one in (tried, first, second)] == [0, 0, 0]
    assert run("hubspot", "check").code == 0


def test_setup_that_is_refused_fails(run, bare_portal, monkeypatch):
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "wrong")

    ran = run("hubspot", "setup")

    assert ran.code == 1
    assert ran.err.startswith("error: hubspot: ")
    assert ran.err.count("\n") == 1


def test_a_dry_run_that_finds_an_unfit_property_fails(run, sandbox, monkeypatch):
    async def refuse(self, *, dry_run):
        return [Step(action="refused", kind="property", name="x", reason="it is a number")]

    monkeypatch.setattr(HubSpotSink, "setup", refuse)

    ran = run("hubspot", "setup", "--dry-run")

    assert ran.code == 1
    assert "refused property x: it is a number" in ran.out


def test_hubspot_without_a_token_says_what_to_set(run):
    ran = run("hubspot", "check")

    assert ran.code == 2
    assert ran.err == "error: set HUBSPOT_ACCESS_TOKEN in the environment\n"


def test_meta_takes_a_test_event(run, sandbox, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "anytrack_async.cli.meta.MetaSink", lambda given: seen.append(given) or MetaSink(given)
    )

    ran = run("meta", "check", "--code", "TEST123")

    assert ran.code == 0
    assert [settings.test_event_code for settings in seen] == ["TEST123"]
    assert "TEST123" in ran.out
    assert sandbox.ledger()["meta"]["unique"] == 1


def test_the_code_may_come_from_the_environment(run, sandbox, monkeypatch):
    monkeypatch.setenv("META_TEST_EVENT_CODE", "TEST999")

    assert "TEST999" in run("meta", "check").out


def test_without_a_code_nothing_is_sent(run, sandbox):
    ran = run("meta", "check")

    assert ran.code == 2
    assert "give --code" in ran.err
    assert sandbox.ledger()["meta"]["requests"] == 0


def test_a_token_meta_refuses_is_told(run, sandbox, monkeypatch):
    monkeypatch.setenv("META_ACCESS_TOKEN", "expired")

    ran = run("meta", "check", "--code", "TEST123")

    assert ran.code == 1
    assert "error: meta: the test event was not taken: " in ran.err
    assert "190" in ran.err
    assert "expired" not in ran.err.replace("Session has expired", "")


def test_meta_without_credentials_says_what_to_set(run):
    ran = run("meta", "check", "--code", "TEST123")

    assert ran.code == 2
    assert ran.err == "error: set META_PIXEL_ID and META_ACCESS_TOKEN in the environment\n"
