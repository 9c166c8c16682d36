"""Settings: the credentials that the sandbox accepts, and the set-up of each stand-in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from attrs.validators import ge, gt

from anytrack_async.sandbox.faults import Faults

_strings = tuple[str, ...]


def _optional(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


# Converted to tuples, because the settings of a child process arrive as JSON lists.
def _names(default: tuple[str, ...], *, secret: bool = False) -> Any:
    return attrs.field(default=default, converter=_strings, repr=not secret)


@attrs.frozen(kw_only=True)
class AnyTrackAccount:
    """The AnyTrack stand-in.

    Attributes:
        keys: the API keys that it accepts.
        accounts: account ids that those keys may use.
        dedup: whether a repeated `Idempotency-Key` or `custom_data.event_id` is one conversion.
            The real service does not promise it: test a client with both.
        collect: the collect endpoints, as ``"<property>/<slug>"``.
        unknown_clicks: click ids that the collect endpoints do not know.
    """

    keys: tuple[str, ...] = _names(("sandbox-api-key",), secret=True)
    accounts: tuple[str, ...] = _names(("sandbox-account",))
    dedup: bool = True
    collect: tuple[str, ...] = _names(("sandbox-property/custom-sandbox",), secret=True)
    unknown_clicks: tuple[str, ...] = _names(("unknown-click",))


@attrs.frozen(kw_only=True)
class MetaPixel:
    """The Conversions API stand-in.

    Attributes:
        tokens: the access tokens that it accepts.
        pixels: pixel (dataset) ids that exist.
        app_secret: if set, a request must carry an `appsecret_proof` made with it.
    """

    tokens: tuple[str, ...] = _names(("sandbox-meta-token",), secret=True)
    pixels: tuple[str, ...] = _names(("1234567890",))
    app_secret: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class HubSpotPortal:
    """The HubSpot stand-in.

    Attributes:
        tokens: the service keys or private-app tokens that it accepts.
        scopes: scopes of those tokens; all if None.
        limit: requests per *interval*; association batches and searches are not counted.
        interval: length of the rolling interval, in seconds.
        daily: requests per day, in UTC.
        prepared: whether the custom deal properties of AnyTrack exist already.
        currencies: enabled ISO 4217 codes, the company currency first.
        client_id: of the OAuth app.
        client_secret: of the OAuth app.
        refresh_token: the refresh token that is accepted.
        token_life: lifetime of an access token from a refresh, in seconds.
    """

    tokens: tuple[str, ...] = _names(("sandbox-hubspot-token",), secret=True)
    scopes: tuple[str, ...] | None = attrs.field(default=None, converter=_optional)
    limit: int = attrs.field(default=100, validator=gt(0))
    interval: float = attrs.field(default=10.0, converter=float, validator=gt(0.0))
    daily: int = attrs.field(default=250_000, validator=gt(0))
    prepared: bool = True
    currencies: tuple[str, ...] = _names(
        ("USD", "EUR", "GBP", "CHF", "CAD", "AUD", "JPY", "SEK", "NOK", "DKK", "PLN", "BRL", "INR")
    )
    client_id: str = "sandbox-client"
    client_secret: str = attrs.field(default="sandbox-client-secret", repr=False)
    refresh_token: str = attrs.field(default="sandbox-refresh-token", repr=False)
    token_life: int = attrs.field(default=1800, validator=ge(0))


@attrs.frozen(kw_only=True)
class SandboxSettings:
    """The whole sandbox.

    Attributes:
        seed: for everything made up: journeys, clicks, the order of HubSpot's results.
        faults: the faults to inject.
        anytrack: the AnyTrack stand-in.
        meta: the Meta stand-in.
        hubspot: the HubSpot stand-in.
        keep: how many conversions and CRM records keep their content, newest first; ids and counts
            are kept for all of them.
    """

    seed: int = 0
    faults: Faults = attrs.field(factory=Faults)
    anytrack: AnyTrackAccount = attrs.field(factory=AnyTrackAccount)
    meta: MetaPixel = attrs.field(factory=MetaPixel)
    hubspot: HubSpotPortal = attrs.field(factory=HubSpotPortal)
    keep: int = attrs.field(default=200_000, validator=gt(0))

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SandboxSettings:
        """Return the settings that `as_dict` turned into *data*."""
        parts = {
            "faults": Faults,
            "anytrack": AnyTrackAccount,
            "meta": MetaPixel,
            "hubspot": HubSpotPortal,
        }
        return cls(**{k: parts[k](**v) if k in parts else v for k, v in data.items()})
