"""`DestinationWatch`: where each destination is, from a client's statistics."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from anytrack_async.backfilling.report import DestinationProgress
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.stats import DestinationStats
from anytrack_async.delivery.flow import LaneState

_WINDOW = 10.0  # seconds over which a rate is measured


class DestinationWatch:
    """Follows the destinations of a client from the beginning of a run.

    Args:
        client: an open client.
        names: the destinations to follow.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        client: AnyTrackClient,
        names: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._names = names
        self._clock = clock
        self._before: Mapping[str, DestinationStats] = {}
        self._dead_earlier: Mapping[str, int] = {}
        # Destination → times and counts of delivered conversions, the oldest first.
        self._samples: dict[str, deque[tuple[float, int]]] = {name: deque() for name in names}

    async def begin(self, dead_before: Mapping[str, int]) -> None:
        """Remember the numbers of conversions delivered before the run.

        Args:
            dead_before: destination → dead letters before the first run, if this one resumes it.
        """
        self._before = (await self._client.stats()).destinations
        self._dead_earlier = {
            name: max(0, stats.dead - dead_before.get(name, 0))
            for name, stats in self._before.items()
        }

    async def read(self) -> Mapping[str, DestinationProgress]:
        """Return destination → where it is."""
        stats = (await self._client.stats()).destinations
        return {name: self._progress(name, stats[name]) for name in self._names if name in stats}

    def _progress(self, name: str, stats: DestinationStats) -> DestinationProgress:
        before = self._before.get(name, DestinationStats())
        delivered = stats.delivered - before.delivered
        rate = self._rate(name, delivered)
        pauses = stats.state is LaneState.THROTTLED
        until = datetime.now(UTC) + timedelta(seconds=stats.paused_for) if pauses else None
        return DestinationProgress(
            state=stats.state,
            delivered=delivered,
            waiting=stats.waiting,
            retrying=stats.retrying,
            dead=stats.dead_lettered - before.dead_lettered + self._dead_earlier.get(name, 0),
            rate=rate,
            eta=stats.waiting / rate if rate else (None if stats.waiting else 0.0),
            throttled_until=until,
            reason=stats.reason,
        )

    def _rate(self, name: str, delivered: int) -> float:
        """Return conversions per second: 300 delivered 10 s ago and 800 now are 50/s."""
        now = self._clock()
        samples = self._samples[name]
        samples.append((now, delivered))
        while samples[0][0] < now - _WINDOW and len(samples) > 2:
            samples.popleft()
        first_time, first = samples[0]
        return (delivered - first) / (now - first_time) if now > first_time else 0.0


def finished(destinations: Mapping[str, DestinationProgress]) -> bool:
    """Return whether the run need not wait for any destination.

    A lane that is held sends nothing until an operator acts, so the run does not wait for it.
    """
    return all(
        not progress.waiting or progress.state in (LaneState.HELD, LaneState.PAUSED, None)
        for progress in destinations.values()
    )
