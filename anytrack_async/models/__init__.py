"""What callers build and what the services answer: frozen, keyword-only, valid once they exist."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
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
    from anytrack_async.models.meta_origin import (
        MetaAppData,
        MetaAttributionData,
        MetaOriginalEvent,
    )
    from anytrack_async.models.meta_parts import MetaContent, MetaCustomData, MetaUserData
    from anytrack_async.models.reports import (
        AffiliatePerformance,
        Attribution,
        DailyReport,
        Touchpoint,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "checks": "Amount",
            "conversion": "Conversion ConversionFields ConversionType PricedFields",
            "customer": "Customer",
            "delivery": "DELIVERED Outcome Receipt Report Status",
            "event_id": "new_event_id",
            "line_item": "LineItem",
            "meta": "MetaFields",
            "meta_origin": "MetaAppData MetaAttributionData MetaOriginalEvent",
            "meta_parts": "MetaContent MetaCustomData MetaUserData",
            "reports": "AffiliatePerformance Attribution DailyReport Touchpoint",
        },
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
