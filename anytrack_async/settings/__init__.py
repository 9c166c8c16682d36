"""Settings: frozen, checked in their constructors, free of I/O; secrets have a redacted `repr`."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "delivery": "DeliverySettings",
            "http": "HttpSettings Retry",
            "hubspot": "HubSpotSettings OAuthSettings OAuthTokens PropertySource",
            "meta": "MetaSettings",
            "services": "AnyTrackSettings",
        },
    )

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
