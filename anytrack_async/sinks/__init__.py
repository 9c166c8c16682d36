"""Where conversions go: one sink for each service."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
    from anytrack_async.sinks.anytrack import AnyTrackSink
    from anytrack_async.sinks.base import (
        BatchRejected,
        CredentialsRejected,
        Sink,
        SinkLimits,
        SinkSignal,
        Throttled,
        Unavailable,
        Unfinished,
    )
    from anytrack_async.sinks.hubspot import HubSpotSink
    from anytrack_async.sinks.meta import MetaSink
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "anytrack": "AnyTrackSink",
            "base": (
                "BatchRejected CredentialsRejected Sink SinkLimits SinkSignal Throttled "
                "Unavailable Unfinished"
            ),
            "hubspot": "HubSpotSink",
            "meta": "MetaSink",
        },
    )

__all__ = [
    "AnyTrackSink",
    "BatchRejected",
    "CredentialsRejected",
    "HubSpotSink",
    "MetaSink",
    "Sink",
    "SinkLimits",
    "SinkSignal",
    "Throttled",
    "Unavailable",
    "Unfinished",
]
