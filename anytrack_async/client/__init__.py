"""The client and what it counts."""

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.stats import DestinationStats, Stats

__all__ = ["AnyTrackClient", "DestinationStats", "Stats"]
