"""`HubSpotSettings` and `OAuthSettings`: access to HubSpot, and how conversions appear there.

`resolve_pipelines` replaces the labels of pipelines and stages in the settings by HubSpot's ids.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias

import attrs

from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.settings.consent import ConsentAction, ConsentRule
from anytrack_async.settings.fields import (
    base_url,
    build_settings,
    header_value,
    instance_of,
    one_of,
    optional_callable,
    optional_header_value,
    positive,
    positive_integer,
    read_variables,
    require_variables,
    secret,
)
from anytrack_async.settings.http import HttpSettings

ByType: TypeAlias = Mapping[str, str] | Mapping[ConversionType, str]
"""Conversion type, as enumeration member or text → value."""

PropertySource: TypeAlias = Mapping[str, str] | Callable[[Conversion], Mapping[str, Any]]
"""HubSpot property → where its value comes from, or a function that returns property → value.

A mapping names a field of the conversion (``"ad_id"``), an entry of one (``"custom_data.plan"``,
``"sub_ids.s1"``, ``"customer.city"``), or gives a constant (``"=newbusiness"``).
"""

_TYPES = tuple(map(str, ConversionType))
_VERSION = re.compile(r"\d{4}-\d{2}|v3")


CONSENT_VARIABLES: Final = {
    "denied": "HUBSPOT_CONSENT_DENIED",
    "unknown": "HUBSPOT_CONSENT_UNKNOWN",
}
"""Field of `ConsentRule` → its environment variable."""


@attrs.frozen(kw_only=True)
class OAuthTokens:
    """The tokens of one refresh.

    Attributes:
        access_token: the new access token.
        refresh_token: the token for the next refresh; usually the same as before.
        expires_at: when `access_token` expires, aware UTC.
    """

    access_token: str = secret()
    refresh_token: str = secret()
    expires_at: datetime


@attrs.frozen(kw_only=True)
class OAuthSettings:
    """How an OAuth app gets its access tokens.

    Attributes:
        client_id: the app's client id.
        client_secret: the app's client secret.
        refresh_token: the refresh token of the portal that installed the app.
        on_tokens: called with each `OAuthTokens`, to save them; a plain or an async function.
    """

    VARIABLES: ClassVar = {
        "client_id": "HUBSPOT_CLIENT_ID",
        "client_secret": "HUBSPOT_CLIENT_SECRET",
        "refresh_token": "HUBSPOT_REFRESH_TOKEN",
    }

    client_id: str = attrs.field(validator=header_value)
    client_secret: str = secret()
    refresh_token: str = secret()
    on_tokens: Callable[[OAuthTokens], Awaitable[None] | None] | None = attrs.field(
        default=None, repr=False, validator=optional_callable
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self | None:
        """Return settings from the variables in `VARIABLES`; None if none of them is set.

        Raises:
            ConfigurationError: only some variables are set; the message names the missing ones.
        """
        values = read_variables(cls.VARIABLES, environ)
        if not values:
            return None
        require_variables(values, cls.VARIABLES, *cls.VARIABLES)
        return build_settings(cls, values, cls.VARIABLES)


def _stages(stages: ByType | None) -> Mapping[str, str]:
    defaults = dict.fromkeys(_TYPES, "qualifiedtobuy") | {"sale": "closedwon"}
    return defaults | _by_type("stages", {} if stages is None else stages)


def _pipelines(pipeline: str | ByType) -> Mapping[str, str]:
    if isinstance(pipeline, str):
        return dict.fromkeys(_TYPES, _stripped("pipeline", pipeline))
    return dict.fromkeys(_TYPES, "default") | _by_type("pipeline", pipeline)


def _by_type(setting: str, names: ByType) -> dict[str, str]:
    if not isinstance(names, Mapping):
        raise ConfigurationError(f"{setting} must be a mapping, got {type(names).__name__}")
    if not set(_TYPES).issuperset(names):
        types = ", ".join(_TYPES)
        raise ConfigurationError(f"{setting} may have only conversion types as keys: {types}")
    return {str(kind): _stripped(setting, name) for kind, name in names.items()}


def _stripped(setting: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{setting} must not be empty")
    if not value.strip().isprintable():
        raise ConfigurationError(f"{setting} must be printable: no line breaks or tabs")
    return value.strip()


def _check_version(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not _VERSION.fullmatch(value):
        raise ConfigurationError(f"{field.name} must be a date such as '2026-09', or 'v3'")


def _check_sources(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    if callable(value):
        return
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{field.name} must be a mapping or a function")
    for name, source in value.items():
        if not isinstance(source, str) or not source or not name:
            raise ConfigurationError(f"{field.name} must map property names to field names")


@attrs.frozen(kw_only=True)
class HubSpotSettings:
    """How to reach HubSpot and how conversions appear there.

    Attributes:
        access_token: token of a private app or a service key, sent as bearer token. With `oauth`,
            it is used until it expires.
        oauth: the OAuth app that refreshes the access token, instead of a static token.
        base_url: URL of the API, HTTPS.
        api_version: a date such as ``"2026-09"``, or ``"v3"`` for the older paths.
        mode: ``"deals"`` writes deals and contacts, ``"events"`` sends custom events of contacts.
        event_name: name of the custom event, ``"pe<portal>_<name>"``; required by mode
            ``"events"``.
        pipeline: internal id or label of the pipeline for new deals; by conversion type if they
            differ.
        stages: conversion type → internal id or label of the deal stage. Types left out keep
            ``"closedwon"`` (sale) and ``"qualifiedtobuy"`` (others).
        deal_name: function from a conversion to the deal's name; default ``"Conversion <id>"``.
        properties: further deal properties, see `PropertySource`.
        contact_properties: further contact properties, see `PropertySource`.
        contacts: whether the customer becomes a contact of the deal. Needs their e-mail address.
        consent: what HubSpot gets by `Conversion.consent`. "Limited" writes the deal without a
            contact, and functions for names and properties get the conversion without customer, IP
            address and user agent; without consent to ``ad_storage`` also without click ids. A
            custom event that is limited is skipped, because it needs a contact.
        property_group: property group in which `HubSpotSink.setup` creates the deal properties.
        rate_limit: requests allowed within `rate_interval`, until HubSpot's responses give the real
            number.
        rate_interval: seconds.
        time_zone: the portal's time zone; the daily limit ends at its midnight. If None, a used-up
            daily limit is probed every hour.
        http: timeouts, connections and engine.
    """

    VARIABLES: ClassVar = {"access_token": "HUBSPOT_ACCESS_TOKEN", "base_url": "HUBSPOT_BASE_URL"}

    access_token: str | None = secret(default=None)
    oauth: OAuthSettings | None = attrs.field(
        default=None, validator=attrs.validators.optional(instance_of(OAuthSettings))
    )
    base_url: str = attrs.field(default="https://api.hubapi.com", converter=base_url)
    api_version: str = attrs.field(default="2026-09", validator=_check_version)
    mode: Literal["deals", "events"] = attrs.field(
        default="deals", validator=one_of("deals", "events")
    )
    event_name: str | None = attrs.field(default=None, validator=optional_header_value)
    pipeline: Mapping[str, str] = attrs.field(default="default", converter=_pipelines)
    stages: Mapping[str, str] = attrs.field(default=None, converter=_stages)
    deal_name: Callable[[Conversion], str] | None = attrs.field(
        default=None, validator=optional_callable
    )
    properties: PropertySource = attrs.field(factory=dict, validator=_check_sources)
    contact_properties: PropertySource = attrs.field(factory=dict, validator=_check_sources)
    contacts: bool = True
    consent: ConsentRule = attrs.field(factory=ConsentRule, validator=instance_of(ConsentRule))
    property_group: str = attrs.field(default="dealinformation", validator=header_value)
    rate_limit: int = attrs.field(default=100, validator=positive_integer)
    rate_interval: float = attrs.field(default=10.0, validator=positive)
    time_zone: tzinfo | None = attrs.field(
        default=None, validator=attrs.validators.optional(instance_of(tzinfo))
    )
    http: HttpSettings = attrs.field(factory=HttpSettings, validator=instance_of(HttpSettings))

    def __attrs_post_init__(self) -> None:
        if self.access_token is None and self.oauth is None:
            raise ConfigurationError("HubSpotSettings needs access_token or oauth")
        if self.mode == "events" and self.event_name is None:
            raise ConfigurationError("mode 'events' needs an event_name such as 'pe123_conversion'")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self | None:
        """Return settings from a token or an OAuth app, and the URL, in the environment.

        Returns:
            None if neither ``HUBSPOT_ACCESS_TOKEN`` nor an OAuth app is set.

        Raises:
            ConfigurationError: a variable is wrong, or the OAuth app is set only in part; the
                message names the variables.
        """
        values = read_variables(cls.VARIABLES, environ)
        oauth = OAuthSettings.from_env(environ)
        if "access_token" not in values and oauth is None:
            return None
        consent = ConsentRule.from_env(CONSENT_VARIABLES, environ, ConsentRule())
        return build_settings(cls, values, cls.VARIABLES, oauth=oauth, consent=consent)


def consent_rule(settings: HubSpotSettings) -> ConsentRule:
    """Return the rule for consent: a custom event needs a contact, so it is all or nothing."""
    rule = settings.consent
    if settings.mode == "deals":
        return rule
    return ConsentRule(denied=_all_or_nothing(rule.denied), unknown=_all_or_nothing(rule.unknown))


def _all_or_nothing(action: ConsentAction) -> ConsentAction:
    return "skip" if action == "limited" else action


# Pipelines and stages by label

_STANDARD_STAGES = frozenset(
    {
        "appointmentscheduled",
        "qualifiedtobuy",
        "presentationscheduled",
        "decisionmakerboughtin",
        "contractsent",
        "closedwon",
        "closedlost",
    }
)
"""Ids of the stages that HubSpot gives every portal's default pipeline."""


def uses_standard_pipeline(settings: HubSpotSettings) -> bool:
    """Return whether the settings name only ids that every portal has, so need no look-up."""
    return set(settings.pipeline.values()) == {"default"} and _STANDARD_STAGES.issuperset(
        settings.stages.values()
    )


def resolve_pipelines(settings: HubSpotSettings, body: Any) -> HubSpotSettings:
    """Return *settings* with HubSpot's ids in place of labels.

    Args:
        settings: settings that name pipelines and stages by id or label.
        body: the portal's deal pipelines, as HubSpot returns them.

    Raises:
        ConfigurationError: the portal has no such pipeline or stage, or more than one with that
            label; the message names the setting and lists the existing pipelines or stages.

    Source: HubSpot, CRM API, pipelines, "Return all pipelines".
    """
    pipelines = _active(body.get("results") if isinstance(body, Mapping) else None)
    pipeline_ids, stage_ids = {}, {}
    for kind in ConversionType:
        pipeline = _find("HubSpot", "pipeline", "pipeline", settings.pipeline[kind], pipelines)
        owner = f"HubSpot's pipeline {_shown(pipeline)}"
        stages = _active(pipeline.get("stages"))
        stage = _find(owner, "stage", "stages", settings.stages[kind], stages)
        pipeline_ids[kind], stage_ids[kind] = str(pipeline["id"]), str(stage["id"])
    return attrs.evolve(settings, pipeline=pipeline_ids, stages=stage_ids)


def _find(
    owner: str, noun: str, setting: str, name: str, items: list[Mapping[str, Any]]
) -> Mapping[str, Any]:
    # An id wins over a label: the label of one pipeline may be the id of another.
    by_id = [item for item in items if str(item["id"]) == name]
    matches = by_id or [item for item in items if _label(item).casefold() == name.casefold()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigurationError(
            f"{owner} has more than one {noun} named {name!r}; "
            f"use its id in HubSpotSettings({setting}=…): {', '.join(map(_shown, matches))}"
        )
    choice = ", ".join(map(_shown, items))
    advice = f"set HubSpotSettings({setting}=…) to one of {choice}, or " if choice else ""
    raise ConfigurationError(
        f"{owner} has no {noun} {name!r}: {advice}create the {noun} in HubSpot"
    )


def _active(items: Any) -> list[Mapping[str, Any]]:
    if not isinstance(items, list):
        return []
    with_id = (item for item in items if isinstance(item, Mapping) and item.get("id"))
    return [item for item in with_id if not item.get("archived")]


def _label(item: Mapping[str, Any]) -> str:
    return str(item.get("label") or "").strip()


def _shown(item: Mapping[str, Any]) -> str:
    return f"{_label(item)!r} ({item['id']})"
