"""Settings: frozen, checked in their constructors, free of I/O; secrets have a redacted `repr`."""

from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.settings.hubspot import (
    HubSpotSettings,
    OAuthSettings,
    OAuthTokens,
    PropertySource,
)
from anytrack_async.settings.meta import MetaSettings
from anytrack_async.settings.services import AnyTrackSettings

__all__ = [
    "AnyTrackSettings",
    "DeliverySettings",
    "HttpSettings",
    "HubSpotSettings",
    "MetaSettings",
    "OAuthSettings",
    "OAuthTokens",
    "PropertySource",
    "Retry",
]
