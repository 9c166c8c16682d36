"""Where conversions go: one sink for each service."""

from anytrack_async.sinks.anytrack import AnyTrackSink
from anytrack_async.sinks.base import (
    BatchRejected,
    CredentialsRejected,
    Sink,
    SinkLimits,
    SinkSignal,
    Throttled,
    Unavailable,
)
from anytrack_async.sinks.hubspot import HubSpotSink
from anytrack_async.sinks.meta import MetaSink

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
]
