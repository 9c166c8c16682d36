"""`WebhookSettings`: the receiver of webhooks, its secrets, and how it gets customer data."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias, get_args
from urllib.parse import urlsplit

import attrs

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.consent import ConsentRule
from anytrack_async.settings.fields import (
    build_settings,
    instance_of,
    is_loopback,
    one_of,
    read_variables,
    require_variables,
)
from anytrack_async.settings.http import HttpSettings

CustomerData: TypeAlias = Literal["raw", "masked", "hashed"]
"""How a receiver gets customer data: as values, as ``***``, or as SHA-256."""

_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)


def _redacted(value: object) -> str:
    return f"({', '.join(['…'] * len(value))})" if isinstance(value, tuple) else "'…'"


def _url(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str) or not value.isprintable() or not value.isascii() or " " in value:
        raise ConfigurationError("url must be text of ASCII without whitespace")
    try:
        parts = urlsplit(value)
        _port = parts.port
    except ValueError:
        raise ConfigurationError("url is not a URL: check host and port") from None
    if not _is_safe(parts.scheme, parts.hostname or ""):
        raise ConfigurationError("url must be https://… (plain http:// only to localhost)")
    if "@" in parts.netloc or "#" in value:
        raise ConfigurationError("url must not contain a user name or a fragment")


def _is_safe(scheme: str, host: str) -> bool:
    """Return whether a URL with *scheme* and *host* is encrypted, or stays on this machine."""
    return bool(host) and (scheme == "https" or (scheme == "http" and is_loopback(host)))


def _to_secrets(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _secrets(_: object, __: object, secrets: tuple[Any, ...]) -> None:
    if not secrets:
        raise ConfigurationError("secrets must not be empty")
    for secret in secrets:
        signing_key(secret)


def signing_key(secret: object) -> bytes:
    """Return the key in *secret*, ``whsec_`` and base64.

    Raises:
        ConfigurationError: it is not such a secret; the message does not show it.

    Source: Standard Webhooks, "Signature scheme", symmetric secrets.
    """
    try:
        if isinstance(secret, str) and secret.startswith(_PREFIX):
            # Secrets are often copied without the "=" at the end: 32 bytes are 43 digits and one.
            digits = secret.removeprefix(_PREFIX)
            key = b64decode(digits + "=" * (-len(digits) % 4), validate=True)
            if len(key) in _KEY_BYTES:
                return key
    except (Base64Error, ValueError):
        pass
    raise ConfigurationError(
        "secrets must be 'whsec_' and the base64 of 24 to 64 random bytes, e.g. "
        "'whsec_' + base64.b64encode(os.urandom(32)).decode()"
    )


@attrs.frozen(kw_only=True)
class WebhookSettings:
    """A receiver of signed webhooks.

    Attributes:
        url: where they are posted, HTTPS; may have a query. It is shown nowhere, because it may
            contain a token.
        secrets: one secret or several, ``whsec_…``; text may have several separated by commas. Each
            adds a signature, so that a receiver can be given a new secret while it knows the old
            one: add the new one, change the receiver, remove the old one.
        customer: the form of customer, IP address, browser and page: ``"hashed"`` (SHA-256 of the
            trimmed text in lower case; of a phone number, of its digits), ``"masked"`` (``***``),
            or ``"raw"`` (the values). `Conversion.meta` is sent only with ``"raw"``. Click ids,
            `Conversion.custom_data` and `Conversion.sub_ids` are always sent unchanged.
        consent: which conversions the receiver gets by `Conversion.consent`; a limited conversion
            has no customer, IP address and browser.
        http: timeouts and connections.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.

    Source: Standard Webhooks, www.standardwebhooks.com.
    """

    VARIABLES: ClassVar = {
        "url": "SIGNED_WEBHOOK_URL",
        "secrets": "SIGNED_WEBHOOK_SECRET",
        "customer": "SIGNED_WEBHOOK_CUSTOMER",
    }

    url: str = attrs.field(validator=_url, repr=_redacted)
    secrets: tuple[str, ...] = attrs.field(
        converter=_to_secrets, validator=_secrets, repr=_redacted
    )
    customer: CustomerData = attrs.field(
        default="hashed", validator=one_of(*get_args(CustomerData))
    )
    consent: ConsentRule = attrs.field(factory=ConsentRule, validator=instance_of(ConsentRule))
    http: HttpSettings = attrs.field(factory=HttpSettings, validator=instance_of(HttpSettings))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self | None:
        """Return settings from ``SIGNED_WEBHOOK_…``; None when neither URL nor secret is set.

        Raises:
            ConfigurationError: only one of the two is set, or a variable is wrong.
        """
        values = read_variables(cls.VARIABLES, environ)
        if "url" not in values and "secrets" not in values:
            return None
        require_variables(values, cls.VARIABLES, "url", "secrets")
        return build_settings(cls, values, cls.VARIABLES)
