"""How conversions are accepted and delivered: `DeliverySettings`."""

from __future__ import annotations

from typing import Literal

import attrs

from anytrack_async.settings.fields import instance_of, non_negative, one_of, positive
from anytrack_async.settings.http import Retry

DAY = 86_400.0

LEASE_USED = 0.8
"""Share of the lease that one batch may take, so that no second worker takes over meanwhile."""


def _patient() -> Retry:
    return Retry(attempts=8, base=1.0, cap=300.0, hint_cap=DAY)


@attrs.frozen(kw_only=True)
class DeliverySettings:
    """How conversions are accepted and delivered.

    Attributes:
        retry: attempts and waits of one conversion at one destination. Attempts that fail while
            the positive_integer destination is down, throttled or held do not count.
        probe: waits between looks at a destination that does not answer.
        max_age: seconds after which a conversion that no attempt delivered becomes a dead letter.
        drain: seconds that closing may take to deliver what is accepted.
        linger: seconds a lane waits for a fuller batch; 0 sends what is there, or as far apart as
            the sink wants batches that are not full.
        lease: seconds after which another worker may take over a claim. A sink gets four fifths of
            it for a batch; the client refuses time-outs of more than 30 s that do not fit in there.
        poll: seconds between looks at an outbox that other processes write to.
        hold_probe: seconds between quiet probes of a destination that refused the credentials.
        on_full: what a full outbox does to `submit` and `track_many`: make them wait, or raise
            `QueueFullError`.
        prune_every: seconds between clean-ups of what every destination has.
        remember: seconds for which ids of delivered conversions are remembered, so that importing
            the same file again sends nothing.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    retry: Retry = attrs.field(factory=_patient, validator=instance_of(Retry))
    probe: Retry = attrs.field(
        factory=lambda: Retry(base=0.5, cap=30.0), validator=instance_of(Retry)
    )
    max_age: float = attrs.field(default=7 * DAY, validator=positive)
    drain: float = attrs.field(default=10.0, validator=non_negative)
    linger: float = attrs.field(default=0.0, validator=non_negative)
    lease: float = attrs.field(default=120.0, validator=positive)
    poll: float = attrs.field(default=0.5, validator=positive)
    hold_probe: float = attrs.field(default=300.0, validator=positive)
    on_full: Literal["wait", "raise"] = attrs.field(
        default="wait", validator=one_of("wait", "raise")
    )
    prune_every: float = attrs.field(default=5.0, validator=positive)
    remember: float = attrs.field(default=30 * DAY, validator=non_negative)

    @property
    def batch_timeout(self) -> float:
        """Seconds that a sink may take for one batch: four fifths of the lease."""
        return self.lease * LEASE_USED
