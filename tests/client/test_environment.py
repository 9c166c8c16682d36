"""Environment variables that nothing reads are told, with the variable that was meant."""

from __future__ import annotations

import pytest

from anytrack_async import AnyTrackClient
from anytrack_async.client.environment import unknown_variables
from tools.reference.environment import variables

CREDENTIALS = {"ANYTRACK_API_KEY": "k", "ANYTRACK_ACCOUNT_ID": "a"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ANYTRACK_OUTBOKS", "ANYTRACK_OUTBOX"),
        ("ANYTRAK_OUTBOX", "ANYTRACK_OUTBOX"),
        ("ANYTRACK_OUTBOX_KEY", "ANYTRACK_OUTBOX_KEYS"),
        ("ANYTRACK_APIKEY", "ANYTRACK_API_KEY"),
        ("anytrack_outbox_schema", "ANYTRACK_OUTBOX_SCHEMA"),
        ("ANYTRACK_CONSOL_TOKEN", "ANYTRACK_CONSOLE_TOKEN"),
        ("ANYTRACK_WEBHOOK_SECRT", "ANYTRACK_WEBHOOK_SECRET"),
        ("ANYTRACK_BASE_URL ", "ANYTRACK_BASE_URL"),
        ("META_PIXLE_ID", "META_PIXEL_ID"),
        ("HUBSPOT_ACCES_TOKEN", "HUBSPOT_ACCESS_TOKEN"),
    ],
)
def test_the_variable_that_was_probably_meant_is_named(name, meant):
    assert unknown_variables({name: "x"}) == {name: f"did you mean {meant}?"}


def test_without_a_similar_one_all_variables_of_this_library_are_named():
    hint = unknown_variables({"ANYTRACK_RETRIES": "5"})["ANYTRACK_RETRIES"]

    assert "ANYTRACK_API_KEY" in hint
    assert "ANYTRACK_OUTBOX_LISTEN" in hint


@pytest.mark.parametrize(
    "name",
    [
        *("META_APP_ID", "METABASE_URL", "HUBSPOT_PORTAL_ID", "PATH", "ANY"),
        *("ANYTRACK_SERVICE_HOST", "ANYTRACK_PORT_80_TCP", "ANYTRACK_TEST_POSTGRES"),
    ],
)
def test_variables_of_other_programs_are_left_alone(name):
    assert unknown_variables({name: "x"}) == {}


def test_every_documented_variable_is_known_and_an_empty_one_is_not_set():
    assert unknown_variables(dict.fromkeys(variables(), "x")) == {}
    assert unknown_variables({"ANYTRACK_OUTBOKS": ""}) == {}


def test_a_client_of_the_environment_warns_once_and_never_shows_the_value(caplog):
    environ = {**CREDENTIALS, "ANYTRACK_ACOUNT_ID": "hunter2"}
    for _ in range(2):
        AnyTrackClient.from_env(environ)

    (message,) = caplog.messages
    assert "'ANYTRACK_ACOUNT_ID': did you mean ANYTRACK_ACCOUNT_ID?" in message
    assert "hunter2" not in caplog.text
