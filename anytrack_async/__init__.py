"""Async conversion tracking: every sale and lead to AnyTrack, Meta and HubSpot at once.

    async with AnyTrackClient.from_env() as client:
        receipt = await client.track_sale(click_id="…", revenue="49.90", order_id="1001")

An accepted conversion is written down once, in an outbox, and every destination works through that
record at its own pace.
"""

import typing as _typing

from anytrack_async._lazy import lazily as _lazily
from anytrack_async._version import __version__

# Importing the package is cheap: a name's module is loaded when the name is asked for.
if _typing.TYPE_CHECKING:  # pragma: no cover
    from anytrack_async.client import AnyTrackClient, DestinationStats, Stats
    from anytrack_async.delivery import Delivery, LaneState
    from anytrack_async.endpoints import AffiliateMetric, DateRange
    from anytrack_async.errors import (
        AnyTrackError,
        ClosedError,
        ConfigurationError,
        ConflictError,
        CredentialsError,
        DeadLetterError,
        DecodeError,
        DeliveryError,
        DeliveryTimeoutError,
        InvalidConversionError,
        NotFoundError,
        OutboxError,
        QueueFullError,
        RateLimitedError,
        RejectedError,
        SchemaVersionError,
        ServerError,
        ServiceError,
        TransportError,
        UndeliveredError,
    )
    from anytrack_async.events import (
        DeadLettered,
        Delivered,
        Dropped,
        Event,
        LaneDown,
        LaneHeld,
        LaneResumed,
        LaneThrottled,
        LoggingObserver,
        Observer,
        Retried,
        Submitted,
        Weakened,
    )
    from anytrack_async.models import (
        AffiliatePerformance,
        Amount,
        Attribution,
        Conversion,
        ConversionFields,
        ConversionType,
        Customer,
        DailyReport,
        LineItem,
        Outcome,
        PricedFields,
        Receipt,
        Report,
        Status,
        Touchpoint,
        new_event_id,
    )
    from anytrack_async.outbox import DeadLetter, Depth, MemoryOutbox, Outbox, SQLiteOutbox
    from anytrack_async.settings import (
        AnyTrackSettings,
        DeliverySettings,
        HttpSettings,
        HubSpotSettings,
        MetaSettings,
        Retry,
    )
    from anytrack_async.sinks import (
        AnyTrackSink,
        BatchRejected,
        CredentialsRejected,
        HubSpotSink,
        MetaSink,
        Sink,
        SinkLimits,
        SinkSignal,
        Throttled,
        Unavailable,
        Unfinished,
    )
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "client": "AnyTrackClient DestinationStats Stats",
            "delivery": "Delivery LaneState",
            "endpoints": "AffiliateMetric DateRange",
            "errors": (
                "AnyTrackError ClosedError ConfigurationError ConflictError CredentialsError "
                "DeadLetterError DecodeError DeliveryError DeliveryTimeoutError "
                "InvalidConversionError NotFoundError OutboxError QueueFullError RateLimitedError "
                "RejectedError SchemaVersionError ServerError ServiceError TransportError "
                "UndeliveredError"
            ),
            "events": (
                "DeadLettered Delivered Dropped Event LaneDown LaneHeld LaneResumed LaneThrottled "
                "LoggingObserver Observer Retried Submitted Weakened"
            ),
            "models": (
                "AffiliatePerformance Amount Attribution Conversion ConversionFields "
                "ConversionType Customer DailyReport LineItem Outcome PricedFields Receipt Report "
                "Status Touchpoint new_event_id"
            ),
            "outbox": "DeadLetter Depth MemoryOutbox Outbox SQLiteOutbox",
            "settings": (
                "AnyTrackSettings DeliverySettings HttpSettings HubSpotSettings MetaSettings Retry"
            ),
            "sinks": (
                "AnyTrackSink BatchRejected CredentialsRejected HubSpotSink MetaSink Sink "
                "SinkLimits SinkSignal Throttled Unavailable Unfinished"
            ),
        },
    )

__all__ = [
    "AffiliateMetric",
    "AffiliatePerformance",
    "Amount",
    "AnyTrackClient",
    "AnyTrackError",
    "AnyTrackSettings",
    "AnyTrackSink",
    "Attribution",
    "BatchRejected",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "Conversion",
    "ConversionFields",
    "ConversionType",
    "CredentialsError",
    "CredentialsRejected",
    "Customer",
    "DailyReport",
    "DateRange",
    "DeadLetter",
    "DeadLetterError",
    "DeadLettered",
    "DecodeError",
    "Delivered",
    "Delivery",
    "DeliveryError",
    "DeliverySettings",
    "DeliveryTimeoutError",
    "Depth",
    "DestinationStats",
    "Dropped",
    "Event",
    "HttpSettings",
    "HubSpotSettings",
    "HubSpotSink",
    "InvalidConversionError",
    "LaneDown",
    "LaneHeld",
    "LaneResumed",
    "LaneState",
    "LaneThrottled",
    "LineItem",
    "LoggingObserver",
    "MemoryOutbox",
    "MetaSettings",
    "MetaSink",
    "NotFoundError",
    "Observer",
    "Outbox",
    "OutboxError",
    "Outcome",
    "PricedFields",
    "QueueFullError",
    "RateLimitedError",
    "Receipt",
    "RejectedError",
    "Report",
    "Retried",
    "Retry",
    "SQLiteOutbox",
    "SchemaVersionError",
    "ServerError",
    "ServiceError",
    "Sink",
    "SinkLimits",
    "SinkSignal",
    "Stats",
    "Status",
    "Submitted",
    "Throttled",
    "Touchpoint",
    "TransportError",
    "Unavailable",
    "UndeliveredError",
    "Unfinished",
    "Weakened",
    "__version__",
    "new_event_id",
]
