"""`MetaSettings`: access to Meta's Conversions API, and defaults of its events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Self, TypeAlias, get_args

import attrs

from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.meta_types import ActionSource
from anytrack_async.settings.consent import ConsentRule
from anytrack_async.settings.fields import (
    base_url,
    build_settings,
    check_header_value,
    header_value,
    instance_of,
    optional_callable,
    optional_header_value,
    positive,
    positive_integer,
    read_variables,
    require_variables,
    secret,
)
from anytrack_async.settings.http import HttpSettings

EventNameFunction: TypeAlias = Callable[[Conversion], str | None]
"""Returns Meta's event name for a conversion; None for the usual name."""

EventIdFunction: TypeAlias = Callable[[Conversion], str | None]
"""Returns the event id that Meta gets for a conversion; None for the conversion's own."""

_CONSENT = ConsentRule(denied="skip")

_MAX_PARTNER_AGENT = 22
_MIB = 1024 * 1024
_VERSION = re.compile(r"v\d+\.\d+")
_REGION = re.compile(r"[A-Za-z]{2}")
_ACTION_SOURCES = get_args(ActionSource)


def _partner_agent(_: object, __: object, value: Any) -> None:
    if value is None:
        return
    if len(check_header_value("partner_agent", value)) > _MAX_PARTNER_AGENT:
        raise ConfigurationError(f"partner_agent must have 1 to {_MAX_PARTNER_AGENT} characters")


def _action_source(_: object, __: object, value: object) -> None:
    if value not in _ACTION_SOURCES:
        raise ConfigurationError(f"action_source must be one of {', '.join(_ACTION_SOURCES)}")


def _version(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not _VERSION.fullmatch(value):
        raise ConfigurationError(f"{field.name} must be a version such as 'v26.0'")


def _region(_: object, __: object, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and _REGION.fullmatch(value)):
        raise ConfigurationError("phone_region must be a two-letter code such as 'GB'")


def _batch(_: object, field: attrs.Attribute[int], value: int) -> None:
    positive_integer(_, field, value)
    if value > 1000:
        raise ConfigurationError("batch must be 1 to 1000: Meta takes no more in a request")


CONSENT_VARIABLES: Final = {
    "denied": "META_CONSENT_DENIED",
    "unknown": "META_CONSENT_UNKNOWN",
}
"""Field of `ConsentRule` → its environment variable."""


@attrs.frozen(kw_only=True)
class MetaSettings:
    """Access to Meta's Conversions API, and defaults of its events.

    Attributes:
        pixel_id: the pixel or dataset that receives the events.
        access_token: sent in the ``Authorization`` header, never in a URL.
        app_secret: adds ``appsecret_proof`` to each request.
        test_event_code: shows the events under "Test events" in Events Manager.
        base_url: HTTPS, without the version.
        api_version: version of the Graph API, such as ``"v26.0"``.
        action_source: where conversions happen: ``"website"``, ``"app"``, ``"email"``, ….
        partner_agent: your platform's name, below 23 characters.
        event_name: returns Meta's name of an event, or None for the usual one: ``Purchase`` for a
            sale, ``Lead`` for a lead, ``CompleteRegistration`` for a sign-up, and the event's own
            name for a custom event.
        event_id: returns the ``event_id`` that Meta gets, or None for the conversion's own. Your
            pixel must send the same one for the same event, because Meta drops the second of two
            events with equal name and id. A pixel often sends the bare order id: ``lambda
            conversion: conversion.order_id``. See docs/pixel-pairing.md.
        consent: what Meta gets by `Conversion.consent`; events without consent to ``ad_user_data``
            are skipped by default. "Limited" asks for Limited Data Use, which Meta applies in some
            states of the US only; and without consent to ``ad_storage``, Meta gets neither ``fbc``
            nor ``fbp``.
        limited_data_use: asks for Limited Data Use unless `MetaFields` sets its options; Meta finds
            out the state.
        opt_out: lets Meta use events for attribution only, unless `MetaFields` sets it.
        hash_external_id: False sends `Customer.external_id` as given. It must have the form that
            your pixel sends.
        phone_region: ISO 3166-1 alpha-2 code of where customers write numbers without country code,
            e.g. ``"GB"``; with the ``[normalise]`` extra. Numbers need a country code without it.
        country_names: read any country name or code; with the ``[normalise]`` extra. Without it,
            codes and common names are read.
        batch: maximum of events in one request, up to 1,000.
        max_bytes: maximum of bytes in the body of a request; a longer batch is sent in several.
        concurrency: maximum of requests at the same time.
        http: time-outs, connections and engine.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    VARIABLES: ClassVar = {
        "pixel_id": "META_PIXEL_ID",
        "access_token": "META_ACCESS_TOKEN",
        "app_secret": "META_APP_SECRET",
        "test_event_code": "META_TEST_EVENT_CODE",
        "api_version": "META_API_VERSION",
        "base_url": "META_BASE_URL",
    }

    pixel_id: str = attrs.field(validator=header_value)
    access_token: str = secret()
    app_secret: str | None = secret(default=None)
    test_event_code: str | None = attrs.field(default=None, validator=optional_header_value)
    base_url: str = attrs.field(default="https://graph.facebook.com", converter=base_url)
    api_version: str = attrs.field(default="v26.0", validator=_version)
    action_source: ActionSource = attrs.field(default="website", validator=_action_source)
    partner_agent: str | None = attrs.field(default=None, validator=_partner_agent)
    event_name: EventNameFunction | None = attrs.field(default=None, validator=optional_callable)
    event_id: EventIdFunction | None = attrs.field(default=None, validator=optional_callable)
    consent: ConsentRule = attrs.field(default=_CONSENT, validator=instance_of(ConsentRule))
    limited_data_use: bool = False
    opt_out: bool = False
    hash_external_id: bool = True
    phone_region: str | None = attrs.field(default=None, validator=_region)
    country_names: bool = False
    batch: int = attrs.field(default=1000, validator=_batch)
    max_bytes: int = attrs.field(default=4 * _MIB, validator=positive)
    concurrency: int = attrs.field(default=6, validator=positive_integer)
    http: HttpSettings = attrs.field(factory=HttpSettings, validator=instance_of(HttpSettings))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self | None:
        """Return settings from ``META_…``; None when neither pixel nor token is set.

        Raises:
            ConfigurationError: only one of the two is set; the message names the other.
        """
        values = read_variables(cls.VARIABLES, environ)
        if "pixel_id" not in values and "access_token" not in values:
            return None
        require_variables(values, cls.VARIABLES, "pixel_id", "access_token")
        consent = ConsentRule.from_env(CONSENT_VARIABLES, environ, _CONSENT)
        return build_settings(cls, values, cls.VARIABLES, consent=consent)
