"""Async conversion tracking: every sale and lead to AnyTrack, Meta and HubSpot at once.

    async with AnyTrackClient.from_env() as client:
        receipt = await client.track_sale(click_id="…", revenue="49.90", order_id="1001")

Every accepted conversion is stored in an outbox, from which it is delivered to each destination
independently: a slow destination does not delay the others.
"""

import sys as _sys
import typing as _typing
from importlib import import_module as _import_module

from anytrack_async._version import __version__ as __version__

# Importing the package is cheap: a module is imported when one of its names is first used. Type
# checkers read the imports below (`X as X` makes a name public), the interpreter reads `_MODULES`.
if _typing.TYPE_CHECKING:  # pragma: no cover
    # isort: off
    from anytrack_async.backfilling.guess import Guess as Guess
    from anytrack_async.backfilling.proposal import Question as Question
    from anytrack_async.backfilling.inspection import (
        DestinationPreview as DestinationPreview,
        Inspection as Inspection,
        RowPreview as RowPreview,
        inspect_source as inspect_source,
    )
    from anytrack_async.backfilling.mapping import (
        AmountColumns as AmountColumns,
        FileMapping as FileMapping,
        RowRule as RowRule,
        load_mapping as load_mapping,
    )
    from anytrack_async.backfilling.query import SqlQuery as SqlQuery
    from anytrack_async.backfilling.conversions import (
        ConversionReader as ConversionReader,
        read_conversions as read_conversions,
    )
    from anytrack_async.backfilling.report import (
        BackfillReport as BackfillReport,
        DestinationProgress as DestinationProgress,
        Progress as Progress,
        Reject as Reject,
        RowCounts as RowCounts,
        SourceInfo as SourceInfo,
    )
    from anytrack_async.backfilling.run import backfill as backfill
    from anytrack_async.backfilling.settings import BackfillSettings as BackfillSettings
    from anytrack_async.client.client import AnyTrackClient as AnyTrackClient
    from anytrack_async.client.dead_letters import DeadLetterSelection as DeadLetterSelection
    from anytrack_async.client.forgetting import (
        ForgottenConversion as ForgottenConversion,
        ForgottenCustomer as ForgottenCustomer,
    )
    from anytrack_async.client.stats import DestinationStats as DestinationStats, Stats as Stats
    from anytrack_async.client.subscription import (
        DeliveryUpdate as DeliveryUpdate,
        Subscription as Subscription,
    )
    from anytrack_async.codec.encryption import KeyRing as KeyRing
    from anytrack_async.delivery.delivery import Delivery as Delivery
    from anytrack_async.delivery.flow import LaneState as LaneState
    from anytrack_async.destinations.anytrack.api.reports import AffiliateMetric as AffiliateMetric
    from anytrack_async.destinations.anytrack.api.base import DateRange as DateRange
    from anytrack_async.destinations.anytrack.settings import AnyTrackSettings as AnyTrackSettings
    from anytrack_async.destinations.anytrack.sink import AnyTrackSink as AnyTrackSink
    from anytrack_async.destinations.collect.settings import CollectSettings as CollectSettings
    from anytrack_async.destinations.collect.sink import CollectSink as CollectSink
    from anytrack_async.destinations.hubspot.settings import (
        HubSpotSettings as HubSpotSettings,
        OAuthSettings as OAuthSettings,
    )
    from anytrack_async.destinations.hubspot.sink import HubSpotSink as HubSpotSink
    from anytrack_async.destinations.meta.settings import MetaSettings as MetaSettings
    from anytrack_async.destinations.meta.sink import MetaSink as MetaSink
    from anytrack_async.destinations.sink import (
        BatchRejected as BatchRejected,
        ConfiguredSink as ConfiguredSink,
        Finding as Finding,
        Inconclusive as Inconclusive,
        NeedsOperator as NeedsOperator,
        Preview as Preview,
        SetupStep as SetupStep,
        Sink as Sink,
        SinkLimits as SinkLimits,
        SinkSignal as SinkSignal,
        Throttled as Throttled,
        Unavailable as Unavailable,
        Unfinished as Unfinished,
    )
    from anytrack_async.destinations.webhook.settings import WebhookSettings as WebhookSettings
    from anytrack_async.destinations.webhook.sink import WebhookSink as WebhookSink
    from anytrack_async.errors import *  # noqa: F403
    from anytrack_async.feeds.base import (
        Feed as Feed,
        FeedBatch as FeedBatch,
    )
    from anytrack_async.feeds.jetstream.feed import JetStreamFeed as JetStreamFeed
    from anytrack_async.feeds.jetstream.publisher import JetStreamPublisher as JetStreamPublisher
    from anytrack_async.feeds.pump import (
        PumpCounts as PumpCounts,
        pump as pump,
    )
    from anytrack_async.listening.app import (
        ConversionHook as ConversionHook,
        WebhookApp as WebhookApp,
    )
    from anytrack_async.listening.settings import ListenSettings as ListenSettings
    from anytrack_async.events import *  # noqa: F403
    from anytrack_async.models.answers import *  # noqa: F403
    from anytrack_async.models.consent import (
        Consent as Consent,
        ConsentState as ConsentState,
    )
    from anytrack_async.models.conversion import (
        Conversion as Conversion,
        ConversionFields as ConversionFields,
        ConversionType as ConversionType,
        ConversionTypeName as ConversionTypeName,
        PricedFields as PricedFields,
    )
    from anytrack_async.models.identifiers import new_event_id as new_event_id
    from anytrack_async.models.customer import (
        Customer as Customer,
        CustomerFields as CustomerFields,
    )
    from anytrack_async.models.meta import MetaFields as MetaFields
    from anytrack_async.models.contradiction import (
        Contradiction as Contradiction,
        ConversionSummary as ConversionSummary,
    )
    from anytrack_async.models.outcome import (
        Outcome as Outcome,
        Receipt as Receipt,
        Report as Report,
        Status as Status,
    )
    from anytrack_async.models.line_item import LineItem as LineItem
    from anytrack_async.models.forwarding import TrustedProxies as TrustedProxies
    from anytrack_async.models.plain import to_records as to_records
    from anytrack_async.models.request import Visitor as Visitor, visitor as visitor
    from anytrack_async.models.request_objects import (
        visitor_from_asgi_scope as visitor_from_asgi_scope,
        visitor_from_request as visitor_from_request,
        visitor_from_wsgi_environ as visitor_from_wsgi_environ,
    )
    from anytrack_async.models.validators import Amount as Amount
    from anytrack_async.monitoring.app import metrics_app as metrics_app
    from anytrack_async.observers import LoggingObserver as LoggingObserver
    from anytrack_async.outbox.base import (
        Appended as Appended,
        AppendResult as AppendResult,
        Claim as Claim,
        Depth as Depth,
        Entries as Entries,
        Entry as Entry,
        FailedEntry as FailedEntry,
        Outbox as Outbox,
    )
    from anytrack_async.outbox.capabilities import (
        CountsDelivered as CountsDelivered,
        EmptiesReasons as EmptiesReasons,
        ErasedConversion as ErasedConversion,
        ErasesCustomers as ErasesCustomers,
        Erasure as Erasure,
        JoinableOutbox as JoinableOutbox,
        KeepsCheckpoints as KeepsCheckpoints,
        KeepsRemoteIds as KeepsRemoteIds,
        KeepsSummaries as KeepsSummaries,
        ListsAccepted as ListsAccepted,
        MeasuresAge as MeasuresAge,
        WatchesNews as WatchesNews,
    )
    from anytrack_async.outbox.dead_letters import (
        DeadLetter as DeadLetter,
        DeadLetterFilter as DeadLetterFilter,
        DeadLetterPage as DeadLetterPage,
        DeadLetterStep as DeadLetterStep,
        SearchesDeadLetters as SearchesDeadLetters,
    )
    from anytrack_async.outbox.history import (
        AcceptedCount as AcceptedCount,
        ConversionPage as ConversionPage,
        KeepsHistory as KeepsHistory,
        OutcomeCount as OutcomeCount,
        PastAttempt as PastAttempt,
        ReleaseReason as ReleaseReason,
        RememberedConversion as RememberedConversion,
        SearchesConversions as SearchesConversions,
    )
    from anytrack_async.outbox.memory.outbox import MemoryOutbox as MemoryOutbox
    from anytrack_async.outbox.pauses import Pause as Pause
    from anytrack_async.outbox.postgres.outbox import PostgresOutbox as PostgresOutbox
    from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox as SQLiteOutbox
    from anytrack_async.outbox.sqlite.verify import Account as Account, Verification as Verification
    from anytrack_async.settings.consent import (
        ConsentAction as ConsentAction,
        ConsentRule as ConsentRule,
    )
    from anytrack_async.settings.delivery import DeliverySettings as DeliverySettings
    from anytrack_async.settings.http import (
        HttpSettings as HttpSettings,
        ResponseLimits as ResponseLimits,
        Retry as Retry,
    )
    from anytrack_async.sync import AnyTrack as AnyTrack, SyncDelivery as SyncDelivery
    from anytrack_async.telemetry.opentelemetry import Telemetry as Telemetry
    from anytrack_async.web_console.console import console as console
else:
    # These modules have an `__all__`, which is not repeated here. `errors` comes first, so that
    # `from anytrack_async import QueueFullError` imports nothing else.
    _LISTING = ("anytrack_async.errors", "anytrack_async.events", "anytrack_async.models.answers")

    # For all other modules: module → its public names.
    _MODULES = {
        "anytrack_async.backfilling.guess": "Guess",
        "anytrack_async.backfilling.proposal": "Question",
        "anytrack_async.backfilling.inspection": (
            "DestinationPreview Inspection RowPreview inspect_source"
        ),
        "anytrack_async.backfilling.mapping": "AmountColumns FileMapping RowRule load_mapping",
        "anytrack_async.backfilling.query": "SqlQuery",
        "anytrack_async.backfilling.conversions": "ConversionReader read_conversions",
        "anytrack_async.backfilling.report": (
            "BackfillReport DestinationProgress Progress Reject RowCounts SourceInfo"
        ),
        "anytrack_async.backfilling.run": "backfill",
        "anytrack_async.backfilling.settings": "BackfillSettings",
        "anytrack_async.client.client": "AnyTrackClient",
        "anytrack_async.client.dead_letters": "DeadLetterSelection",
        "anytrack_async.client.forgetting": "ForgottenConversion ForgottenCustomer",
        "anytrack_async.client.stats": "DestinationStats Stats",
        "anytrack_async.client.subscription": "DeliveryUpdate Subscription",
        "anytrack_async.codec.encryption": "KeyRing",
        "anytrack_async.delivery.flow": "LaneState",
        "anytrack_async.delivery.delivery": "Delivery",
        "anytrack_async.destinations.anytrack.api.reports": "AffiliateMetric",
        "anytrack_async.destinations.anytrack.api.base": "DateRange",
        "anytrack_async.destinations.webhook.settings": "WebhookSettings",
        "anytrack_async.destinations.webhook.sink": "WebhookSink",
        "anytrack_async.feeds.base": "Feed FeedBatch",
        "anytrack_async.feeds.jetstream.feed": "JetStreamFeed",
        "anytrack_async.feeds.jetstream.publisher": "JetStreamPublisher",
        "anytrack_async.feeds.pump": "PumpCounts pump",
        "anytrack_async.listening.app": "ConversionHook WebhookApp",
        "anytrack_async.listening.settings": "ListenSettings",
        "anytrack_async.models.validators": "Amount",
        "anytrack_async.models.consent": "Consent ConsentState",
        "anytrack_async.models.conversion": (
            "Conversion ConversionFields ConversionType ConversionTypeName PricedFields"
        ),
        "anytrack_async.models.contradiction": "Contradiction ConversionSummary",
        "anytrack_async.models.customer": "Customer CustomerFields",
        "anytrack_async.models.identifiers": "new_event_id",
        "anytrack_async.models.outcome": "Outcome Receipt Report Status",
        "anytrack_async.models.meta": "MetaFields",
        "anytrack_async.models.forwarding": "TrustedProxies",
        "anytrack_async.models.line_item": "LineItem",
        "anytrack_async.models.plain": "to_records",
        "anytrack_async.models.request": "Visitor visitor",
        "anytrack_async.models.request_objects": (
            "visitor_from_asgi_scope visitor_from_request visitor_from_wsgi_environ"
        ),
        "anytrack_async.monitoring.app": "metrics_app",
        "anytrack_async.observers": "LoggingObserver",
        "anytrack_async.outbox.base": (
            "AppendResult Appended Claim Depth Entries Entry FailedEntry Outbox"
        ),
        "anytrack_async.outbox.capabilities": (
            "CountsDelivered EmptiesReasons ErasedConversion ErasesCustomers Erasure "
            "JoinableOutbox KeepsCheckpoints KeepsRemoteIds KeepsSummaries ListsAccepted "
            "MeasuresAge WatchesNews"
        ),
        "anytrack_async.outbox.dead_letters": (
            "DeadLetter DeadLetterFilter DeadLetterPage DeadLetterStep SearchesDeadLetters"
        ),
        "anytrack_async.outbox.history": (
            "AcceptedCount ConversionPage KeepsHistory OutcomeCount PastAttempt ReleaseReason "
            "RememberedConversion SearchesConversions"
        ),
        "anytrack_async.outbox.memory.outbox": "MemoryOutbox",
        "anytrack_async.outbox.pauses": "Pause",
        "anytrack_async.outbox.postgres.outbox": "PostgresOutbox",
        "anytrack_async.outbox.sqlite.outbox": "SQLiteOutbox",
        "anytrack_async.outbox.sqlite.verify": "Account Verification",
        "anytrack_async.sync": "AnyTrack SyncDelivery",
        "anytrack_async.telemetry.opentelemetry": "Telemetry",
        "anytrack_async.web_console.console": "console",
        "anytrack_async.settings.consent": "ConsentAction ConsentRule",
        "anytrack_async.settings.delivery": "DeliverySettings",
        "anytrack_async.settings.http": "HttpSettings ResponseLimits Retry",
        "anytrack_async.destinations.hubspot.settings": "HubSpotSettings OAuthSettings",
        "anytrack_async.destinations.meta.settings": "MetaSettings",
        "anytrack_async.destinations.anytrack.settings": "AnyTrackSettings",
        "anytrack_async.destinations.anytrack.sink": "AnyTrackSink",
        "anytrack_async.destinations.collect.settings": "CollectSettings",
        "anytrack_async.destinations.collect.sink": "CollectSink",
        "anytrack_async.destinations.sink": (
            "BatchRejected ConfiguredSink Finding Inconclusive NeedsOperator Preview SetupStep "
            "Sink SinkLimits SinkSignal Throttled Unavailable Unfinished"
        ),
        "anytrack_async.destinations.hubspot.sink": "HubSpotSink",
        "anytrack_async.destinations.meta.sink": "MetaSink",
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

    def _listed() -> dict[str, str]:
        return {name: module for module in _LISTING for name in _import_module(module).__all__}

    def _module_of(name: str) -> str | None:
        if name in _MODULE_OF or name.startswith("_"):
            return _MODULE_OF.get(name)
        modules = (module for module in _LISTING if name in _import_module(module).__all__)
        return next(modules, None)

    def __getattr__(name: str) -> object:
        if name == "__all__":
            value: object = sorted([*_MODULE_OF, *_listed(), "__version__"])
        elif module := _module_of(name):
            value = getattr(_import_module(module), name)
        else:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}",
                name=name,
                obj=_sys.modules[__name__],
            )
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
