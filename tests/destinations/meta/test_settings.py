from typing import get_args

import pytest

from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.meta_types import ActionSource


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"pixel_id": ""}, "pixel_id"),
        ({"access_token": ""}, "access_token"),
        ({"access_token": "two\nlines"}, "access_token"),
        ({"action_source": "web"}, "action_source"),
        ({"partner_agent": "x" * 23}, "partner_agent"),
        ({"partner_agent": ""}, "partner_agent"),
        ({"batch": 1001}, "batch"),
        ({"batch": 0}, "batch"),
        ({"batch": 1.5}, "batch must be a whole number"),
        ({"batch": "10"}, "batch must be a whole number"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 1.5}, "concurrency must be a whole number"),
        ({"partner_agent": 5}, "partner_agent"),
        ({"event_name": "Purchase"}, "event_name must be a function"),
        ({"http": 30}, r"http must be a HttpSettings\(…\), got int"),
        ({"api_version": "26.0"}, "api_version must be a version such as 'v26.0'"),
        ({"base_url": "http://graph.facebook.com"}, "base_url"),
    ],
)
def test_wrong_setting_is_named(settings, fields, named):
    with pytest.raises(ConfigurationError, match=named):
        settings(**fields)


def test_secrets_are_not_shown(settings):
    shown = repr(settings(access_token="s3cret-token", app_secret="s3cret-app"))

    assert "s3cret" not in shown


def test_settings_come_from_the_environment():
    environ = {
        "META_PIXEL_ID": "1",
        "META_ACCESS_TOKEN": "t",
        "META_APP_SECRET": "s",
        "META_TEST_EVENT_CODE": "TEST1",
        "META_API_VERSION": "v27.0",
        "META_BASE_URL": "http://localhost:1",
    }

    assert MetaSettings.from_env(environ) == MetaSettings(
        pixel_id="1",
        access_token="t",
        app_secret="s",
        test_event_code="TEST1",
        api_version="v27.0",
        base_url="http://localhost:1",
    )


def test_without_metas_variables_there_are_no_settings():
    assert MetaSettings.from_env({"META_APP_SECRET": "s"}) is None


@pytest.mark.parametrize(
    ("variable", "missing"),
    [("META_PIXEL_ID", "META_ACCESS_TOKEN"), ("META_ACCESS_TOKEN", "META_PIXEL_ID")],
)
def test_error_names_the_missing_variable(variable, missing):
    with pytest.raises(ConfigurationError, match=missing):
        MetaSettings.from_env({variable: "x"})


@pytest.mark.parametrize("source", get_args(ActionSource))
def test_every_action_source_is_a_valid_setting(settings, source):
    assert settings(action_source=source).action_source == source
