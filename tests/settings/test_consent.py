"""Rules for consent: what is decided, and how they are configured."""

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async import AnyTrackSettings, HubSpotSettings, MetaSettings
from anytrack_async.destinations.hubspot.settings import consent_rule
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.consent import Consent, ConsentState
from anytrack_async.settings.consent import ConsentRule

ENVIRON = {
    "ANYTRACK_API_KEY": "k",
    "ANYTRACK_ACCOUNT_ID": "a",
    "META_PIXEL_ID": "1",
    "META_ACCESS_TOKEN": "t",
    "HUBSPOT_ACCESS_TOKEN": "t",
}
DEFAULTS = [
    (AnyTrackSettings, "ANYTRACK", ConsentRule(denied="limited", unknown="send")),
    (MetaSettings, "META", ConsentRule(denied="skip", unknown="send")),
    (HubSpotSettings, "HUBSPOT", ConsentRule(denied="limited", unknown="send")),
]


def test_each_state_has_an_action():
    rule = ConsentRule(denied="skip", unknown="limited")

    assert [rule.action(state) for state in ConsentState] == ["send", "skip", "limited"]


@pytest.mark.parametrize(
    ("consent", "reason"),
    [
        (None, "ad_user_data is unknown"),
        (Consent(ad_storage=True), "ad_user_data is unknown"),
        (Consent(ad_user_data=False), "ad_user_data is denied"),
        (Consent(ad_user_data=True, ad_storage=False, ad_personalization=False), None),
    ],
)
def test_the_visitors_data_decide_whether_a_conversion_is_skipped(
    consent: Consent | None, reason: str | None
):
    assert ConsentRule(denied="skip", unknown="skip").skip_reason(consent) == reason
    assert ConsentRule(denied="limited", unknown="send").skip_reason(consent) is None


@pytest.mark.parametrize("wrong", ["drop", None, True, ""])
def test_other_actions_are_refused(wrong: Any):
    with pytest.raises(ConfigurationError, match="denied must be one of send, limited, skip"):
        ConsentRule(denied=wrong)


@pytest.mark.parametrize(("settings", "prefix", "default"), DEFAULTS)
def test_variables_change_the_rule_of_their_destination(
    settings: Any, prefix: str, default: ConsentRule
):
    assert settings.from_env(ENVIRON).consent == default
    environ = ENVIRON | {f"{prefix}_CONSENT_UNKNOWN": " Skip "}
    assert settings.from_env(environ).consent == ConsentRule(denied=default.denied, unknown="skip")
    with pytest.raises(ConfigurationError, match=f"{prefix}_CONSENT_DENIED: denied must be one of"):
        settings.from_env(ENVIRON | {f"{prefix}_CONSENT_DENIED": "no"})


def test_a_custom_event_of_hubspot_is_all_or_nothing():
    options: dict[str, Any] = {"access_token": "t", "consent": ConsentRule(unknown="limited")}
    events = HubSpotSettings(mode="events", event_name="pe1_x", **options)

    assert consent_rule(events) == ConsentRule(denied="skip", unknown="skip")
    assert consent_rule(HubSpotSettings(**options)) == options["consent"]
