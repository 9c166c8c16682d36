"""`AnyTrackSettings`: URL and credentials of AnyTrack, and the session that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Self

import attrs

from anytrack_async.settings.consent import ConsentRule
from anytrack_async.settings.fields import (
    base_url,
    build_settings,
    header_value,
    instance_of,
    read_variables,
    require_variables,
    secret,
)
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import Transport
from anytrack_async.transport.session import Session

CONSENT_VARIABLES: Final = {
    "denied": "ANYTRACK_CONSENT_DENIED",
    "unknown": "ANYTRACK_CONSENT_UNKNOWN",
}
"""Field of `ConsentRule` → its environment variable."""


@attrs.frozen(kw_only=True)
class AnyTrackSettings:
    """How to reach AnyTrack.

    Attributes:
        api_key: API key, sent as bearer token.
        account_id: account id, sent as ``X-Account-ID``.
        base_url: URL of the API, HTTPS, with the version.
        consent: what AnyTrack gets by `Conversion.consent`. "Limited" leaves out IP address, user
            agent and page; without consent to ``ad_storage`` also the click ids, and AnyTrack then
            cannot attribute the conversion. The REST API never gets the customer.
        http: timeouts, connections, and retries of reads.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    # Setting → environment variable, which error messages name.
    VARIABLES: ClassVar = {
        "api_key": "ANYTRACK_API_KEY",
        "account_id": "ANYTRACK_ACCOUNT_ID",
        "base_url": "ANYTRACK_BASE_URL",
    }

    api_key: str = secret()
    account_id: str = attrs.field(validator=header_value)
    base_url: str = attrs.field(default="https://api.anytrack.io/v1", converter=base_url)
    consent: ConsentRule = attrs.field(factory=ConsentRule, validator=instance_of(ConsentRule))
    http: HttpSettings = attrs.field(factory=HttpSettings, validator=instance_of(HttpSettings))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return settings from ``ANYTRACK_API_KEY``, ``…_ACCOUNT_ID`` and ``…_BASE_URL``.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        values = read_variables(cls.VARIABLES, environ)
        require_variables(values, cls.VARIABLES, "api_key", "account_id")
        consent = ConsentRule.from_env(CONSENT_VARIABLES, environ, ConsentRule())
        return build_settings(cls, values, cls.VARIABLES, consent=consent)


COLLECT_VARIABLE: Final = "ANYTRACK_COLLECT_URL"
"""The environment variable with the URL of a collect endpoint, which needs no API key."""


def has_credentials(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether the API key or the account id is set."""
    values = read_variables(AnyTrackSettings.VARIABLES, environ)
    return "api_key" in values or "account_id" in values


def collect_url(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the value of ``ANYTRACK_COLLECT_URL``; None if it is not set or empty."""
    return read_variables({"url": COLLECT_VARIABLE}, environ).get("url")


def anytrack_session(
    settings: AnyTrackSettings, *, transport: Transport | None = None, limited: bool = True
) -> Session:
    """Return a session for requests to AnyTrack; see `Session` for *transport* and *limited*.

    Raises:
        ConfigurationError: the HTTP engine is not installed.
    """
    return Session(
        "anytrack",
        settings.base_url,
        headers={
            "Authorization": f"Bearer {settings.api_key}",
            "X-Account-ID": settings.account_id,
        },
        http=settings.http,
        transport=transport,
        limited=limited,
    )
