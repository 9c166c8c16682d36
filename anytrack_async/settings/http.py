"""How to talk HTTP: `HttpSettings` and `Retry`."""

from __future__ import annotations

from itertools import islice
from typing import Literal

import attrs
import backoff

from anytrack_async.settings.fields import (
    instance_of,
    non_negative,
    one_of,
    positive,
    positive_integer,
)


@attrs.frozen(kw_only=True)
class Retry:
    """How often and how patiently to try again.

    Waits grow exponentially with full jitter: before attempt *n* + 1 between 0 and
    ``base * 2 ** (n - 1)`` seconds, at most `cap`. What a server asks for wins, up to `hint_cap`.

    Attributes:
        attempts: how often in all, at least 1.
        base: longest first wait, seconds.
        cap: longest wait, seconds.
        hint_cap: longest wait that a server may ask for, seconds.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    attempts: int = attrs.field(default=4, validator=positive_integer)
    base: float = attrs.field(default=0.5, validator=positive)
    cap: float = attrs.field(default=30.0, validator=positive)
    hint_cap: float = attrs.field(default=120.0, validator=non_negative)

    def after(self, attempt: int, hint: float | None = None) -> float | None:
        """Return the seconds to wait after failed *attempt* (1 is the first), None to give up."""
        if attempt >= self.attempts:
            return None
        return self.wait(attempt, hint)

    def wait(self, attempt: int, hint: float | None = None) -> float:
        """Return the seconds to wait after failed *attempt*, however many there were."""
        if hint is not None:
            return min(max(0.0, hint), self.hint_cap)
        waits = backoff.expo(base=2, factor=self.base, max_value=self.cap)
        next(waits)  # primes the generator
        growing: float = next(islice(waits, min(max(attempt, 1), 64) - 1, None))
        return backoff.full_jitter(growing)


_DEFAULT_TIMEOUT = 30.0  # seconds


@attrs.frozen(kw_only=True)
class HttpSettings:
    """How to talk HTTP to one service.

    Attributes:
        timeout: seconds for connecting, and for each read or write.
        connections: requests on the wire at once, and connections kept.
        retry: for reads. Deliveries are retried by their lane instead.
        engine: ``"plain"``, or ``"aiohttp"`` with the ``[speed]`` extra: the same requests, answers
            and errors for less work. Through a proxy that the environment names, httpx's own pool,
            whichever is set.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    timeout: float = attrs.field(default=_DEFAULT_TIMEOUT, validator=positive)
    connections: int = attrs.field(default=32, validator=positive_integer)
    retry: Retry = attrs.field(factory=Retry, validator=instance_of(Retry))
    engine: Literal["plain", "aiohttp"] = attrs.field(
        default="plain", validator=one_of("plain", "aiohttp")
    )

    def required_seconds(self, requests: int = 1) -> float | None:
        """Return the seconds that sequential requests may need, None with the default timeout.

        A sink needs a lease that covers its slowest batch. With a timeout of 60 s, three requests
        one after the other may take 180 s. A timeout up to the default demands nothing, so that an
        application with a short lease need not lower the timeout as well.

        Args:
            requests: number of requests sent one after the other.
        """
        return requests * self.timeout if self.timeout > _DEFAULT_TIMEOUT else None
