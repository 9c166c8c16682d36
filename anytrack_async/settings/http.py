"""`HttpSettings`: connections, timeouts, the engine; with `Retry` (attempts and their waits) and
`ResponseLimits` (the largest response that is read).
"""

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
    """A number of attempts, and the waits between them: exponential backoff with full jitter.

    The wait after attempt *n* is random, between 0 and ``base * 2 ** (n - 1)`` seconds, at most
    `cap`. With ``base=0.5, cap=30`` that is up to 0.5, 1, 2, 4, 8, 16, 30, 30, … seconds. A longer
    `Retry-After` of the server replaces the wait, up to `hint_cap`; a shorter one, such as 0 or a
    date in the past, changes nothing.

    Attributes:
        attempts: number of attempts in all, at least 1.
        base: upper limit of the first wait, seconds.
        cap: upper limit of every wait, seconds.
        hint_cap: upper limit of a wait that the server asks for, seconds.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    attempts: int = attrs.field(default=4, validator=positive_integer)
    base: float = attrs.field(default=0.5, validator=positive)
    cap: float = attrs.field(default=30.0, validator=positive)
    hint_cap: float = attrs.field(default=120.0, validator=non_negative)

    def next_wait(self, attempt: int, hint: float | None = None) -> float | None:
        """Return the seconds to wait after attempt number *attempt*; None if it was the last.

        Args:
            attempt: 1 for the first.
            hint: seconds that the server asks to wait, if it does; a lower limit of the wait.
        """
        if attempt >= self.attempts:
            return None
        return self.wait_after(attempt, hint)

    def wait_after(self, attempt: int, hint: float | None = None) -> float:
        """Return the seconds to wait after attempt number *attempt*, whatever `attempts` is."""
        # With base=0.5 and cap=30, the limits are 0.5, 1, 2, 4, …, 30 s, and the wait after the
        # third attempt is a random time from 0 to 2 s: so clients that failed at the same moment
        # do not come back at the same moment.
        waits = backoff.expo(base=2, factor=self.base, max_value=self.cap)
        next(waits)  # the first value of a `backoff` generator is None
        # After 64 doublings any cap is reached: attempt 10,000 need not compute 2 ** 9,999.
        limit: float = next(islice(waits, min(max(attempt, 1), 64) - 1, None))
        wait = backoff.full_jitter(limit)
        # A server that asks for 0 s each time would otherwise get thousands of requests a second. A
        # hint that is NaN, as a sink may pass it, is not greater either.
        return max(wait, min(hint, self.hint_cap)) if hint is not None and hint > wait else wait


@attrs.frozen(kw_only=True)
class ResponseLimits:
    """The largest response that is read; a larger one is cut off and raises `ResponseLimitError`.

    The limits hold while the response arrives, and its connection is closed. So a service, or a
    proxy in front of it, that sends without end costs neither memory nor time. A read is not
    repeated after that; a delivery is retried by its lane.

    Attributes:
        max_body: bytes of the body of a successful read, decompressed. 10,000 records of a list
            take about 4 MB. A body of 128 KiB or more may have one object for every 80 bytes of
            this limit, and one other value for every 8.
        max_reply: bytes of every other body, decompressed: a response to a delivery, or an error.
        max_head: bytes of status line and headers. A chunked body may have as many bytes around its
            pieces, trailers included, plus a quarter of the body's size.
        max_headers: number of headers.
        max_informational: number of informational (1xx) responses before the response itself.
        max_seconds: seconds for an exchange from connecting to the last byte; None for four times
            `HttpSettings.timeout`. For AnyTrack's deliveries, None is no limit of their own, since
            their lane limits them.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    max_body: int = attrs.field(default=8_388_608, validator=positive_integer)
    max_reply: int = attrs.field(default=1_048_576, validator=positive_integer)
    max_head: int = attrs.field(default=102_400, validator=positive_integer)
    max_headers: int = attrs.field(default=1_000, validator=positive_integer)
    max_informational: int = attrs.field(default=32, validator=positive_integer)
    max_seconds: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(positive)
    )


_DEFAULT_TIMEOUT = 30.0  # seconds
_TIMEOUTS_PER_EXCHANGE = 4  # from connecting to the last byte: 120 s with a timeout of 30 s


@attrs.frozen(kw_only=True)
class HttpSettings:
    """HTTP connections, timeouts and retries for one service.

    Attributes:
        timeout: seconds for connecting with its DNS look-up, and for each read or write.
        connections: most requests on the wire at once, and most connections kept.
        retry: for reads; lanes retry deliveries (`DeliverySettings.retry`).
        engine: ``"plain"``, or ``"aiohttp"`` with the ``[speed]`` extra, which behaves the same and
            uses less CPU time. If the environment names a proxy, httpx's own pool is used instead
            of either.
        limits: of a response.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    timeout: float = attrs.field(default=_DEFAULT_TIMEOUT, validator=positive)
    connections: int = attrs.field(default=32, validator=positive_integer)
    retry: Retry = attrs.field(factory=Retry, validator=instance_of(Retry))
    engine: Literal["plain", "aiohttp"] = attrs.field(
        default="plain", validator=one_of("plain", "aiohttp")
    )
    limits: ResponseLimits = attrs.field(
        factory=ResponseLimits, validator=instance_of(ResponseLimits)
    )

    @property
    def exchange_seconds(self) -> float:
        """Return the seconds that one exchange may take from connecting to the last byte."""
        return self.limits.max_seconds or _TIMEOUTS_PER_EXCHANGE * self.timeout

    def required_seconds(self, requests: int = 1) -> float | None:
        """Return the seconds that sequential requests may need, None with the default timeout.

        A sink needs a lease that covers its slowest batch. With a timeout of 60 s, three requests
        one after the other may take 180 s. A timeout up to the default demands nothing, so that an
        application with a short lease need not lower the timeout as well.

        Args:
            requests: number of requests sent one after the other.
        """
        return requests * self.timeout if self.timeout > _DEFAULT_TIMEOUT else None
