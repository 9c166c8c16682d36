"""What AnyTrack can be asked: conversions, their attribution, affiliates, days."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
    from anytrack_async.endpoints.affiliates import AffiliateMetric, Affiliates
    from anytrack_async.endpoints.attribution import Attributions
    from anytrack_async.endpoints.conversions import Conversions
    from anytrack_async.endpoints.reports import Reports
    from anytrack_async.endpoints.window import DateRange
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "affiliates": "AffiliateMetric Affiliates",
            "attribution": "Attributions",
            "conversions": "Conversions",
            "reports": "Reports",
            "window": "DateRange",
        },
    )

__all__ = [
    "AffiliateMetric",
    "Affiliates",
    "Attributions",
    "Conversions",
    "DateRange",
    "Reports",
]
