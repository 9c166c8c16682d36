"""HubSpot's request limits: a rolling window and a day.

Source: HubSpot: API usage guidelines and limits.
"""

from __future__ import annotations

from collections import deque

from anytrack_async.sandbox.hubspot.errors import too_many
from anytrack_async.sandbox.request import Clock
from anytrack_async.sandbox.settings import HubSpotPortal

_DAY = 86_400


class Limits:
    """Counts the requests of one token, as a portal with a single app does."""

    def __init__(self, portal: HubSpotPortal, clock: Clock) -> None:
        self._limit = portal.limit
        self._interval = portal.interval
        self._daily = portal.daily
        self._clock = clock
        self._recent: deque[float] = deque()
        self._day = 0
        self._today = 0

    def take(self) -> None:
        """Count one request.

        Raises:
            HubSpotError: it is one too many; it is not counted.
        """
        now = self._clock()
        self._forget(now)
        if self._today >= self._daily:
            raise too_many("DAILY")
        if len(self._recent) >= self._limit:
            raise too_many("TEN_SECONDLY_ROLLING")
        self._recent.append(now)
        self._today += 1

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that tell what is left."""
        return (
            (b"x-hubspot-ratelimit-max", b"%d" % self._limit),
            (b"x-hubspot-ratelimit-remaining", b"%d" % (self._limit - len(self._recent))),
            (b"x-hubspot-ratelimit-interval-milliseconds", b"%d" % (self._interval * 1000)),
            (b"x-hubspot-ratelimit-daily", b"%d" % self._daily),
            (b"x-hubspot-ratelimit-daily-remaining", b"%d" % (self._daily - self._today)),
        )

    def _forget(self, now: float) -> None:
        while self._recent and now - self._recent[0] >= self._interval:
            self._recent.popleft()
        # The portal's time zone is UTC.
        if (today := int(now // _DAY)) != self._day:
            self._day, self._today = today, 0
