"""Settings: their validation, and the round trip to the server process."""

from __future__ import annotations

import pytest

from anytrack_async.sandbox import (
    AnyTrackAccount,
    Faults,
    HubSpotPortal,
    MetaPixel,
    SandboxSettings,
    environment,
    exports,
)


def test_settings_survive_a_round_trip_as_plain_data():
    settings = SandboxSettings(
        seed=7,
        keep=10,
        faults=Faults(rate=0.2, seed=3, kinds=("reset", "cut"), services=("meta",)),
        anytrack=AnyTrackAccount(keys=("k",), dedup=False),
        meta=MetaPixel(app_secret="s"),
        hubspot=HubSpotPortal(limit=5, scopes=("crm.objects.deals.write",), currencies=("EUR",)),
    )

    assert SandboxSettings.from_dict(settings.as_dict()) == settings


def test_secrets_are_not_in_the_repr():
    settings = SandboxSettings(
        anytrack=AnyTrackAccount(keys=("secret-1",)),
        meta=MetaPixel(tokens=("secret-2",), app_secret="secret-3"),
        hubspot=HubSpotPortal(
            tokens=("secret-4",), client_secret="secret-5", refresh_token="secret-6"
        ),
    )

    assert "secret-" not in repr(settings)


@pytest.mark.parametrize(
    "bad", [{"rate": 1.5}, {"rate": -0.1}, {"kinds": ("fire",)}, {"services": ("crm",)}]
)
def test_invalid_faults_are_rejected(bad):
    with pytest.raises(ValueError, match="must be"):
        Faults(**bad)


def test_environment_points_a_client_at_every_service():
    assert environment(SandboxSettings(), "http://127.0.0.1:8400") == {
        "ANYTRACK_API_KEY": "sandbox-api-key",
        "ANYTRACK_ACCOUNT_ID": "sandbox-account",
        "ANYTRACK_BASE_URL": "http://127.0.0.1:8400/v1",
        "META_PIXEL_ID": "1234567890",
        "META_ACCESS_TOKEN": "sandbox-meta-token",
        "META_BASE_URL": "http://127.0.0.1:8400",
        "HUBSPOT_ACCESS_TOKEN": "sandbox-hubspot-token",
        "HUBSPOT_BASE_URL": "http://127.0.0.1:8400",
    }


def test_exports_are_quoted_for_a_shell():
    settings = SandboxSettings(
        anytrack=AnyTrackAccount(keys=("with blank",)), meta=MetaPixel(app_secret="s")
    )

    lines = exports(settings, "http://127.0.0.1:1")

    assert lines[0] == "export ANYTRACK_API_KEY='with blank'"
    assert lines[-2:] == [
        "export META_APP_SECRET=s",
        "export META_TEST_EVENT_CODE=TEST_SANDBOX",  # for `anytrack check`
    ]
