"""What AnyTrack can be asked: conversions, their attribution, affiliates, days."""

from anytrack_async.endpoints.affiliates import AffiliateMetric, Affiliates
from anytrack_async.endpoints.attribution import Attributions
from anytrack_async.endpoints.conversions import Conversions
from anytrack_async.endpoints.reports import Reports
from anytrack_async.endpoints.window import DateRange

__all__ = [
    "AffiliateMetric",
    "Affiliates",
    "Attributions",
    "Conversions",
    "DateRange",
    "Reports",
]
