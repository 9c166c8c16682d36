"""Fields of settings: no `repr` shows a secret, tokens fit into a header, URLs are HTTPS."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import pytest

import anytrack_async
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.collect.settings import CollectSettings
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings, OAuthTokens
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.webhook.settings import WebhookSettings
from anytrack_async.errors import AnyTrackError, ConfigurationError
from anytrack_async.settings.consent import ConsentRule
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.fields import check_header_value, is_loopback
from anytrack_async.settings.http import HttpSettings, ResponseLimits, Retry

SECRET = "s3cr3t-t0k3n"
ANYTRACK = {"api_key": SECRET, "account_id": "a1"}
META = {"pixel_id": "p1", "access_token": SECRET}
OAUTH = {"client_id": "c1", "client_secret": SECRET, "refresh_token": SECRET}


# Secrets


@pytest.mark.parametrize(
    "settings",
    [
        AnyTrackSettings(**ANYTRACK),
        MetaSettings(**META, app_secret=SECRET),
        HubSpotSettings(access_token=SECRET),
        HubSpotSettings(oauth=OAuthSettings(**OAUTH)),
        OAuthSettings(**OAUTH),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_no_repr_shows_a_secret(settings: object):
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert SECRET not in shown
        assert "'…'" in shown


def test_the_repr_of_an_unset_secret_is_none():
    assert "app_secret=None" in repr(MetaSettings(**META))


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "must not be empty"),
        (" ", "must not be empty"),
        (None, "must be text, got NoneType"),
        (b"x", "must be text, got bytes"),
        ("x ", "must not start or end with whitespace"),
        ("x\ny", "printable ASCII"),
        ("ключ", "printable ASCII"),
    ],
)
def test_a_token_must_fit_into_a_header(token: Any, words: str):
    with pytest.raises(ConfigurationError, match=words):
        AnyTrackSettings(api_key=token, account_id="a1")


def test_the_message_about_a_token_does_not_quote_it():
    with pytest.raises(ConfigurationError) as caught:
        check_header_value("token", SECRET + "\n")

    assert str(caught.value).startswith("token must be printable ASCII")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("account_id", ["", " ", None, 5, "ä", "a1 ", "a\n1"])
def test_an_account_id_must_fit_into_a_header(account_id: Any):
    with pytest.raises(ConfigurationError, match=r"^account_id must "):
        AnyTrackSettings(api_key=SECRET, account_id=account_id)


def test_http_settings_must_be_http_settings():
    with pytest.raises(ConfigurationError, match=r"http must be a HttpSettings\(…\), got int"):
        AnyTrackSettings(**ANYTRACK, http=30)  # type: ignore[arg-type]
    assert AnyTrackSettings(**ANYTRACK, http=HttpSettings(timeout=5)).http.timeout == 5


def test_an_invalid_setting_raises_an_anytrack_error_that_is_a_value_error():
    with pytest.raises(ConfigurationError) as caught:
        AnyTrackSettings(api_key="", account_id="")
    assert isinstance(caught.value, AnyTrackError)
    assert isinstance(caught.value, ValueError)


# Text

TEXT_SETTINGS: dict[type, dict[str, Any]] = {
    AnyTrackSettings: ANYTRACK,
    CollectSettings: {"property_id": SECRET, "slug": SECRET},
    WebhookSettings: {"url": "https://hooks.test", "secrets": "whsec_" + "A" * 43},
    MetaSettings: META,
    HubSpotSettings: {"access_token": SECRET},
    OAuthSettings: OAUTH,
    OAuthTokens: {"access_token": "a", "refresh_token": "r", "expires_at": datetime.now(UTC)},
    DeliverySettings: {},
    HttpSettings: {},
    ResponseLimits: {},
    Retry: {},
    ConsentRule: {},
}
"""Class → arguments that it needs."""


def settings_classes() -> set[type]:
    """Every attrs class in a module of settings, without the sandbox's."""
    root = Path(anytrack_async.__file__).parent
    files = [*root.glob("settings/*.py"), *root.glob("destinations/*/settings.py")]
    names = [".".join(file.relative_to(root.parent).with_suffix("").parts) for file in files]
    members = [(name, cls) for name in names for cls in vars(import_module(name)).values()]
    return {
        cls for name, cls in members if attrs.has(cls) and getattr(cls, "__module__", "") == name
    }


def text_fields() -> list[tuple[type, str]]:
    return [
        (cls, name)
        for cls in sorted(settings_classes(), key=lambda cls: cls.__name__)
        for name, hint in get_type_hints(cls).items()
        if hint in (str, str | None)
    ]


def test_every_settings_class_is_covered():
    assert settings_classes() == TEXT_SETTINGS.keys()
    assert {name for _, name in text_fields()} > {"pixel_id", "test_event_code", "client_id"}


@pytest.mark.parametrize(("cls", "name"), text_fields())
@pytest.mark.parametrize(
    "value", ["", " ", "\n", "x\n", "\nx", "x\ny", " x", "x ", "x\r", "x\ty", "\x00x", "\ufeffx", 5]
)
def test_text_must_not_be_blank_nor_have_whitespace_around_it(cls: type, name: str, value: Any):
    with pytest.raises(ConfigurationError, match=f"^{name} ") as caught:
        cls(**TEXT_SETTINGS[cls] | {name: value})
    assert str(value).strip() in ("", "5", "x") or str(value) not in str(caught.value)


@pytest.mark.parametrize("setting", ["pipeline", "stages"])
@pytest.mark.parametrize("value", ["", " ", "a\nb", "a\tb", 5])
def test_names_of_pipelines_and_stages_are_printable(setting: str, value: Any):
    with pytest.raises(ConfigurationError, match=f"^{setting} must "):
        HubSpotSettings(access_token=SECRET, **{setting: {"sale": value}})


@pytest.mark.parametrize(("cls", "name"), text_fields())
def test_the_error_about_text_names_its_variable(cls: Any, name: str):
    variable = getattr(cls, "VARIABLES", {}).get(name)
    if variable is not None:
        environ = dict.fromkeys(cls.VARIABLES.values(), "x")
        environ |= {names: "https://example.com" for names in environ if names.endswith("_URL")}
        with pytest.raises(ConfigurationError, match=f"^{variable}: {name} must "):
            cls.from_env(environ | {variable: "x\n"})


# URLs


@pytest.mark.parametrize(
    ("url", "normalised"),
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
def test_a_base_url_is_https_or_on_this_machine(url: str, normalised: str):
    assert AnyTrackSettings(**ANYTRACK, base_url=url).base_url == normalised


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
def test_plain_http_to_another_machine_is_refused(url: str):
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
def test_a_base_url_has_host_port_and_path_only(url: Any):
    with pytest.raises(ConfigurationError, match=r"^base_url ") as caught:
        AnyTrackSettings(**ANYTRACK, base_url=url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("10.0.0.1", False), ("a.b", False)],
)
def test_is_loopback(host: str, loopback: bool):
    assert is_loopback(host) is loopback
