"""`ListenSettings`: the limits of a `WebhookApp`."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.fields import header_value, positive, positive_integer


def _events(_: object, __: object, value: Collection[str] | None) -> None:
    if isinstance(value, str):
        raise ConfigurationError("events must be a list of event names")


def _currency(_: object, __: object, value: object) -> None:
    if not (isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha()):
        raise ConfigurationError("currency must be a three-letter code such as 'EUR'")


@attrs.frozen(kw_only=True)
class ListenSettings:
    """Which requests a `WebhookApp` accepts: names of events, and limits.

    Attributes:
        header: the request header that may have the secret, instead of the path.
        max_body: bytes of a body; a larger one is answered 413.
        max_events: events in one body; more are answered 413.
        rate: webhooks per second, with bursts of one second; more are answered 429.
        requests: requests that are worked on at once; more are answered 503.
        body_within: seconds in which the body has to arrive, else 408.
        answer_within: seconds in which the outbox has to take the conversions, else 503.
        hook_within: seconds that the hooks of one conversion may take together.
        events: names of the events to take; others are answered 200 and dropped. None: all.
        currency: of events that do not have one.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    header: str = attrs.field(default="X-Webhook-Secret", validator=header_value)
    max_body: int = attrs.field(default=262_144, validator=positive_integer)
    max_events: int = attrs.field(default=1_000, validator=positive_integer)
    rate: float = attrs.field(default=10_000.0, validator=positive)
    requests: int = attrs.field(default=1_000, validator=positive_integer)
    body_within: float = attrs.field(default=10.0, validator=positive)
    answer_within: float = attrs.field(default=8.0, validator=positive)
    hook_within: float = attrs.field(default=2.0, validator=positive)
    events: Collection[str] | None = attrs.field(default=None, validator=_events)
    currency: str = attrs.field(default="USD", validator=_currency)


@attrs.define
class TokenBucket:
    """Counts webhooks against a rate, with bursts of one second.

    With a rate of 100, 100 are allowed at once, then one each 10 ms. A rate below 1 allows a burst
    of one.

    Attributes:
        rate: tokens per second.
        tokens: how many are left.
        updated_at: when they were counted, seconds of a clock.
    """

    rate: float
    tokens: float = attrs.field(init=False)
    updated_at: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.tokens = max(self.rate, 1.0)

    def take(self, now: float) -> float:
        """Take a token at *now*; return 0, or the seconds until there is one."""
        gained = (now - self.updated_at) * self.rate
        self.tokens = min(max(self.rate, 1.0), self.tokens + max(gained, 0.0))
        self.updated_at = now
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) / self.rate
