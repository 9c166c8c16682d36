"""Where services are, from arguments and environment; secrets stay out of sight."""

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.errors import AnyTrackError, ConfigurationError
from anytrack_async.settings.environment import build, is_loopback
from anytrack_async.settings.http import HttpSettings

SECRET = "s3cr3t-t0k3n"
ANYTRACK = {"api_key": SECRET, "account_id": "a1"}
META = {"pixel_id": "p1", "access_token": SECRET}

ENV = {
    "ANYTRACK_API_KEY": SECRET,
    "ANYTRACK_ACCOUNT_ID": "a1",
    "ANYTRACK_BASE_URL": "https://example.com/v1/",
    "META_PIXEL_ID": "p1",
    "META_ACCESS_TOKEN": SECRET,
    "META_APP_SECRET": SECRET,
    "META_TEST_EVENT_CODE": "TEST1",
    "META_BASE_URL": "https://example.com/meta",
    "HUBSPOT_ACCESS_TOKEN": SECRET,
    "HUBSPOT_BASE_URL": "https://example.com/hubspot",
    "HUBSPOT_CLIENT_ID": "c1",
    "HUBSPOT_CLIENT_SECRET": SECRET,
    "HUBSPOT_REFRESH_TOKEN": SECRET,
}


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in ENV.items() if name not in names}


# Environment


def test_anytrack_is_set_up_by_the_environment(monkeypatch: pytest.MonkeyPatch):
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)

    settings = AnyTrackSettings.from_env()

    assert (settings.api_key, settings.account_id) == (SECRET, "a1")
    assert settings.base_url == "https://example.com/v1"


def test_the_base_url_has_a_default():
    assert AnyTrackSettings.from_env(without("ANYTRACK_BASE_URL")).base_url == (
        "https://api.anytrack.io/v1"
    )


@pytest.mark.parametrize(
    "missing", [["ANYTRACK_API_KEY"], ["ANYTRACK_ACCOUNT_ID"], list(ENV)[:2]], ids=str
)
@pytest.mark.parametrize("how", ["unset", "empty"])
def test_missing_variables_are_named(missing: list[str], how: str):
    environ = without(*missing) if how == "unset" else ENV | dict.fromkeys(missing, "")

    with pytest.raises(ConfigurationError) as caught:
        AnyTrackSettings.from_env(environ)

    assert str(caught.value) == f"set {' and '.join(missing)} in the environment"


def test_meta_is_set_up_by_the_environment():
    settings = MetaSettings.from_env(ENV)

    assert settings is not None
    assert (settings.pixel_id, settings.access_token) == ("p1", SECRET)
    assert (settings.app_secret, settings.test_event_code) == (SECRET, "TEST1")
    assert settings.base_url == "https://example.com/meta"


def test_hubspot_is_set_up_by_the_environment():
    settings = HubSpotSettings.from_env(ENV)

    assert settings is not None
    assert settings.access_token == SECRET
    assert settings.base_url == "https://example.com/hubspot"
    assert settings.oauth == OAuthSettings(
        client_id="c1", client_secret=SECRET, refresh_token=SECRET
    )


def test_what_is_not_set_is_off():
    assert MetaSettings.from_env({}) is None
    assert HubSpotSettings.from_env({}) is None
    assert OAuthSettings.from_env({}) is None


@pytest.mark.parametrize(
    ("cls", "missing"),
    [
        (MetaSettings, "META_PIXEL_ID"),
        (MetaSettings, "META_ACCESS_TOKEN"),
        (OAuthSettings, "HUBSPOT_CLIENT_ID"),
        (HubSpotSettings, "HUBSPOT_CLIENT_SECRET"),
        (HubSpotSettings, "HUBSPOT_REFRESH_TOKEN"),
    ],
)
def test_what_is_set_in_part_names_the_rest(cls: Any, missing: str):
    with pytest.raises(ConfigurationError, match=f"^set {missing} in the environment$"):
        cls.from_env(without(missing))


@pytest.mark.parametrize(
    ("cls", "variable", "value", "words"),
    [
        (AnyTrackSettings, "ANYTRACK_BASE_URL", "http://example.com", "base_url must be https"),
        (AnyTrackSettings, "ANYTRACK_API_KEY", SECRET + "\n", "api_key must be printable"),
        (AnyTrackSettings, "ANYTRACK_ACCOUNT_ID", " ", "account_id must not be empty"),
        (MetaSettings, "META_BASE_URL", "ftp://example.com", "base_url must be https"),
        (MetaSettings, "META_ACCESS_TOKEN", "ä", "access_token must be printable"),
        (HubSpotSettings, "HUBSPOT_BASE_URL", "example.com", "base_url must be https"),
        (HubSpotSettings, "HUBSPOT_CLIENT_SECRET", " x", "client_secret must be printable"),
    ],
)
def test_a_wrong_variable_is_named_without_its_value(
    cls: Any, variable: str, value: str, words: str
):
    with pytest.raises(ConfigurationError) as caught:
        cls.from_env(ENV | {variable: value})

    assert str(caught.value).startswith(f"{variable}: {words}")
    assert SECRET not in str(caught.value)


def test_a_fault_of_no_single_variable_is_told_as_it_is():
    with pytest.raises(ConfigurationError, match=r"^give access_token or oauth$"):
        build(HubSpotSettings, {}, HubSpotSettings.VARIABLES)


# Secrets


@pytest.mark.parametrize(
    "settings",
    [
        AnyTrackSettings(**ANYTRACK),
        MetaSettings(**META, app_secret=SECRET),
        HubSpotSettings(access_token=SECRET),
        HubSpotSettings.from_env(ENV),
        OAuthSettings.from_env(ENV),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_no_repr_shows_a_secret(settings: object):
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert SECRET not in shown
        assert "'…'" in shown


def test_a_secret_that_is_not_there_says_so():
    assert "app_secret=None" in repr(MetaSettings(**META))


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "must not be empty"),
        (" ", "must not be empty"),
        (None, "must be text, got NoneType"),
        (b"x", "must be text, got bytes"),
        ("x ", "printable ASCII without blanks around it"),
        ("x\ny", "printable ASCII"),
        ("ключ", "printable ASCII"),
    ],
)
def test_a_token_must_fit_into_a_header(token: Any, words: str):
    with pytest.raises(ConfigurationError, match=words):
        AnyTrackSettings(api_key=token, account_id="a1")


@pytest.mark.parametrize("account_id", ["", " ", None, 5])
def test_an_account_id_is_text(account_id: Any):
    with pytest.raises(ConfigurationError, match=r"^account_id must "):
        AnyTrackSettings(api_key=SECRET, account_id=account_id)


def test_http_settings_must_be_http_settings():
    with pytest.raises(ConfigurationError, match=r"http must be a HttpSettings\(…\), got int"):
        AnyTrackSettings(**ANYTRACK, http=30)  # type: ignore[arg-type]
    assert AnyTrackSettings(**ANYTRACK, http=HttpSettings(timeout=5)).http.timeout == 5


def test_a_wrong_setting_is_an_error_of_ours_and_a_value_error():
    with pytest.raises(ConfigurationError) as caught:
        AnyTrackSettings(api_key="", account_id="")
    assert isinstance(caught.value, AnyTrackError)
    assert isinstance(caught.value, ValueError)


# Addresses


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://api.example.com/v1//", "https://api.example.com/v1"),
        ("HTTPS://api.example.com:8443", "HTTPS://api.example.com:8443"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.8.8.8", "http://127.8.8.8"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("https://[2001:db8::1]/v1", "https://[2001:db8::1]/v1"),
    ],
)
def test_addresses_are_https_or_this_very_machine(url: str, kept: str):
    assert AnyTrackSettings(**ANYTRACK, base_url=url).base_url == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://localhost@example.com",
        "ftp://localhost",
        "file:///etc/passwd",
        "//example.com",
        "api.example.com",
        "https://",
        "https:///v1",
        "",
    ],
)
def test_plain_http_goes_nowhere_else(url: str):
    with pytest.raises(ConfigurationError, match=r"^base_url must be https://"):
        AnyTrackSettings(**ANYTRACK, base_url=url)


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@example.com",
        f"https://{SECRET}@example.com",
        f"https://example.com/?key={SECRET}",
        "https://example.com?",
        "https://example.com/#top",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://[::1",
        "https://example.com:99999",
        "https://example.com:port",
        None,
        b"https://example.com",
    ],
)
def test_addresses_are_host_port_and_path_only(url: Any):
    with pytest.raises(ConfigurationError, match=r"^base_url ") as caught:
        AnyTrackSettings(**ANYTRACK, base_url=url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("10.0.0.1", False), ("a.b", False)],
)
def test_loopback(host: str, loopback: bool):
    assert is_loopback(host) is loopback
