"""Async conversion tracking: every sale and lead to AnyTrack, Meta and HubSpot at once.

    async with AnyTrackClient.from_env() as client:
        receipt = await client.track_sale(click_id="…", revenue="49.90", order_id="1001")

An accepted conversion is written down once, in an outbox, and every destination works through that
record at its own pace.
"""

import sys as _sys
import typing as _typing
from importlib import import_module as _import_module

from anytrack_async._version import __version__

# Importing the package is cheap: a name's module is loaded when the name is asked for.
if _typing.TYPE_CHECKING:  # pragma: no cover
    from anytrack_async.client.client import AnyTrackClient
    from anytrack_async.client.stats import DestinationStats, Stats
    from anytrack_async.delivery.delivery import Delivery
    from anytrack_async.delivery.flow import LaneState
    from anytrack_async.destinations.anytrack.api.affiliates import AffiliateMetric
    from anytrack_async.destinations.anytrack.api.date_range import DateRange
    from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
    from anytrack_async.destinations.anytrack.sink import AnyTrackSink
    from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
    from anytrack_async.destinations.hubspot.sink import HubSpotSink
    from anytrack_async.destinations.meta.settings import MetaSettings
    from anytrack_async.destinations.meta.sink import MetaSink
    from anytrack_async.destinations.sink import (
        BatchRejected,
        NeedsOperator,
        Sink,
        SinkLimits,
        SinkSignal,
        Throttled,
        Unavailable,
        Unfinished,
    )
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
        InvalidArgumentError,
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
    from anytrack_async.models.answers import (
        AffiliatePerformance,
        Attribution,
        DailyReport,
        Touchpoint,
    )
    from anytrack_async.models.conversion import (
        Conversion,
        ConversionFields,
        ConversionType,
        PricedFields,
    )
    from anytrack_async.models.customer import Customer
    from anytrack_async.models.event_id import new_event_id
    from anytrack_async.models.line_item import LineItem
    from anytrack_async.models.meta import MetaFields
    from anytrack_async.models.outcome import Outcome, Receipt, Report, Status
    from anytrack_async.models.validators import Amount
    from anytrack_async.outbox.base import (
        Appended,
        Claim,
        DeadLetter,
        Depth,
        Entries,
        Entry,
        FailedEntry,
        Outbox,
    )
    from anytrack_async.outbox.memory.outbox import MemoryOutbox
    from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
    from anytrack_async.settings.delivery import DeliverySettings
    from anytrack_async.settings.http import HttpSettings, Retry
else:
    # The same names once more, for the interpreter: module, and what it is asked for.
    _MODULES = {
        "anytrack_async.client.client": "AnyTrackClient",
        "anytrack_async.client.stats": "DestinationStats Stats",
        "anytrack_async.delivery.flow": "LaneState",
        "anytrack_async.delivery.delivery": "Delivery",
        "anytrack_async.destinations.anytrack.api.affiliates": "AffiliateMetric",
        "anytrack_async.destinations.anytrack.api.date_range": "DateRange",
        "anytrack_async.errors": (
            "AnyTrackError ClosedError ConfigurationError ConflictError CredentialsError "
            "DeadLetterError DecodeError DeliveryError DeliveryTimeoutError "
            "InvalidArgumentError InvalidConversionError NotFoundError OutboxError QueueFullError "
            "RateLimitedError RejectedError SchemaVersionError ServerError ServiceError "
            "TransportError UndeliveredError"
        ),
        "anytrack_async.events": (
            "DeadLettered Delivered Dropped Event LaneDown LaneHeld LaneResumed LaneThrottled "
            "LoggingObserver Observer Retried Submitted Weakened"
        ),
        "anytrack_async.models.validators": "Amount",
        "anytrack_async.models.conversion": (
            "Conversion ConversionFields ConversionType PricedFields"
        ),
        "anytrack_async.models.customer": "Customer",
        "anytrack_async.models.outcome": "Outcome Receipt Report Status",
        "anytrack_async.models.event_id": "new_event_id",
        "anytrack_async.models.line_item": "LineItem",
        "anytrack_async.models.meta": "MetaFields",
        "anytrack_async.models.answers": (
            "AffiliatePerformance Attribution DailyReport Touchpoint"
        ),
        "anytrack_async.outbox.base": (
            "Appended Claim DeadLetter Depth Entries Entry FailedEntry Outbox"
        ),
        "anytrack_async.outbox.memory.outbox": "MemoryOutbox",
        "anytrack_async.outbox.sqlite.outbox": "SQLiteOutbox",
        "anytrack_async.settings.delivery": "DeliverySettings",
        "anytrack_async.settings.http": "HttpSettings Retry",
        "anytrack_async.destinations.hubspot.settings": "HubSpotSettings OAuthSettings",
        "anytrack_async.destinations.meta.settings": "MetaSettings",
        "anytrack_async.destinations.anytrack.settings": "AnyTrackSettings",
        "anytrack_async.destinations.anytrack.sink": "AnyTrackSink",
        "anytrack_async.destinations.sink": (
            "BatchRejected NeedsOperator Sink SinkLimits SinkSignal Throttled "
            "Unavailable Unfinished"
        ),
        "anytrack_async.destinations.hubspot.sink": "HubSpotSink",
        "anytrack_async.destinations.meta.sink": "MetaSink",
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}",
                name=name,
                obj=_sys.modules[__name__],
            )
        value = globals()[name] = getattr(_import_module(_MODULE_OF[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULE_OF})


__all__ = [
    "AffiliateMetric",
    "AffiliatePerformance",
    "Amount",
    "AnyTrackClient",
    "AnyTrackError",
    "AnyTrackSettings",
    "AnyTrackSink",
    "Appended",
    "Attribution",
    "BatchRejected",
    "Claim",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "Conversion",
    "ConversionFields",
    "ConversionType",
    "CredentialsError",
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
    "Entries",
    "Entry",
    "Event",
    "FailedEntry",
    "HttpSettings",
    "HubSpotSettings",
    "HubSpotSink",
    "InvalidArgumentError",
    "InvalidConversionError",
    "LaneDown",
    "LaneHeld",
    "LaneResumed",
    "LaneState",
    "LaneThrottled",
    "LineItem",
    "LoggingObserver",
    "MemoryOutbox",
    "MetaFields",
    "MetaSettings",
    "MetaSink",
    "NeedsOperator",
    "NotFoundError",
    "OAuthSettings",
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
