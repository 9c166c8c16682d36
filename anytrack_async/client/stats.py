"""`Stats`: a client's counters, and the backlog in its outbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from anytrack_async.delivery.flow import LaneState
from anytrack_async.events import (
    Contradicted,
    DeadLettered,
    DeadLettersExpired,
    Delivered,
    Dropped,
    Event,
    Retried,
    Skipped,
    Submitted,
    Weakened,
)
from anytrack_async.outbox.pauses import Pause


@attrs.frozen(kw_only=True)
class DestinationStats:
    """One destination's counters and depths.

    Counters start at zero with this client. Depths are those of the outbox, so they include
    conversions that other processes accepted.

    Attributes:
        state: the lane's state; None if this client has no open lane for the destination.
        reason: why the lane is throttled, down, held or paused; else empty.
        state_for: seconds since the lane entered the state; None without a lane.
        paused_for: seconds for which the lane sends nothing for that reason; infinite while an
            operator has paused it.
        pause: time, operator and reason of a pause, made in this process or another; None if the
            destination is not paused.
        delivered: conversions delivered.
        retried: times a conversion went back to the outbox.
        dead_lettered: conversions that became dead letters.
        expired: dead letters that this client discarded because of ``keep_dead_letters``.
        dropped: conversions that were not accepted because the destination was full
            (``on_full="shed"``), and undelivered ones that were given up when the client closed,
            because the outbox was in memory.
        skipped: conversions that the destination does not get because of the visitor's consent,
            see `ConsentRule`.
        waiting: conversions not delivered yet, including those in flight and retrying.
        in_flight: waiting conversions that are being sent now.
        retrying: waiting conversions that failed and will be attempted again.
        dead: dead letters.
        waiting_bytes: about how many bytes of memory the waiting ones take; None if the outbox does
            not limit that.
        oldest_age: seconds since the oldest waiting conversion was accepted; None if none waits,
            or the outbox does not say.
        weakened: kind → conversions that this destination matches less well, e.g.
            ``{"unusable birth dates": 3}``; see `Weakened`.
    """

    state: LaneState | None = None
    reason: str = ""
    state_for: float | None = attrs.field(default=None, eq=False)
    paused_for: float = 0.0
    pause: Pause | None = None
    delivered: int = 0
    retried: int = 0
    dead_lettered: int = 0
    expired: int = 0
    dropped: int = 0
    skipped: int = 0
    waiting: int = 0
    in_flight: int = 0
    retrying: int = 0
    dead: int = 0
    waiting_bytes: int | None = attrs.field(default=None, eq=False)
    oldest_age: float | None = attrs.field(default=None, eq=False)
    weakened: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Stats:
    """A client's counters.

    Attributes:
        submitted: new conversions accepted; repeats do not count.
        contradicted: repeats with another type, amount or currency than the first conversion.
        destinations: destination → its counters and depths.
        weakened: kind → new conversions that lost a value when they were made, whatever their
            destinations, e.g. ``{"private IP addresses": 3}``; see `Conversion.weakened`.
    """

    submitted: int
    contradicted: int = 0
    destinations: Mapping[str, DestinationStats]
    weakened: Mapping[str, int] = attrs.field(factory=dict)


_COUNTERS: Final[Mapping[type[Event], str]] = {
    Delivered: "delivered",
    Retried: "retried",
    Dropped: "dropped",
    Skipped: "skipped",
}
"""Event about several conversions → their counter in `DestinationStats`."""


class Counters:
    """The observer that counts events."""

    # Notified once per batch, not per conversion, and always on the event loop: plain integers need
    # no lock.
    def __init__(self) -> None:
        self.submitted = 0
        self.contradicted = 0
        self.weakened: dict[str | None, dict[str, int]] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def for_destination(self, destination: str) -> Mapping[str, Any]:
        """Return the counters of *destination* that are not zero."""
        return self._counts.get(destination, {})

    def notify(self, event: Event, /) -> None:
        """Count *event*."""
        if type(event) is Submitted:  # once per request, so before all others
            self.submitted += len(event.event_ids)
            return
        match event:
            case Contradicted():
                self.contradicted += 1
            case Delivered() | Retried() | Dropped() | Skipped():
                self._add(event.destination, _COUNTERS[type(event)], len(event.event_ids))
            case DeadLettered(destination=name):
                self._add(name, "dead_lettered", 1)
            case DeadLettersExpired(destination=name, count=count):
                self._add(name, "expired", count)
            case Weakened(destination=destination, reason=kind, count=count):
                _add(self.weakened.setdefault(destination, {}), kind, count)
            case _:
                pass  # other events have no counter; a lane's state is read from the lane

    def _add(self, destination: str, counter: str, count: int) -> None:
        # A counter is absent rather than zero, so that DestinationStats fills in its default.
        _add(self._counts.setdefault(destination, {}), counter, count)


def _add(counts: dict[str, int], name: str, count: int) -> None:
    counts[name] = counts.get(name, 0) + count
