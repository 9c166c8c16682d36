"""Where conversions go: one sink for each service."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily
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

if TYPE_CHECKING:
    from anytrack_async.sinks.hubspot import HubSpotSink
    from anytrack_async.sinks.meta import MetaSink

__getattr__ = lazily(
    __name__,
    {"HubSpotSink": "anytrack_async.sinks.hubspot", "MetaSink": "anytrack_async.sinks.meta"},
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
]
