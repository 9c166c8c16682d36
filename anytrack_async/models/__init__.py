"""What callers build and what the services answer: frozen, keyword-only, valid once they exist."""

from anytrack_async.models.checks import Amount
from anytrack_async.models.conversion import (
    Conversion,
    ConversionFields,
    ConversionType,
    PricedFields,
)
from anytrack_async.models.customer import Customer
from anytrack_async.models.delivery import DELIVERED, Outcome, Receipt, Report, Status
from anytrack_async.models.event_id import new_event_id
from anytrack_async.models.line_item import LineItem
from anytrack_async.models.meta import MetaFields
from anytrack_async.models.meta_origin import MetaAppData, MetaAttributionData, MetaOriginalEvent
from anytrack_async.models.meta_parts import MetaContent, MetaCustomData, MetaUserData
from anytrack_async.models.reports import (
    AffiliatePerformance,
    Attribution,
    DailyReport,
    Touchpoint,
)

__all__ = [
    "DELIVERED",
    "AffiliatePerformance",
    "Amount",
    "Attribution",
    "Conversion",
    "ConversionFields",
    "ConversionType",
    "Customer",
    "DailyReport",
    "LineItem",
    "MetaAppData",
    "MetaAttributionData",
    "MetaContent",
    "MetaCustomData",
    "MetaFields",
    "MetaOriginalEvent",
    "MetaUserData",
    "Outcome",
    "PricedFields",
    "Receipt",
    "Report",
    "Status",
    "Touchpoint",
    "new_event_id",
]
