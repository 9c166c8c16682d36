import pytest

from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings, OAuthTokens
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import ConversionType

OAUTH = {
    "HUBSPOT_CLIENT_ID": "client",
    "HUBSPOT_CLIENT_SECRET": "hush",
    "HUBSPOT_REFRESH_TOKEN": "refresh",
}


def test_a_token_is_enough(hs):
    settings = hs.settings()

    assert settings.api_version == "2026-09"
    assert set(settings.pipeline.values()) == {"default"}
    assert settings.stages[ConversionType.SALE] == "closedwon"
    assert set(settings.stages) == set(settings.pipeline) == set(ConversionType)


def test_types_are_taken_as_members_and_as_text(hs):
    settings = hs.settings(stages={ConversionType.LEAD: "a", "sale": "b"})

    assert (settings.stages["lead"], settings.stages[ConversionType.SALE]) == ("a", "b")


@pytest.mark.parametrize("setting", ["properties", "contact_properties"])
def test_a_field_no_conversion_has_is_named(make_sink, setting):
    with pytest.raises(ConfigurationError, match=rf"{setting}\['plan'\].*no field 'plan'"):
        make_sink(**{setting: {"plan": "plan"}})


def test_secrets_stay_out_of_the_repr():
    oauth = OAuthSettings(client_id="c", client_secret="hush", refresh_token="again")
    tokens = OAuthTokens(access_token="hush", refresh_token="again", expires_at=None)
    shown = repr(HubSpotSettings(access_token="hush", oauth=oauth)) + repr(tokens)

    assert "hush" not in shown
    assert "again" not in shown


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"access_token": None}, "access_token or oauth"),
        ({"access_token": " "}, "access_token"),
        ({"api_version": "v9"}, "api_version"),
        ({"api_version": 3}, "api_version"),
        ({"mode": "leads"}, "mode"),
        ({"mode": "events"}, "event_name"),
        ({"pipeline": " "}, "pipeline"),
        ({"stages": {"sale": ""}}, "stages"),
        ({"stages": {"purchase": "won"}}, "stages takes the conversion types sale"),
        ({"properties": {"": "ad_id"}}, "property names"),
        ({"properties": {"plan": 1}}, "property names"),
        ({"properties": {"plan": ""}}, "property names"),
        ({"contact_properties": 5}, "contact_properties"),
        ({"properties": ["plan"]}, "mapping or a function"),
        ({"rate_limit": 0}, "rate_limit"),
        ({"rate_limit": 1.5}, "rate_limit must be a whole number"),
        ({"stages": ["won"]}, "stages must be a mapping, got list"),
        ({"stages": ""}, "stages must be a mapping, got str"),
        ({"pipeline": 5}, "pipeline must be a mapping, got int"),
        ({"deal_name": "x"}, "deal_name must be a function"),
        ({"time_zone": "Europe/Berlin"}, "time_zone must be a tzinfo"),
        ({"oauth": "secret"}, r"oauth must be a OAuthSettings\(…\), got str"),
        ({"http": 30}, r"http must be a HttpSettings\(…\), got int"),
        ({"base_url": "http://api.hubapi.com"}, "base_url"),
    ],
)
def test_a_wrong_setting_is_named(hs, given, named):
    with pytest.raises(ValueError, match=named):
        hs.settings(**given)


def test_a_callback_must_be_callable():
    with pytest.raises(ConfigurationError, match="on_tokens"):
        OAuthSettings(client_id="c", client_secret="s", refresh_token="r", on_tokens="x")


def test_the_environment_gives_a_token():
    environ = {"HUBSPOT_ACCESS_TOKEN": "t", "HUBSPOT_BASE_URL": "https://api.hubapi.eu/"}
    settings = HubSpotSettings.from_env(environ)

    assert settings is not None
    assert (settings.access_token, settings.base_url) == ("t", "https://api.hubapi.eu")
    assert settings.oauth is None


def test_the_environment_gives_an_oauth_app():
    settings = HubSpotSettings.from_env(OAUTH)

    assert settings is not None
    assert settings.access_token is None
    assert settings.oauth == OAuthSettings(
        client_id="client", client_secret="hush", refresh_token="refresh"
    )


def test_without_token_and_app_there_is_no_hubspot():
    assert HubSpotSettings.from_env({"HUBSPOT_BASE_URL": "https://api.hubapi.eu"}) is None


def test_half_an_app_names_what_is_missing():
    with pytest.raises(ConfigurationError, match="HUBSPOT_REFRESH_TOKEN"):
        HubSpotSettings.from_env({"HUBSPOT_CLIENT_ID": "c", "HUBSPOT_CLIENT_SECRET": "s"})
