"""Settings from environment variables, and the page that lists them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import anytrack_async
from anytrack_async import AnyTrackClient
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.fields import build_settings

SECRET = "s3cr3t-t0k3n"
ENV = {
    "ANYTRACK_API_KEY": SECRET,
    "ANYTRACK_ACCOUNT_ID": "a1",
    "ANYTRACK_BASE_URL": "https://example.com/v1/",
    "META_PIXEL_ID": "p1",
    "META_ACCESS_TOKEN": SECRET,
    "META_APP_SECRET": SECRET,
    "META_TEST_EVENT_CODE": "TEST1",
    "META_API_VERSION": "v99.0",
    "META_BASE_URL": "https://example.com/meta",
    "HUBSPOT_ACCESS_TOKEN": SECRET,
    "HUBSPOT_BASE_URL": "https://example.com/hubspot",
    "HUBSPOT_CLIENT_ID": "c1",
    "HUBSPOT_CLIENT_SECRET": SECRET,
    "HUBSPOT_REFRESH_TOKEN": SECRET,
    "SIGNED_WEBHOOK_URL": "https://example.com/hook",
    "SIGNED_WEBHOOK_SECRET": "whsec_" + "A" * 43,
}


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in ENV.items() if name not in names}


def test_anytrack_is_configured_by_environment_variables(monkeypatch: pytest.MonkeyPatch):
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)

    settings = AnyTrackSettings.from_env()

    assert (settings.api_key, settings.account_id) == (SECRET, "a1")
    assert settings.base_url == "https://example.com/v1"


def test_the_base_url_of_anytrack_has_a_default():
    assert AnyTrackSettings.from_env(without("ANYTRACK_BASE_URL")).base_url == (
        "https://api.anytrack.io/v1"
    )


@pytest.mark.parametrize(
    "missing", [["ANYTRACK_API_KEY"], ["ANYTRACK_ACCOUNT_ID"], list(ENV)[:2]], ids=str
)
@pytest.mark.parametrize("state", ["unset", "empty"])
def test_the_error_names_the_missing_variables(missing: list[str], state: str):
    environ = without(*missing) if state == "unset" else ENV | dict.fromkeys(missing, "")

    with pytest.raises(ConfigurationError) as caught:
        AnyTrackSettings.from_env(environ)

    assert str(caught.value) == f"set {' and '.join(missing)} in the environment"


def test_meta_is_configured_by_environment_variables():
    settings = MetaSettings.from_env(ENV)

    assert settings is not None
    assert (settings.pixel_id, settings.access_token) == ("p1", SECRET)
    assert (settings.app_secret, settings.test_event_code) == (SECRET, "TEST1")
    assert (settings.api_version, settings.base_url) == ("v99.0", "https://example.com/meta")


def test_hubspot_is_configured_by_environment_variables():
    settings = HubSpotSettings.from_env(ENV)

    assert settings is not None
    assert settings.access_token == SECRET
    assert settings.base_url == "https://example.com/hubspot"
    assert settings.oauth == OAuthSettings(
        client_id="c1", client_secret=SECRET, refresh_token=SECRET
    )


def test_a_destination_without_variables_is_off():
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
def test_the_error_names_the_variables_that_complete_a_partial_set(cls: Any, missing: str):
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
def test_the_error_names_an_invalid_variable_and_not_its_value(
    cls: Any, variable: str, value: str, words: str
):
    with pytest.raises(ConfigurationError) as caught:
        cls.from_env(ENV | {variable: value})

    assert str(caught.value).startswith(f"{variable}: {words}")
    assert SECRET not in str(caught.value)


def test_an_error_about_no_single_variable_stays_as_it_is():
    with pytest.raises(ConfigurationError, match=r"^HubSpotSettings needs access_token or oauth$"):
        build_settings(HubSpotSettings, {}, HubSpotSettings.VARIABLES)


# The reference


class Recorder(dict[str, str]):
    """An environment that records which variables are read."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return super().__getitem__(name)


def documented() -> set[str]:
    """The variables in the reference."""
    root = Path(__file__).parents[2]
    page = (root / "docs/reference/environment.md").read_text(encoding="utf-8")
    return {*re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)}


NO_VARIABLES = {"HUBSPOT_DEFINED"}  # a category of associations in HubSpot's API


def mentioned() -> set[str]:
    """String literals of the package that look like the name of a variable."""
    literals = {
        node.value
        for path in Path(anytrack_async.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    pattern = re.compile(r"(ANYTRACK|META|HUBSPOT|SIGNED_WEBHOOK)_[A-Z_]*[A-Z]")
    return set(filter(pattern.fullmatch, literals)) - NO_VARIABLES


def test_the_reference_lists_the_variables_that_from_env_reads():
    environ = Recorder(ENV)
    AnyTrackClient.from_env(environ)

    servers = {"ANYTRACK_CONSOLE_TOKEN", "ANYTRACK_WEBHOOK_SECRET"}  # of `console` and `listen`
    database = {"ANYTRACK_OUTBOX_LISTEN", "ANYTRACK_OUTBOX_SCHEMA"}  # of an outbox in PostgreSQL
    assert environ.read == documented() - servers - database


def test_the_reference_lists_every_variable_that_the_code_mentions():
    assert mentioned() == documented()


@pytest.mark.parametrize("cls", [AnyTrackSettings, MetaSettings, HubSpotSettings, OAuthSettings])
def test_each_variable_is_read_into_the_field_of_its_class(cls: Any):
    assert set(cls.VARIABLES) <= {field.name for field in cls.__attrs_attrs__}
