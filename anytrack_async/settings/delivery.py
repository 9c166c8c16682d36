"""How conversions are accepted and delivered: `DeliverySettings`."""

from __future__ import annotations

from typing import Literal

import attrs

from anytrack_async.settings.fields import (
    flag,
    instance_of,
    non_negative,
    one_of,
    positive,
    positive_integer,
)
from anytrack_async.settings.http import Retry

DAY = 86_400.0  # seconds

BATCH_SHARE_OF_LEASE = 0.8
"""Share of the lease that one batch may use, so that the batch ends before the lease expires."""


def _default_retry() -> Retry:
    # Waits of up to 1, 2, 4, … 64 s: eight attempts within about two minutes, unless the service
    # asks for more; while it is down, attempts do not count.
    return Retry(attempts=8, base=1.0, cap=300.0, hint_cap=DAY)


_ABSURD_WAIT = 7 * DAY
"""Seconds; a service that asks to wait longer is mistaken."""


def credible_wait(seconds: float, *, hint_cap: float, hold_probe: float) -> float:
    """Return how long to wait for a service that asks for *seconds*.

    With the defaults, ten minutes and 20 hours are waited as asked; two days become one, the
    *hint_cap*; and after ``Retry-After: 1e308``, or a year, which no service means, the next
    request is sent after *hold_probe*, 300 s.
    """
    if seconds > _ABSURD_WAIT:
        return min(hint_cap, hold_probe)
    return min(max(0.0, seconds), hint_cap)  # in this order, NaN becomes 0


@attrs.frozen(kw_only=True)
class DeliverySettings:
    """How conversions are accepted and delivered.

    Attributes:
        retry: attempts and waits of one conversion at one destination. Attempts that fail while
            the whole destination is down, throttled or held do not count. A service that asks to
            wait for more than a week is asked again after `hold_probe` seconds.
        probe: waits between the probes of a destination that is down, and the shortest waits of one
            that throttles, however short a wait it asks for.
        max_age: seconds after which an undelivered conversion becomes a dead letter, once another
            attempt has failed. Setting the date of the machine changes no age.
        deliver: False only accepts conversions, for another process on the same outbox to deliver,
            such as ``anytrack deliver``. Needs an outbox that processes can share.
        drain: seconds that closing may take to deliver accepted conversions.
        linger: seconds a lane waits for a fuller batch; 0 sends the next batch at once, or after
            the sink's own spacing of batches that are not full.
        lease: seconds after which another worker may take over a claim. A batch may use four fifths
            of it; the client refuses HTTP timeouts of more than 30 s that do not fit into that.
        in_flight_bytes: bytes of memory that conversions of more than 2 KiB may take that are in
            flight to one destination. Beyond it, a batch is sent once another has come back.
        poll: seconds between reads of an outbox that other processes write to.
        hold_probe: seconds between the probes of a held lane, and the wait after a service asked
            for an absurdly long one.
        on_full: what happens to a conversion while one of its destinations is full, which means
            that as many conversions, or bytes of them, wait for it as the outbox's capacity.
            ``"wait"`` makes the caller wait, ``"raise"`` raises `QueueFullError` at once.
            ``"shed"`` accepts it for the other destinations and drops it for the full ones, with
            the event `Dropped` and the status ``dropped``; if all are full, `QueueFullError` is
            raised. In a transaction of the caller's (``within=``), ``"wait"`` raises at once too.
        accept_within: seconds that a caller waits for room before `QueueFullError` is raised and
            nothing is accepted. For `submit` and ``track_*`` they count from the call. For
            `submit_many` they count from when room was last made, so that a slow service does not
            fail it. `track_many`, which waits for deliveries anyway, waits as long as it takes.
            Also the seconds that each of them waits while another program has the outbox file
            locked; then `OutboxError` is raised, and nothing is accepted.
        on_conflict: what happens to a conversion that contradicts the first one with its event id,
            by another type, amount or currency. The first one is always kept. ``"tell"``: an event
            `Contradicted` with a warning in the log (if they are many, one a minute), and
            `Delivery.contradicts`; nothing is raised, because tracking must not break a checkout.
            ``"raise"``: `ConflictError` as well.
        prune_every: seconds between prunes of the outbox, which drop conversions that every
            destination has.
        remember: seconds for which ids of delivered conversions are remembered, so that importing
            the same file again sends nothing. Setting the date of the machine does not shorten that
            time; see `SQLiteOutbox` for periods in which no process runs.
        keep_dead_letters: seconds for which a dead letter is kept; then it is discarded, with the
            event `DeadLettersExpired`. Default: None, which keeps it for ever, because nothing that
            was accepted should disappear by itself. The client looks for them when it is opened and
            then once an hour, or more often if they are kept for less.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    retry: Retry = attrs.field(factory=_default_retry, validator=instance_of(Retry))
    probe: Retry = attrs.field(
        factory=lambda: Retry(base=0.5, cap=30.0), validator=instance_of(Retry)
    )
    max_age: float = attrs.field(default=7 * DAY, validator=positive)
    deliver: bool = attrs.field(default=True, validator=flag)
    drain: float = attrs.field(default=10.0, validator=non_negative)
    linger: float = attrs.field(default=0.0, validator=non_negative)
    lease: float = attrs.field(default=120.0, validator=positive)
    in_flight_bytes: int = attrs.field(default=16 * 2**20, validator=positive_integer)
    poll: float = attrs.field(default=0.5, validator=positive)
    hold_probe: float = attrs.field(default=300.0, validator=positive)
    on_full: Literal["wait", "raise", "shed"] = attrs.field(
        default="wait", validator=one_of("wait", "raise", "shed")
    )
    accept_within: float = attrs.field(default=10.0, validator=positive)
    on_conflict: Literal["tell", "raise"] = attrs.field(
        default="tell", validator=one_of("tell", "raise")
    )
    prune_every: float = attrs.field(default=5.0, validator=positive)
    remember: float = attrs.field(default=30 * DAY, validator=non_negative)
    keep_dead_letters: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(positive)
    )

    @property
    def batch_timeout(self) -> float:
        """Seconds that a sink may take for one batch: four fifths of the lease."""
        return self.lease * BATCH_SHARE_OF_LEASE
