"""`RateLimiter`: limits the request rate of one token, corrected by HubSpot's own count.

Source: HubSpot, "API usage guidelines and limits".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from hashlib import sha256
from weakref import WeakValueDictionary

import anyio
from anyio.lowlevel import current_token

from anytrack_async.destinations.hubspot.settings import HubSpotSettings

# HubSpot usually accepts 100 requests within any ten seconds. With these numbers, and batches of
# deals that need two counted requests each (contacts and deals; links are not counted):
#
# - A burst of 50 batches is sent at once, because 100 requests are free. The next batch waits until
#   the first request leaves the window, after 10.2 s (see _LATENCY_MARGIN).
# - A steady trickle of small batches is spaced 3 * 10.2 s / 100 = 0.306 s apart, so that batches
#   become fuller. The spacing counts three requests for each batch, which sends two: 67 of the 100
#   are used, and a third stays free for bursts and for other programs with the same token.

_LATENCY_MARGIN = 1.02
"""Requests stay in the window for 2 % longer than the interval.

HubSpot counts a request when it arrives, and network latency differs between requests.
"""

_LONGEST_INTERVAL = 60.0
"""Seconds; HubSpot's is 10. A longer one would stop all requests if a header is wrong."""

_SPACED_REQUESTS = 3
"""Counted requests for which a small batch is spaced; it sends two."""

_SHORTEST_SPACING = 0.001
"""Seconds; a shorter spacing is not worth waiting for."""


class RollingWindow:
    """At most *limit* requests within *interval* seconds. Without I/O: times are arguments.

    Attributes:
        limit: requests in one window.
        interval: seconds.
        queue: lock in which requests wait, first come, first served; a cancelled request leaves it.
    """

    def __init__(self, limit: int, interval: float) -> None:
        self.limit = limit
        self.interval = interval
        self.queue = anyio.Lock(fast_acquire=True)
        self._sent: deque[float] = deque()
        self._paused_until = float("-inf")

    def try_acquire(self, now: float) -> float:
        """Count one request and return 0, or return the seconds until the window has room."""
        # With a limit of 2 in 10 s and requests sent at second 0 and 4, a request at second 5 has
        # room once the first one leaves the window, at 10.2: the result is 5.2.
        self._expire(now)
        if now < self._paused_until:
            return self._paused_until - now
        if len(self._sent) < self.limit:
            self._sent.append(now)
            return 0.0
        # Usually this is the oldest request. If the limit shrank from 10 to 3 with six sent, it is
        # the fourth oldest: once it has left, the window holds two and has room for a third.
        last_to_leave = self._sent[len(self._sent) - self.limit]
        return max(last_to_leave + self._lifetime - now, 0.001)

    def spacing(self, now: float, since_last: float, cost: int) -> float:
        """Return the seconds that the next batch should still wait to become fuller.

        Batches of *cost* requests with this spacing never meet a full window. For each request in
        the window, the requests that fit once it leaves are spread evenly over the time until it
        leaves, which gives a pace. The slowest pace decides.

        Args:
            now: seconds.
            since_last: seconds since the last batch was sent.
            cost: counted requests in one batch.
        """
        self._expire(now)
        free = self.limit - len(self._sent)
        # An example with a limit of 100 in 10 s, batches of two requests, and 80 requests sent at
        # second 0, the last batch among them. 20 requests are free. When the first of the 80
        # leaves, at 10.2, 21 have been free since second 0, which is 10.5 batches in 10.2 s: a
        # pace of 0.97 s. Ten batches go into the 20 free places, and the eleventh comes when the
        # 80 have left. For the second of the 80, 22 in 10.2 s is a faster pace, and so on. So the
        # next batch waits 0.97 s, or 0.47 s if that is asked at second 0.5.
        if self._lifetime * cost < _SHORTEST_SPACING * free:
            return 0.0
        last = now - since_last
        paces = (
            (sent + self._lifetime - last) * cost / max(cost, free + expired)
            for expired, sent in enumerate(self._sent, 1)
        )
        return max(0.0, max(paces, default=0.0) - since_last)

    def pause(self, until: float) -> None:
        """Admit no request before *until*, seconds."""
        self._paused_until = max(self._paused_until, until)

    def used(self, now: float) -> float:
        """Return the part of the window that is used at *now*, from 0 to 1."""
        self._expire(now)
        return min(1.0, len(self._sent) / self.limit)

    def learn(
        self, now: float, limit: int | None, remaining: int | None, interval: float | None
    ) -> None:
        """Adopt the limit, the remaining requests and the interval that HubSpot reports.

        Other programs may share the token. If HubSpot reports that 30 of 100 requests remain and
        one was counted here, other programs sent 69, which count from *now* on.
        """
        self.limit = limit or self.limit
        self.interval = interval or self.interval
        self._expire(now)
        if remaining is not None:
            uncounted = self.limit - len(self._sent) - remaining
            self._sent.extend([now] * min(uncounted, self.limit))

    @property
    def _lifetime(self) -> float:
        """Seconds for which a request counts."""
        return self.interval * _LATENCY_MARGIN

    def _expire(self, now: float) -> None:
        oldest = now - self._lifetime
        while self._sent and self._sent[0] <= oldest:
            self._sent.popleft()


class RateLimiter:
    """Admits one sink's requests, first come, first served, as fast as the token's window allows.

    Args:
        identity: returns the key by which HubSpot counts requests now, see `Credentials.identity`.
        settings: the limit and the interval, until HubSpot's headers correct them.
    """

    def __init__(self, identity: Callable[[], str], settings: HubSpotSettings) -> None:
        self._identity = identity
        self._settings = settings
        # `_windows` has weak references only: without this reference, the window would be lost
        # between two requests.
        self._window: RollingWindow | None = None

    async def acquire(self, *, counted: bool = True) -> RollingWindow:
        """Wait until one more request may be sent; return the window, to correct by its response.

        Args:
            counted: whether HubSpot counts the request; if not, there is no wait.
        """
        window = self._window = shared_window(self._identity(), self._settings)
        if counted:
            async with window.queue:
                while delay := window.try_acquire(anyio.current_time()):  # noqa: ASYNC110
                    await anyio.sleep(delay)
        return window

    def spacing(self, since_last: float) -> float:
        """Return how many seconds to wait for a fuller batch, given those since the last batch."""
        if self._window is None:
            return 0.0
        return self._window.spacing(anyio.current_time(), since_last, _SPACED_REQUESTS)

    @property
    def quota_used(self) -> float | None:
        """The part of the token's window that is used now; None before the first request."""
        return None if self._window is None else self._window.used(anyio.current_time())

    def pause(self, seconds: float) -> None:
        """Admit no request of this token for *seconds*, from any sink."""
        if self._window is not None:
            self._window.pause(anyio.current_time() + seconds)


_windows: WeakValueDictionary[tuple[object, str], RollingWindow] = WeakValueDictionary()


def shared_window(identity: str, settings: HubSpotSettings) -> RollingWindow:
    """Return the window of *identity* that all of its sinks on this event loop share.

    Two event loops of one process have separate windows, as two processes do. Each learns of the
    other's requests from HubSpot's headers.
    """
    # The key is a digest, so that no token stays in memory.
    key = (current_token(), sha256(identity.encode()).hexdigest())
    window = _windows.get(key)
    if window is None:
        window = RollingWindow(settings.rate_limit, settings.rate_interval)
        _windows[key] = window
    return window


def reported_limits(headers: Mapping[str, str]) -> tuple[int | None, int | None, float | None]:
    """Return limit, remaining requests and interval from the ``X-HubSpot-RateLimit-…`` headers."""
    milliseconds = rate_limit_header(headers, "Interval-Milliseconds")
    return (
        rate_limit_header(headers, "Max"),
        rate_limit_header(headers, "Remaining"),
        min(milliseconds / 1000, _LONGEST_INTERVAL) if milliseconds else None,
    )


def rate_limit_header(headers: Mapping[str, str], name: str) -> int | None:
    """Return the number in the header ``X-HubSpot-RateLimit-<name>``; None if there is none."""
    value = headers.get(f"x-hubspot-ratelimit-{name.lower()}", "")
    return int(value[:18]) if value.isascii() and value.isdigit() else None
