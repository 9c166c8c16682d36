import pytest

from anytrack_async.destinations.hubspot.settings import (
    HubSpotSettings,
    OAuthSettings,
    OAuthTokens,
    resolve_pipelines,
    uses_standard_pipeline,
)
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


def test_conversion_types_may_be_members_or_text(hs):
    settings = hs.settings(stages={ConversionType.LEAD: "a", "sale": "b"})

    assert (settings.stages["lead"], settings.stages[ConversionType.SALE]) == ("a", "b")


@pytest.mark.parametrize("setting", ["properties", "contact_properties"])
def test_an_unknown_conversion_field_is_named(make_sink, setting):
    with pytest.raises(ConfigurationError, match=rf"{setting}\['plan'\].*no field 'plan'"):
        make_sink(**{setting: {"plan": "plan"}})


def test_secrets_stay_out_of_the_repr():
    oauth = OAuthSettings(client_id="c", client_secret="hush", refresh_token="again")
    tokens = OAuthTokens(access_token="hush", refresh_token="again", expires_at=None)
    shown = repr(HubSpotSettings(access_token="hush", oauth=oauth)) + repr(tokens)

    assert "hush" not in shown
    assert "again" not in shown


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"access_token": None}, "access_token or oauth"),
        ({"access_token": " "}, "access_token"),
        ({"api_version": "v9"}, "api_version"),
        ({"api_version": 3}, "api_version"),
        ({"mode": "leads"}, "mode"),
        ({"mode": "events"}, "event_name"),
        ({"pipeline": " "}, "pipeline"),
        ({"stages": {"sale": ""}}, "stages"),
        ({"stages": {"purchase": "won"}}, "stages may have only conversion types as keys: sale"),
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
def test_a_wrong_setting_is_named(hs, values, message):
    with pytest.raises(ValueError, match=message):
        hs.settings(**values)


def test_a_callback_must_be_callable():
    with pytest.raises(ConfigurationError, match="on_tokens"):
        OAuthSettings(client_id="c", client_secret="s", refresh_token="r", on_tokens="x")


def test_the_environment_configures_a_token():
    environ = {"HUBSPOT_ACCESS_TOKEN": "t", "HUBSPOT_BASE_URL": "https://api.hubapi.eu/"}
    settings = HubSpotSettings.from_env(environ)

    assert settings is not None
    assert (settings.access_token, settings.base_url) == ("t", "https://api.hubapi.eu")
    assert settings.oauth is None


def test_the_environment_configures_an_oauth_app():
    settings = HubSpotSettings.from_env(OAUTH)

    assert settings is not None
    assert settings.access_token is None
    assert settings.oauth == OAuthSettings(
        client_id="client", client_secret="hush", refresh_token="refresh"
    )


def test_without_token_and_app_from_env_returns_none():
    assert HubSpotSettings.from_env({"HUBSPOT_BASE_URL": "https://api.hubapi.eu"}) is None


def test_a_partly_configured_app_names_the_missing_variables():
    with pytest.raises(ConfigurationError, match="HUBSPOT_REFRESH_TOKEN"):
        HubSpotSettings.from_env({"HUBSPOT_CLIENT_ID": "c", "HUBSPOT_CLIENT_SECRET": "s"})


# Pipelines and stages by label


def test_default_settings_need_no_lookup(hs):
    assert uses_standard_pipeline(hs.settings())
    assert uses_standard_pipeline(hs.settings(stages={"lead": "contractsent"}))
    assert not uses_standard_pipeline(hs.settings(stages={"lead": "Contract Sent"}))
    assert not uses_standard_pipeline(hs.settings(pipeline="1016"))


def test_labels_become_ids_in_any_case(hs):
    settings = resolve_pipelines(hs.settings(stages={"sale": " closed WON "}), hs.PIPELINES)

    assert settings.stages["sale"] == "closedwon"
    assert settings.stages["lead"] == "qualifiedtobuy"


def test_pipelines_and_their_stages_are_found_by_label(hs):
    settings = resolve_pipelines(
        hs.settings(pipeline="affiliate sales", stages=hs.STAGES), hs.PIPELINES
    )

    assert set(settings.pipeline.values()) == {"1016"}
    assert settings.stages == {"sale": "21", "lead": "20", "signup": "20", "custom": "20"}


def test_each_type_may_have_its_pipeline(hs):
    settings = resolve_pipelines(
        hs.settings(pipeline={"sale": "1016"}, stages={"sale": "Won"}), hs.PIPELINES
    )

    assert (settings.pipeline["sale"], settings.stages["sale"]) == ("1016", "21")
    assert (settings.pipeline["lead"], settings.stages["lead"]) == ("default", "qualifiedtobuy")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"pipeline": "Nope"},
            r"^HubSpot has no pipeline 'Nope': set HubSpotSettings\(pipeline=…\) to one of 'Sales ",
        ),
        ({"pipeline": "Gone"}, "no pipeline 'Gone'"),
        (
            {"pipeline": "TWIN"},
            r"^HubSpot has more than one pipeline named 'TWIN'; use its id in .*=….*'twin' \(8\)",
        ),
        (
            {"stages": {"sale": "Won"}},
            r"pipeline 'Sales Pipeline' \(default\) has no stage 'Won': set .*stages=.*closedwon",
        ),
        ({"stages": {"sale": "Old"}}, "no stage"),
        ({"pipeline": "7"}, r"has no stage 'closedwon': create the stage in HubSpot$"),
    ],
)
def test_an_unknown_name_lists_the_existing_ones(hs, values, message):
    with pytest.raises(ConfigurationError, match=message):
        resolve_pipelines(hs.settings(**values), hs.PIPELINES)


@pytest.mark.parametrize("answer", [None, [], {}, {"results": None}])
def test_a_response_without_pipelines_has_none(hs, answer):
    with pytest.raises(
        ConfigurationError, match="no pipeline 'default': create the pipeline in HubSpot"
    ):
        resolve_pipelines(hs.settings(), answer)
