"""Who may call the sandbox, and how each stand-in is set up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from attrs.validators import ge, gt

from anytrack_async.sandbox.faults import Faults

_strings = tuple[str, ...]


def _optional(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _names(default: tuple[str, ...], *, secret: bool = False) -> Any:
    return attrs.field(default=default, converter=_strings, repr=not secret)


@attrs.frozen(kw_only=True)
class AnyTrackAccount:
    """The AnyTrack stand-in.

    Attributes:
        keys: API keys it takes.
        accounts: account ids those keys may use.
        dedup: whether a repeated `Idempotency-Key` or `custom_data.event_id` is one conversion.
            The real service does not promise that: try a client with both.
    """

    keys: tuple[str, ...] = _names(("sandbox-api-key",), secret=True)
    accounts: tuple[str, ...] = _names(("sandbox-account",))
    dedup: bool = True


@attrs.frozen(kw_only=True)
class MetaPixel:
    """The Conversions API stand-in.

    Attributes:
        tokens: access tokens it takes.
        pixels: pixel (dataset) ids that exist.
        app_secret: if given, a request must carry the `appsecret_proof` made with it.
    """

    tokens: tuple[str, ...] = _names(("sandbox-meta-token",), secret=True)
    pixels: tuple[str, ...] = _names(("1234567890",))
    app_secret: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class HubSpotPortal:
    """The HubSpot stand-in.

    Attributes:
        tokens: service keys or private-app tokens it takes.
        scopes: scopes those tokens have; all if not given.
        limit: requests per *interval*; association batches and searches are not counted.
        interval: length of the rolling window, in seconds.
        daily: requests per day of the portal.
        prepared: whether the custom deal properties of AnyTrack exist already.
        currencies: codes enabled in the portal, its own first.
        client_id: of the OAuth app whose refresh token is taken.
        client_secret: of that app.
        refresh_token: of that app.
        token_life: how long an access token from a refresh lives, in seconds.
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
        seed: of everything made up: journeys, clicks, the order of HubSpot's results.
        faults: what goes wrong on purpose.
        keep: how many conversions and CRM records are kept in full, newest first; ids and counts
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
        """Return the settings that `as_dict` gave."""
        parts = {
            "faults": Faults,
            "anytrack": AnyTrackAccount,
            "meta": MetaPixel,
            "hubspot": HubSpotPortal,
        }
        return cls(**{k: parts[k](**v) if k in parts else v for k, v in data.items()})
