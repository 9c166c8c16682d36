"""How fast one token may ask, decided here and corrected by HubSpot's own count."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from hashlib import sha256
from weakref import WeakValueDictionary

import anyio
from anyio.lowlevel import current_token

from anytrack_async.destinations.hubspot.settings import HubSpotSettings

_SLACK = 1.02
"""HubSpot counts a request when it arrives, up to a network's moods later than it was sent."""

_COST = 3
"""Requests a small batch is spaced for. It needs two, for contacts and deals: the rest of the limit
stays free for bursts, and for others who use the token."""

_MOMENT = 0.001
"""Seconds that are not worth waiting for."""


class Window:
    """A rolling window: at most *most* requests within *interval* seconds. Without I/O.

    Attributes:
        most: requests in one window.
        interval: seconds.
    """

    def __init__(self, most: int, interval: float) -> None:
        self.most = most
        self.interval = interval
        self._taken: deque[float] = deque()
        self._held_until = float("-inf")

    def wait(self, now: float) -> float:
        """Return the seconds until there is room; 0 when there is, and then it is taken."""
        self._forget(now)
        if now < self._held_until:
            return self._held_until - now
        if len(self._taken) < self.most:
            self._taken.append(now)
            return 0.0
        leaves = self._taken[len(self._taken) - self.most] + self.interval * _SLACK
        return max(leaves - now, 0.001)

    def spacing(self, now: float, since: float, cost: int) -> float:
        """Return the seconds to wait for a fuller batch, *since* seconds after the last one left.

        Batches of *cost* requests, sent evenly, then never meet a full window: the nth has room
        once *n · cost* requests are free, and the one that has to wait longest sets the pace.
        """
        self._forget(now)
        left, stay = self.most - len(self._taken), self.interval * _SLACK
        if stay * cost < _MOMENT * left:
            return 0.0
        last = now - since
        paces = (
            (taken + stay - last) * cost / max(cost, left + gone)
            for gone, taken in enumerate(self._taken, 1)
        )
        return max(0.0, max(paces, default=0.0) - since)

    def hold(self, until: float) -> None:
        """Leave no room before *until*."""
        self._held_until = max(self._held_until, until)

    def learn(self, now: float, most: int | None, left: int | None, interval: float | None) -> None:
        """Take over the server's numbers: requests a window, how many are left, its seconds.

        Others may share the token. What they used shows as less left than counted here, and counts
        from now on.
        """
        self.most = most or self.most
        self.interval = interval or self.interval
        self._forget(now)
        if left is not None:
            unseen = self.most - len(self._taken) - left
            self._taken.extend([now] * min(unseen, self.most))

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0] <= now - self.interval * _SLACK:
            self._taken.popleft()


class Limiter:
    """Lets requests go in the order they came, as fast as the window allows.

    Source: HubSpot, "API usage guidelines and limits".
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        # First come, first served; a cancelled waiter takes nothing.
        self._turn = anyio.Lock(fast_acquire=True)

    async def take(self) -> None:
        """Wait until one more request may go."""
        async with self._turn:
            while wait := self._window.wait(anyio.current_time()):  # noqa: ASYNC110 - time passes
                await anyio.sleep(wait)

    def spacing(self, since: float) -> float:
        """Return the seconds to wait for a fuller batch, *since* seconds after the last left."""
        return self._window.spacing(anyio.current_time(), since, _COST)

    def hold(self, seconds: float) -> None:
        """Let nothing go for *seconds*."""
        self._window.hold(anyio.current_time() + seconds)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over the numbers of a response's ``X-HubSpot-RateLimit-…`` headers."""
        millis = count(headers, "Interval-Milliseconds")
        self._window.learn(
            anyio.current_time(),
            count(headers, "Max"),
            count(headers, "Remaining"),
            millis / 1000 if millis else None,
        )


def count(headers: Mapping[str, str], name: str) -> int | None:
    """Return a number from the header ``X-HubSpot-RateLimit-<name>``, None without one."""
    value = headers.get(f"x-hubspot-ratelimit-{name.lower()}", "")
    return int(value) if value.isascii() and value.isdigit() else None


_limiters: WeakValueDictionary[tuple[object, str], Limiter] = WeakValueDictionary()


def shared_limiter(token: str, settings: HubSpotSettings) -> Limiter:
    """Return the one limiter of *token* on this event loop, for every sink that uses the token.

    Two loops of one process count apart, as two processes do, and meet through HubSpot's headers.
    """
    key = (current_token(), sha256(token.encode()).hexdigest())
    limiter = _limiters.get(key)
    if limiter is None:
        limiter = Limiter(Window(settings.rate_limit, settings.rate_interval))
        _limiters[key] = limiter
    return limiter
