"""The client and what it counts."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
    from anytrack_async.client.client import AnyTrackClient
    from anytrack_async.client.stats import DestinationStats, Stats
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "client": "AnyTrackClient",
            "stats": "DestinationStats Stats",
        },
    )

__all__ = ["AnyTrackClient", "DestinationStats", "Stats"]
